//! Thousands of slow connections and bombs, and one good client among them.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::PAYLOAD;
use crate::client::{Connection, Request};
use crate::process::{Process, await_some};

/// What the bridge may take up while it has all of them.
const MEMORY: u64 = 256 << 20;

/// Of slow heads, and of slow bodies.
const SLOW: usize = 2_500;

const WEBHOOKS: usize = 500;

/// Time-outs so long that no connection is cut while the test runs.
const YAML: &str = "
http: {header_timeout: 2m, body_timeout: 2m, body_min_rate: 0, shutdown_timeout: 3m}
sources:
  minchat:
    auth: {tokens: [a-token-that-is-long-enough], hmac: {secrets: [a-secret-of-its-own-for-this]}}
";

fn with_token(body: impl AsRef<[u8]>) -> Request {
    Request::post("/webhooks/minchat", body)
        .with("authorization", "Bearer a-token-that-is-long-enough")
}

/// Half a head, which never ends.
fn slow_head() -> Vec<u8> {
    let head = format!(
        "POST /webhooks/minchat HTTP/1.1\r\nx-slow: {}",
        "x".repeat(2000)
    );
    head.into_bytes()
}

/// A head with a signature that could be one, and some of a body that never ends.
fn slow_body() -> Vec<u8> {
    let request = Request::post("/webhooks/minchat", "").with("x-signature", &"0".repeat(64));
    let mut bytes = request.head("content-length: 500000\r\n");
    bytes.extend_from_slice(&[b' '; 8 << 10]);
    bytes
}

fn open(bridge: &Process, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(bridge.webhooks()).expect("the bridge listens");
    stream.write_all(bytes).expect("the bridge reads");
    stream
}

fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let zeros = vec![b' '; 20 << 20];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&zeros).expect("memory takes it");
    vec![
        ("gzip", gzip.finish().expect("memory takes it")),
        (
            "zstd",
            zstd::encode_all(&zeros[..], 19).expect("memory takes it"),
        ),
    ]
}

#[test]
fn among_5000_slow_connections_and_bombs_a_good_client_gets_every_202_in_256_mib() {
    let files =
        rlimit::increase_nofile_limit(u64::MAX).expect("it can be raised to the hard limit");
    assert!(
        files > 2 * SLOW as u64 + 500,
        "the hard limit on open files, {files}, is too low for the test"
    );
    let bridge = Process::start(YAML);
    let (head, body) = (slow_head(), slow_body());
    let slow: Vec<TcpStream> = (0..SLOW)
        .flat_map(|_| [open(&bridge, &head), open(&bridge, &body)])
        .collect();
    let in_flight = SLOW as f64;
    bridge.await_metric(&["http_requests_in_flight "], in_flight);
    await_some("every connection", || {
        (bridge.metric(&["http_connections "]) >= slow.len() as f64).then_some(())
    });

    let (over, bombed) = (AtomicBool::new(false), AtomicU32::new(0));
    let statuses = std::thread::scope(|threads| {
        threads.spawn(|| {
            let bombs = bombs();
            loop {
                for (encoding, bomb) in &bombs {
                    let request = with_token(bomb).with("content-encoding", encoding);
                    assert_eq!(bridge.send(&request).status, 413);
                    bombed.fetch_add(1, Ordering::Relaxed);
                }
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let mut connection = Connection::open(bridge.webhooks());
        let mut post = || {
            connection.send(with_token(PAYLOAD).bytes());
            connection.answer().expect("an answer").status
        };
        await_some("a bomb", || {
            (bombed.load(Ordering::Relaxed) > 0).then_some(())
        });
        let statuses: Vec<u16> = (0..WEBHOOKS).map(|_| post()).collect();
        over.store(true, Ordering::Relaxed);
        statuses
    });
    assert_eq!(statuses, [202; WEBHOOKS]);
    assert!(
        bridge.metric(&["http_connections "]) >= slow.len() as f64,
        "none of them was dropped"
    );
    assert!(bridge.metric(&["http_requests_in_flight "]) >= in_flight);
    let peak = bridge.peak_memory();
    println!("{} connections, {} MiB at most", slow.len(), peak >> 20);
    assert!(peak < MEMORY, "{peak} bytes");
}
