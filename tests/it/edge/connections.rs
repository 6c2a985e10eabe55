//! Clients without credentials that hold connections, on both listeners, with and without TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use tempfile::TempDir;

use super::PAYLOAD;
use super::tls_client::TlsClient;
use crate::authority::Authority;
use crate::client::{Connection, Request, get};
use crate::process::{Process, await_some, program};

const TOKEN: &str = "kJ8s2LmQ9xTz4VbN7cRw1YpE5hGd3fUa";

/// Short time-outs, and a source that needs a token or a signature.
const YAML: &str = "
http: {header_timeout: 1s, keep_alive: 2s}
sources:
  minchat: {auth: {tokens: [kJ8s2LmQ9xTz4VbN7cRw1YpE5hGd3fUa], hmac: {secrets: [pV6tN3wX8qZk2RbM5yLs9HcJ4gDf7aUe]}}}
";

/// The longest time a connection may stay open in these tests: five times `keep_alive`, for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

fn good() -> Request {
    Request::post("/webhooks/minchat", PAYLOAD).with("authorization", &format!("Bearer {TOKEN}"))
}

/// Any byte stream, so that a test is the same with and without TLS.
trait Wire: Read + Write {}
impl Wire for TcpStream {}
impl Wire for StreamOwned<ClientConnection, TcpStream> {}

fn plain(address: SocketAddr) -> Box<dyn Wire> {
    let stream = TcpStream::connect(address).expect("the bridge listens");
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("it is over zero");
    Box::new(stream)
}

/// A bridge that speaks TLS, with this configuration otherwise, and a client that trusts it.
fn start_with_tls(yaml: &str) -> (Process, TlsClient) {
    let authority = Authority::new("servers");
    let dir = Arc::new(TempDir::new().expect("a directory can be made"));
    authority.certify("bridge").write(dir.path(), "own");
    let tls = "http: {tls: {cert_file: own.pem, key_file: own.key}, ";
    let bridge = Process::start_in(dir, &yaml.replace("http: {", tls));
    (bridge, TlsClient::trusting(authority.pem()))
}

/// Sends `drip` again and again until the bridge closes the connection, and gives what it answered meanwhile.
fn until_closed(wire: &mut dyn Wire, drip: &[u8]) -> String {
    let began = Instant::now();
    let mut answered = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        // A write fails once the bridge has reset the connection.
        let is_open = wire.write_all(drip).is_ok() && wire.flush().is_ok();
        match wire.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answered.extend_from_slice(&buffer[..count]),
            Err(error) if is_open && is_waiting(&error) => {}
            Err(_) => break,
        }
        assert!(
            began.elapsed() < CLOSED_WITHIN,
            "it is still open, and was answered {:?}",
            String::from_utf8_lossy(&answered)
        );
    }
    String::from_utf8_lossy(&answered).into_owned()
}

fn is_waiting(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

/// Sends a request, and waits for the status of its answer. `None`: the connection was closed before.
fn exchange(wire: &mut dyn Wire, request: &[u8]) -> Option<String> {
    wire.write_all(request).ok()?;
    wire.flush().ok()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    await_some("an answer or the end", || {
        match wire.read(&mut buffer) {
            Ok(0) => return Some(None),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if is_waiting(&error) => {}
            Err(_) => return Some(None),
        }
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        (body.len() >= length).then(|| Some(head[9..12].to_owned()))
    })
}

/// What a client does with a connection before it begins to hold it.
const BEFORE: [&[u8]; 4] = [
    b"",
    b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST /webhooks/minchat HTTP/1.1\r\nhost: a\r\n\r\n",
    // Its body is read, since it could be signed.
    b"POST /webhooks/minchat HTTP/1.1\r\nhost: a\r\nx-signature: 00000000000000000000000000000000\
      00000000000000000000000000000000\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
];

/// How it holds it: what it sends once, and what it goes on to send.
const HOLDING: [(&[u8], &[u8]); 6] = [
    (b"", b""),
    (b"P", b""),
    (b"", b"\r\n"),
    (b"GET / HTTP/1.1\r\nhost: a\r\nx: ", b"x"),
    (b"GET / HTTP/1.1\r\nhost: a\r\n", b"x: y\r\n"),
    // The first byte of the next head comes together with a whole request.
    (b"GET /x HTTP/1.1\r\nhost: a\r\n\r\nP", b""),
];

fn no_way_to_hold_a_connection(
    befores: &'static [&[u8]],
    connect: &(dyn Fn() -> Box<dyn Wire> + Sync),
) {
    std::thread::scope(|threads| {
        for &before in befores {
            for (once, drip) in HOLDING {
                threads.spawn(move || {
                    // On a busy machine a client may be so late with its request that it is closed rightly.
                    let mut wire = await_some("a connection that is kept", || {
                        let mut wire = connect();
                        if !before.is_empty() {
                            let status = exchange(&mut *wire, before)?;
                            assert!(["404", "401", "405"].contains(&&*status), "{status}");
                        }
                        wire.write_all(once).ok()?;
                        Some(wire)
                    });
                    let answered = until_closed(&mut *wire, drip);
                    let is_half_a_head = once == b"P" || !drip.is_empty();
                    assert!(
                        !is_half_a_head || answered.starts_with("HTTP/1.1 408 "),
                        "{before:?} {once:?} {drip:?}: {answered}"
                    );
                });
            }
        }
    });
}

#[test]
fn nobody_holds_a_connection_of_the_webhook_listener() {
    let bridge = Process::start(YAML);
    no_way_to_hold_a_connection(&BEFORE, &|| plain(bridge.webhooks()));
    bridge.await_metric(&["http_connections "], 0.0);
}

#[test]
fn nobody_holds_a_connection_of_the_admin_listener() {
    let bridge = Process::start(YAML);
    // A body that nobody reads ends the connection there.
    no_way_to_hold_a_connection(&BEFORE[..3], &|| plain(bridge.admin()));
}

#[test]
fn nobody_holds_a_connection_with_tls() {
    let (bridge, client) = start_with_tls(YAML);
    no_way_to_hold_a_connection(&BEFORE, &|| {
        let stream = client
            .connect(bridge.webhooks())
            .expect("a handshake")
            .into_stream();
        stream
            .sock
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("it is over zero");
        Box::new(stream)
    });
    let mut silent = plain(bridge.webhooks());
    until_closed(&mut *silent, b"");
    bridge.await_metric(&["http_connections "], 0.0);
}

#[test]
fn a_kept_connection_serves_on_as_long_as_requests_come() {
    let header_timeout = Duration::from_secs(1);
    let bridge = Process::start(&YAML.replace("keep_alive: 2s", "keep_alive: 1m"));
    let mut wire = plain(bridge.webhooks());
    let began = Instant::now();
    while began.elapsed() < 3 * header_timeout {
        for request in [good().bytes(), good().chunked(10)] {
            assert_eq!(exchange(&mut *wire, &request).as_deref(), Some("202"));
        }
    }
}

#[test]
fn who_does_not_read_its_answers_is_cut() {
    let bridge = Process::start(YAML);
    for (address, target) in [(bridge.webhooks(), "/x"), (bridge.admin(), "/metrics")] {
        let stream = TcpStream::connect(address).expect("the bridge listens");
        stream.set_nonblocking(true).expect("it is a socket");
        let requests = format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n").repeat(1000);
        await_some("the connection's end", || {
            match (&stream).write(requests.as_bytes()) {
                Err(error) if !is_waiting(&error) => Some(()),
                _ => None,
            }
        });
    }
    bridge.await_metric(&["http_connections "], 0.0);
}

/// As many connections as the listener takes, and more, each held in one of these ways.
fn hold(address: SocketAddr, count: usize, ways: &[&[u8]]) -> Vec<TcpStream> {
    let held = (0..count).filter_map(|number| {
        let mut stream = TcpStream::connect(address).ok()?;
        // One that is closed for another may be reset already.
        let _ = stream.write_all(ways[number % ways.len()]);
        Some(stream)
    });
    held.collect()
}

/// Whether the bridge has closed this connection, on which it may have answered something.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("it is a socket");
    let mut answer = [0; 1024];
    loop {
        match stream.read(&mut answer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Holds more connections than a listener of [`LONG`] takes, and waits until it has seen them all.
fn hold_all(bridge: &Process, ways: &[&[u8]]) -> Vec<TcpStream> {
    let evicted = || bridge.metric(&["http_connections_evicted_total "]);
    let before = evicted();
    let held = hold(bridge.webhooks(), 250, ways);
    await_some("150 connections that make room", || {
        (evicted() >= before + 150.0).then_some(())
    });
    held
}

const LONG: &str = "
http: {max_connections: 100, header_timeout: 1m, keep_alive: 1m, body_timeout: 40s, body_min_rate: 0, shutdown_timeout: 1m}
sources:
  minchat: {auth: {tokens: [kJ8s2LmQ9xTz4VbN7cRw1YpE5hGd3fUa], hmac: {secrets: [pV6tN3wX8qZk2RbM5yLs9HcJ4gDf7aUe]}}}
";

#[test]
fn strangers_on_every_connection_keep_no_good_sender_out() {
    let bridge = Process::start(LONG);
    let mut kept = Connection::open(bridge.webhooks());
    kept.send(good().bytes());
    assert_eq!(kept.answer().expect("an answer").status, 202);
    let slow_body = b"POST /webhooks/minchat HTTP/1.1\r\nhost: a\r\nx-signature: 00000000000000000000000000000000\
        00000000000000000000000000000000\r\ncontent-length: 5000\r\n\r\n{";
    let ways: [&[u8]; 5] = [
        b"",
        b"P",
        b"GET /x HTTP/1.1\r\nhost: a\r\n\r\nP",
        b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n",
        slow_body,
    ];
    for ways in [
        &ways[..1],
        &ways[1..2],
        &ways[2..3],
        &ways[3..4],
        &ways[4..],
        &ways,
    ] {
        let held = hold_all(&bridge, ways);
        for _ in 0..20 {
            assert_eq!(bridge.send(&good()).status, 202);
        }
        await_some("no more connections than allowed", || {
            (bridge.metric(&["http_connections "]) <= 100.0).then_some(())
        });
        kept.send(good().bytes());
        assert_eq!(
            kept.answer().expect("it was not closed for others").status,
            202
        );
        drop(held);
    }
    assert_eq!(bridge.metric(&["http_max_connections "]), 100.0);
    assert!(bridge.metric(&["http_connections_evicted_total "]) > 100.0);
    bridge.await_log(&["WARN", "as many connections are open as allowed"]);
}

#[test]
fn strangers_on_the_admin_listener_keep_no_probe_out() {
    let bridge = Process::start(LONG);
    let ways: [&[u8]; 3] = [b"", b"P", b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\nP"];
    let held = hold(bridge.admin(), 600, &ways);
    // While hundreds of evicted connections are still closing, a new one may be closed too.
    await_some("the connections beyond the limit are closed", || {
        let closed = held.iter().filter(|stream| is_closed(stream)).count();
        (closed >= 600 - 256).then_some(())
    });
    let url = format!("http://{}/livez", bridge.admin());
    for _ in 0..5 {
        let (code, said) = program(&["healthcheck", "--url", &url], &[]);
        assert_eq!(code, 0, "{said}");
    }
    assert_eq!(get(bridge.admin(), "/readyz").status, 200);
    drop(held);
}

#[test]
fn tls_handshakes_that_do_not_come_keep_no_good_sender_out() {
    let (bridge, client) = start_with_tls(LONG);
    let held = hold_all(&bridge, &[b"", b"\x16\x03\x01\x02\x00\x01"]);
    for _ in 0..10 {
        let mut connection = client.connect(bridge.webhooks()).expect("a handshake");
        assert_eq!(
            connection.exchange(&good().bytes()).expect("an answer"),
            202
        );
    }
    drop(held);
}

#[test]
fn a_tls_handshake_that_never_ends_is_cut_before_it_takes_memory() {
    let (bridge, _) = start_with_tls(LONG);
    let mut stream = TcpStream::connect(bridge.webhooks()).expect("the bridge listens");
    let mut sent = 0;
    // A hello that says of itself that it has 65,535 bytes, in records of 1,004 bytes.
    let mut record = b"\x16\x03\x01\x03\xec\x01\x00\xff\xff".to_vec();
    record.resize(5 + 1004, 0);
    let is_cut = (0..60).any(|_| {
        let is_open = stream.write_all(&record).is_ok();
        record[5..9].fill(0);
        sent += record.len();
        let asked = stream.set_read_timeout(Some(Duration::from_millis(100)));
        asked.expect("it is over zero");
        let read = stream.read(&mut [0; 100]);
        !is_open || !matches!(read, Err(error) if is_waiting(&error))
    });
    assert!(is_cut && sent < 40 << 10, "{sent} bytes were taken");
}

#[test]
fn a_request_whose_length_could_be_read_in_two_ways_is_refused() {
    let bridge = Process::start(LONG);
    for upgrade in ["websocket", "h2c, WebSocket"] {
        let mut connection = Connection::open(bridge.webhooks());
        connection.send(good().with("upgrade", upgrade).bytes());
        assert_eq!(connection.answer().map(|answer| answer.status), Some(400));
        assert_eq!(connection.rest(), "");
    }
    assert_eq!(bridge.send(&good().with("upgrade", "h2c")).status, 202);
}

/// A head of that many bytes, without its end.
fn half_head(bytes: usize) -> Vec<u8> {
    let mut head = b"GET /x HTTP/1.1\r\nhost: a\r\nx: ".to_vec();
    head.resize(bytes, b'x');
    head
}

#[test]
fn heads_take_little_memory_however_many_and_large_they_are() {
    const COUNT: usize = 1000;
    // Less than the heads themselves, 59 MiB. Those that are complete or closed a moment ago take memory too.
    const GROWTH: u64 = 48 << 20;
    let room = "max_connections: 3000, max_in_flight_bytes: 8MiB";
    let bridge = Process::start(&LONG.replace("max_connections: 100", room));
    assert_eq!(bridge.send(&good()).status, 202);
    let before = bridge.peak_memory();
    let whole = [&half_head(60 << 10)[..], b"\r\n\r\n"].concat();
    let kept = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
    let kept_half = [kept, &half_head(60 << 10)[..]].concat();
    let ways: [&[u8]; 3] = [&half_head(60 << 10), &kept_half, &whole];
    for way in ways {
        let held = hold(bridge.webhooks(), COUNT, &[way]);
        assert_eq!(bridge.send(&good()).status, 202);
        let growth = bridge.peak_memory() - before;
        println!("{} MiB more", growth >> 20);
        assert!(growth < GROWTH, "{growth} bytes");
        drop(held);
    }
}

#[test]
fn a_head_that_is_too_large_is_answered_at_every_place_of_a_connection() {
    let bridge = Process::start(LONG);
    for address in [bridge.webhooks(), bridge.admin()] {
        for before in [&b""[..], b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n"] {
            for size in [80 << 10, 200 << 10] {
                let mut connection = Connection::open(address);
                if !before.is_empty() {
                    connection.send(before);
                    assert_eq!(connection.answer().expect("an answer").status, 404);
                }
                connection.send(half_head(size));
                assert_eq!(connection.answer().map(|answer| answer.status), Some(431));
                assert_eq!(connection.rest(), "");
            }
        }
    }
}

#[test]
fn probes_are_answered_between_the_metrics_of_clients_that_ask_for_nothing_else() {
    const CLIENTS: usize = 20;
    const AHEAD: usize = 16;
    const PROBES: usize = 21;
    let bridge = Process::start("{}");
    bridge.await_ready();
    let request = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n";
    let (answered, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|threads| {
        for _ in 0..CLIENTS {
            threads.spawn(|| {
                let mut connection = Connection::open(bridge.admin());
                connection.send(request.repeat(AHEAD));
                while !is_over.load(Ordering::Relaxed) {
                    let answer = connection.answer().expect("an answer");
                    assert_eq!(answer.status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                    connection.send(request);
                }
            });
        }
        await_some("every client's first answers", || {
            (answered.load(Ordering::Relaxed) > 2 * CLIENTS * AHEAD).then_some(())
        });
        // How many times metrics were rendered while a probe waited.
        let mut waits: Vec<usize> = (0..PROBES)
            .map(|nth| {
                let before = answered.load(Ordering::Relaxed);
                let path = ["/livez", "/readyz"][nth % 2];
                assert_eq!(get(bridge.admin(), path).status, 200);
                answered.load(Ordering::Relaxed) - before
            })
            .collect();
        is_over.store(true, Ordering::Relaxed);
        waits.sort_unstable();
        println!("{waits:?}");
        // Each client may be served once before the probe's connection is taken in, and once before its request is read.
        assert!(waits[PROBES / 2] <= 3 * CLIENTS, "{waits:?}");
    });
}

#[test]
fn where_few_files_may_be_open_strangers_keep_no_good_sender_out() {
    let dir = Arc::new(TempDir::new().expect("a directory can be made"));
    let yaml = YAML.replace("header_timeout: 1s, keep_alive: 2s", "header_timeout: 1m");
    let bridge = Process::start_by(dir, &yaml, |program| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 300 && exec \"$0\" \"$@\"", program]);
        command
    });
    let limit = bridge.metric(&["http_max_connections"]);
    assert_eq!(limit, 75.0);
    let line = bridge.await_log(&["WARN", "is too low for http.max_connections"]);
    assert!(line.contains("\"limit\":300"), "{line}");
    let strangers: Vec<_> = (0..150)
        .map(|_| TcpStream::connect(bridge.webhooks()))
        .collect();
    // Those that made room for the others are closed.
    bridge.await_metric(&["http_connections_evicted_total"], 150.0 - limit);
    bridge.await_metric(&["http_connections "], limit);
    for _ in 0..200 {
        assert_eq!(bridge.send(&good()).status, 202);
    }
    assert_eq!(bridge.ask("/livez").0, 200);
    drop(strangers);
}
