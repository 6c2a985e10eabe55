//! Slow bodies with made-up signatures, from one address and from many, and good senders among them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Socket, Type};

use super::PAYLOAD;
use super::signatures::hex;
use crate::client::{Connection, Request};
use crate::process::{Process, await_some};

const SECRET: &str = "pV6tN3wX8qZk2RbM5yLs9HcJ4gDf7aUe";
const TOKEN: &str = "kJ8s2LmQ9xTz4VbN7cRw1YpE5hGd3fUa";

const MAX_IN_FLIGHT: usize = 20;
const MAX_IN_FLIGHT_BYTES: usize = 1 << 20;

/// Time-outs so long that no body is cut while a test runs.
const YAML: &str = "
http:
  max_in_flight: 20
  max_in_flight_bytes: 1MiB
  max_body: 128KiB
  body_timeout: 2m
  body_min_rate: 0
  shutdown_timeout: 3m
sources:
  minchat: {auth: {tokens: [kJ8s2LmQ9xTz4VbN7cRw1YpE5hGd3fUa], hmac: {secrets: [pV6tN3wX8qZk2RbM5yLs9HcJ4gDf7aUe]}}}
";

/// Requests that the bridge refused because of a limit on what is in flight.
const REFUSED: [&str; 2] = ["webhooks_rejected_total", "too-many-requests"];

/// Good senders of one address that post at the same time.
const GOOD_SENDERS: usize = 5;

/// Strangers that come while the bodies of the good senders are incomplete. With those they are fewer than half of
/// `max_in_flight`.
const MEANWHILE: usize = 3;

/// Clients without credentials. Each of them sends a part of a body under a made-up signature, and keeps the connection.
struct Strangers<'a> {
    bridge: &'a Process,
    /// How many addresses they have.
    addresses: u32,
    /// Bytes of a body that each of them sends.
    sent: usize,
    came: u32,
    connections: VecDeque<Connection>,
}

impl<'a> Strangers<'a> {
    fn new(bridge: &'a Process, addresses: u32, sent: usize) -> Self {
        Self {
            bridge,
            addresses,
            sent,
            came: 0,
            connections: VecDeque::new(),
        }
    }

    /// So many more of them come.
    fn come(&mut self, count: usize) {
        for _ in 0..count {
            let address = Ipv4Addr::from_bits(0x7f01_0000 + self.came % self.addresses);
            self.came += 1;
            let mut connection = Connection::over(connect(address, self.bridge.webhooks()));
            let request =
                Request::post("/webhooks/minchat", "").with("x-signature", &"0".repeat(64));
            connection.send(request.head("content-length: 131072\r\n"));
            connection.send(vec![b' '; self.sent]);
            self.connections.push_back(connection);
        }
    }

    /// They come until the bridge has no room for another.
    fn fill(&mut self) {
        let refused = || self.bridge.metric(&REFUSED);
        let bytes = || self.bridge.metric(&["http_in_flight_bytes "]);
        let (before, mut taken) = (refused(), bytes());
        while refused() == before {
            taken += self.sent as f64;
            self.come(1);
            await_some("a body that is taken in or makes another give way", || {
                (refused() > before || bytes() >= taken).then_some(())
            });
        }
    }

    /// So many come where there is room for none, and take the room of as many others.
    fn displace(&mut self, count: usize) {
        let before = self.bridge.metric(&REFUSED);
        self.come(count);
        await_some("bodies that make room", || {
            (self.bridge.metric(&REFUSED) >= before + count as f64).then_some(())
        });
    }
}

/// Connects from an address of this machine's own choice: all of 127.0.0.0/8 are its own.
fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
    let from = SocketAddr::from((from, 0));
    socket.bind(&from.into()).expect("it is a loopback address");
    socket.connect(&to.into()).expect("the bridge listens");
    socket.into()
}

/// A good payload of about that size.
fn payload(size: usize) -> String {
    PAYLOAD.replace("hello", &"a".repeat(size))
}

fn signed(body: &str) -> Request {
    Request::post("/webhooks/minchat", body).with("x-signature", &hex(SECRET, body.as_bytes()))
}

/// Good senders post in two pieces at the same time, and strangers come between the two. All get a 202.
fn good_senders_get_through(bridge: &Process, strangers: &mut Strangers<'_>, body: &str) {
    let webhook = signed(body).bytes();
    let (first, rest) = webhook.split_at(webhook.len() - body.len() / 2);
    strangers.fill();
    let mut good: Vec<Connection> = (0..GOOD_SENDERS)
        .map(|_| {
            let mut connection = Connection::open(bridge.webhooks());
            connection.send(first);
            connection
        })
        .collect();
    strangers.displace(MEANWHILE);
    for connection in &mut good {
        connection.send(rest);
        let answer = connection.answer().expect("it is not closed for others");
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    assert_eq!(bridge.send(&signed(body)).status, 202, "in one piece");
}

#[test]
fn slow_bodies_with_made_up_signatures_keep_no_signing_sender_out_however_many_they_are() {
    for addresses in [1, 7, 60_000] {
        let bridge = Process::start(YAML);
        let mut strangers = Strangers::new(&bridge, addresses, 10);
        strangers.come(3 * MAX_IN_FLIGHT);
        // Until the bridge has seen them all, those that it has yet to see come meanwhile too.
        await_some("those that there is no room for", || {
            (bridge.metric(&REFUSED) >= 2.0 * MAX_IN_FLIGHT as f64).then_some(())
        });
        for _ in 0..20 {
            good_senders_get_through(&bridge, &mut strangers, PAYLOAD);
        }
        let answer = strangers.connections[0].answer().expect("an answer");
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (429, Some("1")),
            "the oldest has made room"
        );
        assert_eq!(strangers.connections[0].rest(), "", "and is closed");
        bridge.await_metric(&["http_requests_in_flight "], held(&strangers, &bridge));
    }
}

/// Requests that are in flight when all that were refused have ended.
fn held(strangers: &Strangers<'_>, bridge: &Process) -> f64 {
    strangers.connections.len() as f64 - bridge.metric(&REFUSED)
}

#[test]
fn large_bodies_with_made_up_signatures_keep_no_signing_sender_out_however_many_they_are() {
    for addresses in [1, 3, 60_000] {
        let bridge = Process::start(YAML);
        let mut strangers = Strangers::new(&bridge, addresses, 120 << 10);
        for size in [10 << 10, 20 << 10, 40 << 10].into_iter().cycle().take(21) {
            good_senders_get_through(&bridge, &mut strangers, &payload(size));
            let bytes = bridge.metric(&["http_in_flight_bytes "]);
            assert!(bytes <= MAX_IN_FLIGHT_BYTES as f64, "{bytes} bytes");
        }
        bridge.await_metric(&["http_requests_in_flight "], held(&strangers, &bridge));
    }
}

#[test]
fn a_single_large_webhook_gets_through_among_smaller_ones_of_many_addresses() {
    let bridge = Process::start(YAML);
    let mut strangers = Strangers::new(&bridge, 60_000, 60 << 10);
    for _ in 0..10 {
        strangers.fill();
        assert_eq!(bridge.send(&signed(&payload(125 << 10))).status, 202);
    }
}

#[test]
fn senders_with_a_token_have_all_of_the_room_if_they_need_it() {
    let bridge = Process::start(YAML);
    let mut strangers = Strangers::new(&bridge, 60_000, 10);
    strangers.fill();
    let begin = || {
        let mut connection = Connection::open(bridge.webhooks());
        let request = Request::post("/webhooks/minchat", "")
            .with("authorization", &format!("Bearer {TOKEN}"));
        connection.send(request.head(&format!("content-length: {}\r\n", PAYLOAD.len())));
        connection
    };
    let mut good: Vec<Connection> = (0..MAX_IN_FLIGHT).map(|_| begin()).collect();
    bridge.await_metric(&REFUSED, strangers.connections.len() as f64);
    let answer = begin().answer().expect("an answer");
    assert_eq!(answer.status, 429, "none of them makes room for another");
    for connection in &mut good {
        connection.send(PAYLOAD);
        assert_eq!(connection.answer().expect("an answer").status, 202);
    }
    bridge.await_metric(&["http_requests_in_flight "], 0.0);
    bridge.await_metric(&["http_in_flight_bytes "], 0.0);
}

/// However fast the strangers come, a good sender is within the share of its address, since they have 20 addresses.
#[test]
fn strangers_that_come_without_a_pause_keep_no_signing_sender_out() {
    let yaml = YAML.replace("max_in_flight: 20", "max_in_flight: 200");
    let bridge = Process::start(&yaml.replace("bytes: 1MiB", "bytes: 16MiB"));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for (addresses, sent) in [(1, 100), (20, 100), (7, 100 << 10), (20, 100 << 10)] {
            let (bridge, is_over) = (&bridge, &is_over);
            threads.spawn(move || {
                let mut strangers = Strangers::new(bridge, addresses, sent);
                // No faster than the bridge answers, so that the system's queue of connections stays short.
                let mut pace = Connection::open(bridge.webhooks());
                while !is_over.load(Ordering::Relaxed) {
                    strangers.come(1);
                    pace.send(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
                    assert_eq!(pace.answer().expect("an answer").status, 404);
                    if strangers.connections.len() > 100 {
                        strangers.connections.pop_front();
                    }
                }
            });
        }
        await_some("a stranger that made room", || {
            (bridge.metric(&REFUSED) > 0.0).then_some(())
        });
        let statuses: Vec<u16> = (0..90)
            .map(|number| payload([10, 1000, 60 << 10][number % 3]))
            .map(|body| bridge.send(&signed(&body)).status)
            .collect();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(statuses, [202; 90]);
    });
    println!("{} made room", bridge.metric(&REFUSED));
}
