//! Requests that a client sends before it has read the answer to an earlier one.

use std::io::Write;
use std::net::TcpStream;

use super::PAYLOAD;
use crate::client::{Connection, Request};
use crate::process::{Process, await_some};

const YAML: &str = "
http: {max_connections: 20, header_timeout: 1m, keep_alive: 1m, shutdown_timeout: 1m}
sources:
  minchat: {auth: {tokens: [kJ8s2LmQ9xTz4VbN7cRw1YpE5hGd3fUa]}}
";

fn good() -> Request {
    let token = "Bearer kJ8s2LmQ9xTz4VbN7cRw1YpE5hGd3fUa";
    Request::post("/webhooks/minchat", PAYLOAD).with("authorization", token)
}

#[test]
fn nothing_is_answered_after_the_answer_that_closes_the_connection() {
    let bridge = Process::start(YAML);
    let large_head = good().with("x-large", &"x".repeat(9000)).bytes();
    let old = String::from_utf8(good().bytes()).expect("it is text");
    let old = old.replace("HTTP/1.1", "HTTP/1.0").into_bytes();
    for (first, status) in [
        (Request::post("/webhooks/minchat", PAYLOAD).bytes(), 401),
        (Request::post("/webhooks/nobody", PAYLOAD).bytes(), 404),
        (good().with("content-encoding", "br").bytes(), 415),
        (good().with("connection", "close").bytes(), 202),
        (large_head, 202),
        (old, 202),
    ] {
        let before = bridge.metric(&["webhooks_accepted_total"]);
        let mut connection = Connection::open(bridge.webhooks());
        connection.send([first, good().bytes().repeat(3)].concat());
        let answer = connection.answer().expect("an answer");
        assert_eq!(answer.status, status);
        assert_ne!(answer.header("connection"), Some("keep-alive"));
        assert_eq!(connection.rest(), "", "{status}");
        let accepted = bridge.metric(&["webhooks_accepted_total"]) - before;
        assert_eq!(accepted, f64::from(u8::from(status == 202)), "{status}");
    }
}

#[test]
fn requests_that_were_sent_ahead_are_answered_in_order() {
    let bridge = Process::start(YAML);
    let mut connection = Connection::open(bridge.webhooks());
    let unknown = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n".to_vec();
    for _ in 0..20 {
        connection.send([good().bytes(), unknown.clone(), good().chunked(7)].concat());
        for status in [202, 404, 202] {
            assert_eq!(
                connection.answer().map(|answer| answer.status),
                Some(status)
            );
        }
    }
}

#[test]
fn a_connection_whose_requests_show_no_credentials_any_more_makes_room() {
    let bridge = Process::start(YAML);
    let held: Vec<Connection> = (0..20)
        .map(|_| {
            let mut connection = Connection::open(bridge.webhooks());
            connection.send(good().bytes());
            assert_eq!(connection.answer().map(|answer| answer.status), Some(202));
            connection.send(b"GET /webhooks/minchat HTTP/1.1\r\nhost: a\r\n\r\n");
            assert_eq!(connection.answer().map(|answer| answer.status), Some(405));
            connection
        })
        .collect();
    for _ in 0..40 {
        assert_eq!(bridge.send(&good()).status, 202);
    }
    drop(held);
}

#[test]
fn answers_that_nobody_reads_take_the_memory_of_one_for_each_connection() {
    const CLIENTS: usize = 40;
    const AHEAD: usize = 1000;
    let bridge = Process::start(YAML);
    let metrics = bridge.ask("/metrics").1.len() as u64;
    let before = bridge.peak_memory();
    let requests = "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n".repeat(AHEAD);
    let clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut client = TcpStream::connect(bridge.admin()).expect("the bridge listens");
            client.set_nonblocking(true).expect("it is a socket");
            // What the kernel does not take is not sent.
            let _ = client.write(requests.as_bytes());
            client
        })
        .collect();
    let answered = || bridge.metric(&["http_requests_total", "metrics"]);
    // Each asks once more itself.
    let mut last = answered();
    await_some("no more answers than the kernel takes", || {
        let now = answered();
        let is_last = now == last + 1.0;
        last = now;
        is_last.then_some(())
    });
    let growth = bridge.peak_memory() - before;
    println!("{growth} bytes more, of answers of {metrics}");
    // The server would hold 16 answers of each, besides.
    assert!(growth < 6 * CLIENTS as u64 * metrics, "{growth} bytes");
    drop(clients);
}

#[test]
fn nothing_that_follows_a_body_is_ever_read_as_a_part_of_it() {
    let bridge =
        Process::start(&YAML.replace("header_timeout: 1m", "header_timeout: 1m, body_timeout: 1s"));
    let chunked = Request::post("/webhooks/minchat", "")
        .with("authorization", "Bearer kJ8s2LmQ9xTz4VbN7cRw1YpE5hGd3fUa")
        .head("transfer-encoding: chunked\r\n");
    let hidden = good().bytes();
    let carrier = Request::post("/webhooks/minchat", &hidden).bytes();
    for end in [
        "0\r\nA: x\n\n",
        "0\n\n",
        "0\r\n\n",
        "0\r\nA: x\r\n\n",
        "0\r\nA: x\n\r\n",
    ] {
        let before = bridge.metric(&["webhooks_accepted_total"]);
        let mut connection = Connection::open(bridge.webhooks());
        let head = chunked.clone();
        connection.send(
            [
                head,
                b"2\r\n{}\r\n".to_vec(),
                end.as_bytes().to_vec(),
                carrier.clone(),
            ]
            .concat(),
        );
        let refused = connection.answer().map(|answer| answer.status);
        assert!(matches!(refused, Some(400 | 408)), "{end:?}: {refused:?}");
        assert_eq!(connection.rest(), "", "{end:?}");
        assert_eq!(
            bridge.metric(&["webhooks_accepted_total"]),
            before,
            "{end:?}"
        );
    }
}
