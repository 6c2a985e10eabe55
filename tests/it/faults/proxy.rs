//! The network between two parts, as a test wants it: a TCP proxy.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::frames::{self, Loss, Protocol};
use crate::amqp::client::runtime;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// What the broker says comes this much later.
    Slow(Duration),
    /// Nothing comes through, and nobody is told.
    Silent,
    /// What the broker says is lost. It hears everything.
    Deaf,
    /// They come one by one.
    ByBytes,
    /// Every connection is reset, and each new one at once.
    Away,
    /// Connections over which nothing comes for so long are closed.
    Impatient(Duration),
}

/// One listener, and what is behind it. It is there as long as the tests are.
pub struct Proxy {
    pub address: SocketAddr,
    now: watch::Sender<Now>,
    to: Arc<Mutex<Option<SocketAddr>>>,
    /// How many connections ended.
    closed: Arc<AtomicUsize>,
    /// None if what it carries is not taken apart.
    loss: Option<Arc<Loss>>,
    taken: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
struct Now {
    weather: Weather,
    /// How often all connections were reset.
    resets: usize,
    /// How often they were cut off behind the proxy, without a word to who is before it.
    cuts: usize,
}

/// How a connection ends.
enum End {
    InOrder,
    Reset,
    Cut,
}

impl Proxy {
    /// On a free port of this address, before what it leads to is there.
    pub fn at(address: &str) -> Self {
        Self::with_loss(address, None)
    }

    /// One that can lose a confirm of this protocol on a connection that goes on.
    pub fn losing(protocol: Protocol) -> Self {
        Self::with_loss("127.0.0.1:0", Some(Arc::new(Loss::new(protocol))))
    }

    fn with_loss(address: &str, loss: Option<Arc<Loss>>) -> Self {
        let listener = runtime().block_on(TcpListener::bind(address));
        let listener = listener.expect("a port is free");
        let (now, _) = watch::channel(Now {
            weather: Weather::Fair,
            resets: 0,
            cuts: 0,
        });
        let proxy = Proxy {
            address: listener.local_addr().expect("it is bound"),
            now,
            to: Arc::default(),
            loss,
            taken: Arc::default(),
            closed: Arc::default(),
        };
        let (now, to) = (proxy.now.clone(), Arc::clone(&proxy.to));
        let (loss, taken) = (proxy.loss.clone(), Arc::clone(&proxy.taken));
        let closed = Arc::clone(&proxy.closed);
        runtime().spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                taken.fetch_add(1, Ordering::Relaxed);
                let far = *to.lock().expect("nobody panics with it");
                let (now, closed) = (now.subscribe(), Arc::clone(&closed));
                let loss = loss.clone();
                runtime().spawn(async move {
                    serve(near, far, now, loss).await;
                    closed.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        proxy
    }

    pub fn new() -> Self {
        Self::at("127.0.0.1:0")
    }

    /// What new connections lead to from now on.
    pub fn lead_to(&self, address: SocketAddr) {
        *self.to.lock().expect("nobody panics with it") = Some(address);
    }

    pub fn weather(&self, weather: Weather) {
        self.now.send_modify(|now| now.weather = weather);
    }

    /// How many connections ended so far.
    pub fn closed(&self) -> usize {
        self.closed.load(Ordering::Relaxed)
    }

    /// The loss of a proxy that was made with [`Proxy::losing`].
    pub fn loss(&self) -> &Loss {
        self.loss.as_ref().expect("it takes apart what it carries")
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Resets every connection that is there.
    pub fn reset(&self) {
        self.now.send_modify(|now| now.resets += 1);
    }

    /// Leaves every connection that is there half-open.
    pub fn cut(&self) {
        self.now.send_modify(|now| now.cuts += 1);
    }
}

async fn serve(
    near: TcpStream,
    far: Option<SocketAddr>,
    mut now: watch::Receiver<Now>,
    loss: Option<Arc<Loss>>,
) {
    let far = match far {
        Some(far) if now.borrow().weather != Weather::Away => TcpStream::connect(far).await.ok(),
        _ => None,
    };
    let Some(far) = far else {
        return reset(&near);
    };
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
    }
    let (mut near, mut far) = (near, far);
    match forward(&mut near, &mut far, &mut now, loss.as_deref()).await {
        End::InOrder => {}
        End::Reset => [&near, &far].into_iter().for_each(reset),
        End::Cut => {
            drop(far);
            // What is said to nobody, until the other end gives up.
            let mut nowhere = [0; 4096];
            while near.read(&mut nowhere).await.is_ok_and(|count| count > 0) {}
        }
    }
}

/// The connection is reset when it is dropped.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn forward(
    near: &mut TcpStream,
    far: &mut TcpStream,
    now: &mut watch::Receiver<Now>,
    loss: Option<&Loss>,
) -> End {
    let born = *now.borrow();
    let ((from_near, to_near), (from_far, to_far)) = (near.split(), far.split());
    let (outwards, inwards) = (now.clone(), now.clone());
    let heard = Mutex::new(Instant::now());
    let frames = loss.map(|loss| Mutex::new(frames::Connection::new(loss.protocol)));
    let taken_apart = loss.zip(frames.as_ref());
    let asked = |bytes: &[u8]| {
        if let Some((_, frames)) = taken_apart {
            frames.lock().expect("nobody panics with it").asks(bytes);
        }
        bytes.to_vec()
    };
    let answered = |bytes: &[u8]| match taken_apart {
        Some((loss, frames)) => {
            let mut frames = frames.lock().expect("nobody panics with it");
            frames.answers(bytes, loss)
        }
        None => bytes.to_vec(),
    };
    let both = async {
        tokio::join!(
            pump(from_near, to_far, outwards, &heard, false, asked),
            pump(from_far, to_near, inwards, &heard, true, answered)
        )
    };
    let weather = now.clone();
    let idle = async {
        loop {
            let last = *heard.lock().expect("nobody panics with it");
            match weather.borrow().weather {
                Weather::Impatient(most) if last.elapsed() >= most => return,
                _ => {}
            }
            sleep_until(Instant::now() + Duration::from_millis(50)).await;
        }
    };
    let changed = async {
        let is_over = |now: &Now| {
            now.weather == Weather::Away || now.resets > born.resets || now.cuts > born.cuts
        };
        match now.wait_for(is_over).await {
            Ok(now) if now.cuts > born.cuts => End::Cut,
            _ => End::Reset,
        }
    };
    tokio::select! {
        _ = both => End::InOrder,
        () = idle => End::InOrder,
        end = changed => end,
    }
}

/// One direction of a connection, to its end. `through` gives what comes through of what was said.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut now: watch::Receiver<Now>,
    heard: &Mutex<Instant>,
    is_answer: bool,
    through: impl Fn(&[u8]) -> Vec<u8>,
) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let seen = now.clone();
    let read = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer).await {
            *heard.lock().expect("nobody panics with it") = Instant::now();
            let weather = seen.borrow().weather;
            let wait = match weather {
                Weather::Slow(wait) if is_answer => wait,
                Weather::Deaf if is_answer && count > 0 => continue,
                _ => Duration::ZERO,
            };
            let sent = sender.send((Instant::now() + wait, through(&buffer[..count])));
            if sent.await.is_err() || count == 0 {
                break;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            sleep_until(due).await;
            let heard = now.wait_for(|now| now.weather != Weather::Silent).await;
            let pieces = match heard.map(|now| now.weather) {
                Ok(Weather::ByBytes) => 1,
                _ => bytes.len().max(1),
            };
            for piece in bytes.chunks(pieces) {
                if to.write_all(piece).await.is_err() {
                    return;
                }
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
