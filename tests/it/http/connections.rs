//! Connections: kept, closed, misused.

use std::time::{Duration, Instant};

use super::{PAYLOAD, webhook};
use crate::bridge::Bridge;
use crate::client::Request;
use crate::scripted::Script;

#[test]
fn a_connection_serves_one_webhook_after_another() {
    let bridge = Bridge::start();
    let mut connection = bridge.connect();
    for _ in 0..3 {
        connection.send(webhook().bytes());
        assert_eq!(connection.answer().expect("an answer").status, 202);
        connection.send(webhook().chunked(10));
        assert_eq!(connection.answer().expect("an answer").status, 202);
        connection.send(Request::post("/webhooks/open", "not json").bytes());
        assert_eq!(
            connection.answer().expect("an answer").status,
            400,
            "its body was read: the connection is kept"
        );
    }
}

#[test]
fn pipelined_webhooks_are_answered_in_order() {
    let bridge = Bridge::start();
    let mut connection = bridge.connect();
    let bodies = [PAYLOAD, "[]", PAYLOAD, "not json", "{}"];
    let all: Vec<u8> = bodies
        .iter()
        .flat_map(|body| Request::post("/webhooks/open", body).bytes())
        .collect();
    connection.send(all);
    let statuses = bodies.map(|_| connection.answer().expect("an answer").status);
    assert_eq!(statuses, [202, 202, 202, 400, 202]);
}

#[test]
fn an_unread_body_is_never_the_next_request() {
    let bridge = Bridge::start();
    let hidden = String::from_utf8(webhook().bytes()).expect("the request is ASCII");
    for request in [
        Request::post("/webhooks/minchat", &hidden),
        Request::post("/webhooks/nobody", &hidden),
    ] {
        for bytes in [
            request.bytes(),
            request.chunked(1 << 20),
            request.chunked(10),
        ] {
            for pause in [false, true] {
                let mut connection = bridge.connect();
                let head = bytes
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n")
                    .expect("a head")
                    + 4;
                connection.send(&bytes[..head]);
                if pause {
                    std::thread::sleep(Duration::from_millis(20));
                }
                connection.send(&bytes[head..]);
                let answer = connection.answer().expect("an answer");
                assert!(matches!(answer.status, 401 | 404));
                assert_eq!(answer.header("connection"), Some("close"));
                assert_eq!(connection.rest(), "");
            }
        }
    }
    assert_eq!(bridge.published(), [""; 0]);
}

#[test]
fn a_refused_client_that_sends_on_for_ever_is_cut() {
    let bridge = Bridge::start();
    for endless in [
        "transfer-encoding: chunked\r\n",
        "content-length: 60000\r\n",
    ] {
        let mut connection = bridge.connect();
        connection.send(Request::post("/webhooks/minchat", "").head(endless));
        assert_eq!(connection.answer().expect("an answer").status, 401);
        let began = Instant::now();
        while connection.send("1\r\nx\r\n") {
            assert!(began.elapsed() < Duration::from_secs(10), "{endless}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    bridge.await_metric("minchat_bridge_http_connections", 0.0);
}

#[test]
fn what_is_no_request_is_answered_without_a_body() {
    let bridge = Bridge::start();
    let long = |bytes| format!("x-long: {}\r\n", "x".repeat(bytes));
    for (bytes, status) in [
        (b"nonsense\r\n\r\n".to_vec(), 400),
        (
            webhook().head("content-length: 5\r\ntransfer-encoding: chunked\r\n"),
            400,
        ),
        (
            webhook().head("content-length: 5\r\ncontent-length: 6\r\n"),
            400,
        ),
        (webhook().head("content-length: +5\r\n"), 400),
        (webhook().head("transfer-encoding: gzip, chunked\r\n"), 400),
        (webhook().head(&long(70 << 10)), 431),
        (webhook().head(&long(140 << 10)), 431),
        (webhook().head(&"x: y\r\n".repeat(200)), 431),
    ] {
        let mut connection = bridge.connect();
        connection.send(bytes);
        let answer = connection.answer().expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (status, ""));
        assert_eq!(connection.rest(), "");
    }
    assert_eq!(bridge.published(), [""; 0]);
}

#[test]
fn a_head_up_to_the_limit_is_taken() {
    let bridge = Bridge::start();
    let request = webhook().with("x-long", &"x".repeat(60 << 10));
    assert_eq!(request.send_to(bridge.webhooks()).status, 202);
}

#[test]
fn a_head_that_does_not_come_is_cut() {
    let bridge = Bridge::with(|settings| settings.header_timeout = Duration::from_millis(300));
    let mut connection = bridge.connect();
    let began = Instant::now();
    connection.send("POST /webhooks/open HTTP/1.1\r\n");
    assert_eq!(connection.answer().expect("an answer").status, 408);
    assert_eq!(connection.rest(), "");
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    const KEEP_ALIVE: Duration = Duration::from_millis(300);
    let bridge = Bridge::with(|settings| settings.keep_alive = KEEP_ALIVE);
    let mut connection = bridge.connect();
    connection.send(webhook().bytes());
    assert_eq!(connection.answer().expect("an answer").status, 202);
    let began = Instant::now();
    assert_eq!(connection.rest(), "");
    let idle = began.elapsed();
    // The server's time begins with its answer, a little before the test has read it.
    assert!(idle > KEEP_ALIVE / 2, "{idle:?}");
    assert!(idle < Duration::from_secs(4), "{idle:?}");
}

#[test]
fn a_client_that_hangs_up_before_the_answer_leaves_a_whole_event() {
    let bridge = Bridge::start();
    bridge.script(Script::ConfirmAfter(Duration::from_secs(30)));
    let mut connection = bridge.connect();
    // The interim answer is there to stay unread.
    connection.send(webhook().with("expect", "100-continue").bytes());
    while bridge.published().is_empty() {
        std::thread::yield_now();
    }
    connection.reset();
    bridge.await_metric("minchat_bridge_http_requests_in_flight", 0.0);
    bridge.await_metric("minchat_bridge_http_in_flight_bytes", 0.0);
    assert_eq!(bridge.published(), [PAYLOAD]);
}

#[test]
fn a_client_that_has_only_stopped_sending_gets_its_answer() {
    let bridge = Bridge::start();
    bridge.script(Script::ConfirmAfter(Duration::from_millis(200)));
    let mut connection = bridge.connect();
    connection.send(webhook().bytes());
    connection.shut_sending_down();
    assert_eq!(connection.answer().expect("an answer").status, 202);
}
