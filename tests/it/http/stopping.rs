//! Stopping in order.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{PAYLOAD, webhook};
use crate::bridge::Bridge;
use crate::client::get;
use crate::scripted::Script;

#[test]
fn what_is_in_flight_is_finished_and_nothing_new_is_taken() {
    let bridge = Bridge::start();
    let address = bridge.webhooks();
    bridge.script(Script::ConfirmAfter(Duration::from_millis(500)));
    let mut idle = bridge.connect();
    idle.send(webhook().bytes());
    assert_eq!(idle.answer().expect("an answer").status, 202);
    let mut busy = bridge.connect();
    busy.send(webhook().bytes());
    bridge.await_metric("minchat_bridge_http_requests_in_flight", 1.0);

    bridge.stop();
    let answer = busy.answer().expect("an answer");
    assert_eq!(
        (answer.status, answer.header("connection")),
        (202, Some("close"))
    );
    assert_eq!((busy.rest(), idle.rest()), (String::new(), String::new()));
    assert!(
        TcpStream::connect(address).is_err(),
        "nobody listens any more"
    );
    assert!(bridge.ended() < Duration::from_secs(5));
}

#[test]
fn a_client_that_is_stuck_does_not_use_up_the_time() {
    let bridge = Bridge::with(|settings| {
        settings.body_timeout = Duration::from_millis(500);
        settings.shutdown_timeout = Duration::from_secs(30);
    });
    let mut stuck = bridge.connect();
    stuck.send(webhook().head("content-length: 100\r\n"));
    let mut half_a_head = bridge.connect();
    half_a_head.send("POST /webhooks/open HTTP/1.1\r\n");
    bridge.await_metric("minchat_bridge_http_requests_in_flight", 1.0);
    bridge.stop();
    assert_eq!(stuck.answer().expect("an answer").status, 408);
    assert!(bridge.ended() < Duration::from_secs(10));
}

#[test]
fn the_time_that_is_given_is_kept() {
    let bridge = Bridge::with(|settings| settings.shutdown_timeout = Duration::from_millis(700));
    bridge.script(Script::ConfirmAfter(Duration::from_secs(60)));
    let mut busy = bridge.connect();
    busy.send(webhook().bytes());
    bridge.await_metric("minchat_bridge_http_requests_in_flight", 1.0);
    let began = Instant::now();
    bridge.stop();
    bridge.ended();
    assert!(
        (700..3000).contains(&began.elapsed().as_millis()),
        "{:?}",
        began.elapsed()
    );
    assert!(busy.answer().is_none());
}

#[test]
fn before_it_stops_it_is_not_ready_and_still_serves() {
    let bridge = Bridge::with(|settings| settings.stop_delay = Duration::from_millis(1500));
    let mut kept = bridge.connect();
    kept.send(webhook().bytes());
    assert_eq!(kept.answer().expect("an answer").header("connection"), None);
    bridge.stop();
    bridge.await_readiness(503, "[-]serving failed: the bridge is stopping\n");
    assert_eq!(get(bridge.admin(), "/livez").status, 200);
    assert_eq!(webhook().send_to(bridge.webhooks()).status, 202);
    kept.send(webhook().bytes());
    let answer = kept.answer().expect("an answer");
    assert_eq!(
        (answer.status, answer.header("connection")),
        (202, Some("close"))
    );
    assert!(
        bridge
            .published()
            .iter()
            .all(|envelope| envelope == PAYLOAD)
    );
    assert!(bridge.ended() >= Duration::from_millis(500));
}
