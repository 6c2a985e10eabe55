//! What clients without credentials can write into the log.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use super::tls_client::TlsClient;
use crate::authority::Authority;
use crate::process::{PATIENCE, Process};

const YAML: &str = "
http: {header_timeout: 1s, body_timeout: 1s}
sources: {minchat: {auth: {tokens: [kJ8s2LmQ9xTz4VbN7cRw1YpE5hGd3fUa], hmac: {secrets: [pV6tN3wX8qZk2RbM5yLs9HcJ4gDf7aUe]}}}}
";

/// Lines at INFO and above that 2,000 connections may leave: that of what was rejected, and some of other things that
/// happen meanwhile.
const MAX_LINES: usize = 20;

/// Connections to each listener.
const CONNECTIONS: usize = 2_000;

/// Connections at a time.
const CLIENTS: usize = 8;

/// Each after its fashion.
fn garbage() -> Vec<Vec<u8>> {
    let signed =
        "x-signature: 0000000000000000000000000000000000000000000000000000000000000000\r\n";
    let post = |target: &str, rest: &str| {
        format!("POST {target} HTTP/1.1\r\nhost: a\r\n{rest}").into_bytes()
    };
    let minchat = |rest: &str| post("/webhooks/minchat", rest);
    vec![
        b"".to_vec(),
        b"\0\x01\x02\r\n\r\n".to_vec(),
        b"\xff\xfe\x1b[2J\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET  /  HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /metrics".to_vec(),
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n".to_vec(),
        b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        b"DELETE /livez HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        post("/webhooks/%1b%5b2J%0a", "content-length: 2\r\n\r\n{}"),
        post("/webhooks/nobody", "content-length: 2\r\n\r\n{}"),
        minchat("content-length: 2\r\n\r\n{}"),
        minchat("authorization: Bearer wrong\r\ncontent-length: 2\r\n\r\n{}"),
        minchat(&format!("{signed}content-length: 2\r\n\r\n{{}}")),
        minchat(&format!("{signed}content-length: 100\r\n\r\n{{")),
        minchat(&format!("{signed}content-length: 99999999\r\n\r\n{{")),
        minchat(&format!("{signed}transfer-encoding: chunked\r\n\r\nzz\r\n")),
        minchat(&format!(
            "{signed}transfer-encoding: chunked\r\n\r\n5\r\n{{"
        )),
        minchat(&format!(
            "{signed}content-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope"
        )),
        minchat(&format!(
            "{signed}expect: 100-continue\r\ncontent-length: 9\r\n\r\n"
        )),
        minchat("content-length: -1\r\n\r\n"),
        minchat("content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        minchat("transfer-encoding: gzip\r\n\r\n"),
        minchat(&format!("x: {}\r\n\r\n", "x".repeat(70_000))),
        minchat(&"x: y\r\n".repeat(200)),
    ]
}

/// How a client parts after it has sent its garbage.
#[derive(Clone, Copy)]
enum Parting {
    /// At once: unread answers make it a reset.
    Gone,
    /// It sends no more, and reads until the bridge closes the connection.
    Reads,
}

fn send(mut stream: TcpStream, garbage: &[u8], parting: Parting) {
    // The bridge may close the connection before all is sent, and before it is read from.
    let _ = stream.write_all(garbage);
    if let Parting::Reads = parting {
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

fn send_all(address: SocketAddr) {
    let garbage = garbage();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let garbage = &garbage;
            scope.spawn(move || {
                for nth in (client..CONNECTIONS).step_by(CLIENTS) {
                    let stream = TcpStream::connect(address).expect("the bridge listens");
                    stream
                        .set_read_timeout(Some(PATIENCE))
                        .expect("it is over zero");
                    let parting = match nth / garbage.len() % 2 {
                        0 => Parting::Gone,
                        _ => Parting::Reads,
                    };
                    send(stream, &garbage[nth % garbage.len()], parting);
                }
            });
        }
    });
}

/// The lines at INFO and above; each line has to be one object.
fn lines(bridge: &Process) -> Vec<String> {
    let log = bridge.log();
    let is_shown = |line: &&str| {
        let line: Value = serde_json::from_str(line).expect("a line is one object");
        ["INFO", "WARN", "ERROR"].contains(&line["level"].as_str().expect("it has a level"))
    };
    log.lines().filter(is_shown).map(str::to_owned).collect()
}

fn assert_few_lines_since(bridge: &Process, before: usize) {
    bridge.await_log(&["INFO", "rejected since the last such line"]);
    let new = lines(bridge).split_off(before);
    assert!(new.len() < MAX_LINES, "{} lines: {new:#?}", new.len());
}

#[test]
fn strangers_write_next_to_nothing_into_the_log() {
    let bridge = Process::start(YAML);
    bridge.await_ready();
    let before = lines(&bridge).len();
    send_all(bridge.webhooks());
    send_all(bridge.admin());
    assert_few_lines_since(&bridge, before);
    for status in ["400", "431"] {
        let counted = bridge.metric(&["http_requests_total", "\"other\"", status]);
        assert!(counted > 0.0, "{status} is counted");
    }
}

#[test]
fn strangers_write_next_to_nothing_into_the_log_over_tls() {
    let own = Authority::new("servers");
    let dir = Arc::new(TempDir::new().expect("a directory can be made"));
    own.certify("bridge").write(dir.path(), "own");
    let yaml = YAML.replace(
        "http: {",
        "http: {tls: {cert_file: own.pem, key_file: own.key}, ",
    );
    let bridge = Process::start_in(dir, &yaml);
    bridge.await_ready();
    let before = lines(&bridge).len();
    send_all(bridge.webhooks());
    let client = TlsClient::trusting(own.pem());
    for garbage in garbage() {
        let connection = client.connect(bridge.webhooks());
        let mut stream = connection.expect("the handshake is done").into_stream();
        let _ = stream.write_all(&garbage);
        let _ = stream.flush();
    }
    let other = Authority::new("others");
    assert!(
        TlsClient::trusting(other.pem())
            .connect(bridge.webhooks())
            .is_err()
    );
    assert_few_lines_since(&bridge, before);
    assert!(bridge.metric(&["tls_handshakes_failed_total"]) > 1_000.0);
}
