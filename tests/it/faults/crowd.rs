//! Clients in their thousands that do nothing, or next to nothing, and those that mean harm.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;
use socket2::{Domain, Socket, Type};

use super::checker::{Cost, assert_nobody_waited, check};
use super::scenes::{CREATE, Kafka};
use super::senders::{Senders, TOKEN};
use super::thorough;
use crate::client::{Connection, Request, get};
use crate::process::{PATIENCE, Process, await_some, program};

/// What the container may have.
const MEMORY: u64 = 256 << 20;

/// Connections that are served once and then kept, and never used again.
fn idle(bridge: &Process, count: usize) -> Vec<Connection> {
    let request = Request::post("/webhooks/minchat?dry_run=true", "{}").bytes();
    let idle = (0..count).map(|_| {
        let mut connection = Connection::open(bridge.webhooks());
        connection.send(&request);
        assert_eq!(connection.answer().expect("an answer").status, 200);
        connection
    });
    idle.collect()
}

/// Half of them never end their head, half of them their body.
fn slow(bridge: &Process, count: usize) -> Vec<Connection> {
    let head = b"POST /webhooks/minchat HTTP/1.1\r\nx-slow: ".to_vec();
    let mut body = Request::post("/webhooks/minchat", "").head("content-length: 1000\r\n");
    body.extend_from_slice(b"{\"text\":");
    let slow = (0..count).map(|nth| {
        let mut connection = Connection::open(bridge.webhooks());
        connection.send(if nth % 2 == 0 { &head } else { &body });
        connection
    });
    slow.collect()
}

#[test]
fn row_37_slow_connections_are_cut_and_nobody_else_notices() {
    let (idle_ones, slow_ones) = thorough((10_000, 1_000), (2_000, 200));
    let files =
        rlimit::increase_nofile_limit(u64::MAX).expect("it can be raised to the hard limit");
    assert!(
        files > idle_ones as u64 + slow_ones as u64 + 500,
        "the hard limit on open files, {files}, is too low for the test"
    );
    let scene = Kafka::new();
    let bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    senders.await_accepted(500);
    let before = Cost::at_rest(&bridge);
    let connections = bridge.metric(&["http_connections "]);
    let mut idle = idle(&bridge, idle_ones);
    let with_idle = connections + idle_ones as f64;
    let slow = slow(&bridge, slow_ones);
    bridge.await_metric(&["http_connections "], with_idle + slow_ones as f64);
    senders.await_accepted(500);
    for mut slow in slow {
        assert_eq!(slow.answer().map(|answer| answer.status), Some(408));
        assert_eq!(slow.rest(), "", "it is cut");
    }
    bridge.await_metric(&["http_connections "], with_idle);
    for connection in idle.iter_mut().step_by(10) {
        connection.send(Request::post("/webhooks/minchat?dry_run=true", "{}").bytes());
        assert_eq!(connection.answer().expect("it is kept").status, 200);
    }
    senders.await_accepted(500);
    let peak = bridge.peak_memory();
    println!("{} MiB at most", peak >> 20);
    assert!(peak < MEMORY, "{peak} bytes");
    drop(idle);
    bridge.await_metric(&["http_connections "], connections);
    let ledger = senders.end();
    assert_eq!(ledger.refused, [0; 0]);
    scene.assert_all_is_well(&bridge);
    check(&ledger, &scene.consumed(), 0);
    let now = Cost::of(&bridge);
    assert!(
        now.descriptors <= before.descriptors,
        "H: {before:?} before, {now:?} now"
    );
}

/// What somebody sends who means harm, with the status that it gets.
fn harm() -> Vec<(&'static str, u16, Vec<u8>)> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&vec![b' '; 50 << 20])
        .expect("memory takes it");
    let bomb = Request::post("/webhooks/minchat", gzip.finish().expect("memory takes it"));
    let bomb = bomb.with("content-encoding", "gzip");
    let nested = |levels: usize| Request::post("/webhooks/minchat", "[".repeat(levels)).bytes();
    let mut head = Request::post("/webhooks/minchat", "{}");
    for _ in 0..140 {
        head = head.with("x-more", &"x".repeat(1000));
    }
    let both = "content-length: 2\r\ntransfer-encoding: chunked\r\n";
    let mut both = Request::post("/webhooks/minchat", "").head(both);
    both.extend_from_slice(b"0\r\n\r\n");
    vec![
        ("a gzip bomb", 413, bomb.bytes()),
        ("a nesting of a million", 413, nested(1_000_000)),
        ("a nesting that fits", 400, nested(500_000)),
        ("140 KB of headers", 431, head.bytes()),
        ("a length and chunks", 400, both),
    ]
}

/// Sends it whole, as far as the other end lets it, and gives the status of the answer.
fn status(bridge: &Process, bytes: &[u8]) -> Option<u16> {
    let mut connection = Connection::open(bridge.webhooks());
    connection.send(bytes);
    connection.answer().map(|answer| answer.status)
}

#[test]
fn row_38_what_means_harm_is_refused_and_costs_nothing() {
    let scene = Kafka::new();
    let bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    let harm = harm();
    let round = || {
        for (what, wanted, bytes) in &harm {
            // Who is still sending when it is refused may find the connection reset before it has read why.
            await_some(what, || {
                status(&bridge, bytes).filter(|status| status == wanted)
            });
        }
    };
    round();
    senders.await_accepted(500);
    let before = Cost::at_rest(&bridge);
    for _ in 0..thorough(50, 5) {
        round();
    }
    senders.await_accepted(500);
    before.assert_restored(&bridge);
    let peak = bridge.peak_memory();
    println!("{} MiB at most", peak >> 20);
    scene.end(&bridge, senders);
}

/// What the chart's container may have (`resources.limits.memory`).
const CHART_MEMORY: u64 = 512 << 20;

/// Lines of the log that strangers may cause in some minutes: one a minute for each kind of thing that they do.
const MAX_LINES: usize = 20;

/// A request that needs no credentials to be answered.
const WHOLE: &[u8] = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n";

/// How strangers hold a connection.
fn stranger_ways() -> Vec<Vec<u8>> {
    let whole = WHOLE.to_vec();
    let half = |bytes: usize| {
        let mut head = b"GET /x HTTP/1.1\r\nhost: a\r\nx: ".to_vec();
        head.resize(bytes, b'x');
        head
    };
    vec![
        Vec::new(),
        b"P".to_vec(),
        b"nonsense\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01".to_vec(),
        whole.clone(),
        [&whole[..], b"P"].concat(),
        half(8_000),
        [whole, half(8_000)].concat(),
        half(60_000),
    ]
}

/// Strangers who open one connection after the other, up to `count` of them at a time, until dropped. Each time that one
/// of them has sent a whole request, they wait for its answer or for its end: so they go on as fast as the bridge deals
/// with them, and never by the machine's speed alone.
fn strangers(address: SocketAddr, count: usize) -> Strangers {
    let over = Arc::new(AtomicBool::new(false));
    let is_over = over.clone();
    let thread = std::thread::spawn(move || {
        let ways = stranger_ways();
        let mut held = VecDeque::new();
        let mut opened = 0;
        while !is_over.load(Ordering::Relaxed) {
            if let Ok(mut stream) = from_elsewhere(address) {
                let way = &ways[opened % ways.len()];
                let _ = stream.set_nonblocking(true);
                // The bridge may have closed it for another already.
                let _ = stream.write(way);
                if way.starts_with(WHOLE) {
                    let _ = stream.set_nonblocking(false);
                    let _ = stream.set_read_timeout(Some(PATIENCE));
                    let dealt_with = stream.read(&mut [0; 1024]);
                    let is_late = |error: &Error| error.kind() == ErrorKind::WouldBlock;
                    assert!(
                        !dealt_with.is_err_and(|error| is_late(&error)),
                        "no answer came"
                    );
                }
                held.push_back(stream);
                opened += 1;
            }
            if held.len() > count {
                held.pop_front();
            }
        }
        opened
    });
    Strangers {
        over,
        thread: Some(thread),
    }
}

/// A connection from another address than that of the senders.
fn from_elsewhere(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into())?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

struct Strangers {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Strangers {
    /// How many connections they have opened.
    fn end(mut self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it ends once");
        thread.join().expect("strangers do not panic")
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn row_60_strangers_on_every_connection_are_not_noticed_by_senders_and_probes() {
    let most = thorough(12_000, 1_000);
    rlimit::increase_nofile_limit(u64::MAX).expect("it can be raised to the hard limit");
    let scene = Kafka::new();
    let yaml = scene
        .yaml(CREATE, "")
        .replace("{none: true}", &format!("{{tokens: [{TOKEN}]}}"));
    let bridge = Process::start(&format!(
        "{yaml}\nhttp: {{max_connections: {most}, header_timeout: 1m}}\n"
    ));
    bridge.await_ready();
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    senders.await_accepted(500);
    let connections = bridge.metric(&["http_connections "]);
    let lines = bridge.log().lines().count();
    // Garbage is closed at once: of these, the bridge has more than it may have at a time.
    let on_webhooks = strangers(bridge.webhooks(), most + most / 2);
    let on_admin = strangers(bridge.admin(), 600);
    let livez = format!("http://{}/livez", bridge.admin());
    for _ in 0..thorough(20, 3) {
        senders.await_accepted(500);
        assert_eq!(get(bridge.admin(), "/readyz").status, 200);
        let (code, said) = program(&["healthcheck", "--url", &livez], &[]);
        assert_eq!(code, 0, "{said}");
        let fresh = Request::post("/webhooks/minchat?dry_run=true", "{}")
            .with("authorization", &format!("Bearer {TOKEN}"));
        assert_eq!(bridge.send(&fresh).status, 200);
    }
    let evicted = || bridge.metric(&["http_connections_evicted_total "]);
    await_some("a connection that is closed for another", || {
        (evicted() > 0.0).then_some(())
    });
    let peak = bridge.peak_memory();
    println!(
        "{} and {} connections, {} of them closed for others, {} MiB at most",
        on_webhooks.end(),
        on_admin.end(),
        evicted(),
        peak >> 20
    );
    assert!(peak < CHART_MEMORY, "{peak} bytes");
    bridge.await_metric(&["http_connections "], connections);
    let new: Vec<_> = bridge
        .log()
        .lines()
        .skip(lines)
        .map(str::to_owned)
        .collect();
    println!("{} new lines in the log", new.len());
    assert!(new.len() < MAX_LINES, "{new:#?}");
    let ledger = scene.end(&bridge, senders);
    assert_nobody_waited(&ledger);
}
