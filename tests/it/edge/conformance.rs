//! HTTP/1.1 as RFC 9112 has it, over raw sockets: what proxies and attackers send.
//!
//! What matters most: two readers of one stream never disagree on where a request ends. So whatever
//! could be read in two ways is refused, and its connection closed.

use crate::client::Connection;
use crate::process::Process;

/// A body of 5 bytes that is a webhook.
const BODY: &str = "[1,2]";
/// The same in chunks.
const CHUNKED: &str = "5\r\n[1,2]\r\n0\r\n\r\n";
/// What a smuggler would have taken for a second request.
const HIDDEN: &str = "POST /webhooks/minchat HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n[6,6]";

/// A request's name, its lines behind the host's, and what comes behind its head.
type Row<'a> = (&'a str, &'a str, String);

/// What comes back on one connection up to a 404 or its end: the statuses, and whether it is closed.
fn answers(bridge: &Process, bytes: &[u8]) -> (Vec<u16>, bool) {
    let mut connection = Connection::open(bridge.webhooks());
    connection.send(bytes);
    let mut statuses = Vec::new();
    loop {
        match connection.answer() {
            Some(answer) => {
                let is_last = answer.header("connection") == Some("close");
                statuses.push(answer.status);
                if is_last {
                    let rest = connection.rest();
                    assert!(rest.is_empty(), "after the last answer: {rest}");
                    return (statuses, true);
                }
            }
            None => return (statuses, true),
        }
        if statuses.last() == Some(&404) {
            return (statuses, false);
        }
    }
}

/// Sends a request with these lines, and behind it one that is answered with a 404.
fn send(bridge: &Process, lines: &str, body: &str) -> Vec<u16> {
    let request = format!(
        "POST /webhooks/minchat HTTP/1.1\r\nhost: bridge.test\r\n{lines}\r\n{body}GET /end HTTP/1.1\r\nhost: bridge.test\r\n\r\n"
    );
    answers(bridge, request.as_bytes()).0
}

fn count(bridge: &Process) -> usize {
    super::published(bridge, "unrecognized").len()
}

#[test]
fn what_could_be_read_in_two_ways_is_refused_and_nothing_is_smuggled() {
    let bridge = Process::start("{}");
    let rows: Vec<Row<'_>> = vec![
        (
            "length and chunks",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "chunks and length",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "the length of the chunks",
            "content-length: 15\r\ntransfer-encoding: chunked\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "two lengths",
            "content-length: 5\r\ncontent-length: 6\r\n",
            BODY.to_owned(),
        ),
        (
            "the same length twice",
            "content-length: 5\r\ncontent-length: 5\r\n",
            BODY.to_owned(),
        ),
        (
            "a list of lengths",
            "content-length: 5, 5\r\n",
            BODY.to_owned(),
        ),
        ("a signed length", "content-length: +5\r\n", BODY.to_owned()),
        (
            "a negative length",
            "content-length: -5\r\n",
            BODY.to_owned(),
        ),
        (
            "a length in hex",
            "content-length: 0x5\r\n",
            BODY.to_owned(),
        ),
        (
            "a length with a space",
            "content-length: 5 5\r\n",
            BODY.to_owned(),
        ),
        ("no length", "content-length:\r\n", BODY.to_owned()),
        (
            "a length that overflows",
            "content-length: 18446744073709551621\r\n",
            BODY.to_owned(),
        ),
        (
            "a space before the colon",
            "content-length : 5\r\n",
            BODY.to_owned(),
        ),
        (
            "a folded line",
            "content-length:\r\n 5\r\n",
            BODY.to_owned(),
        ),
        (
            "a folded encoding",
            "transfer-encoding:\r\n chunked\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "another encoding",
            "transfer-encoding: gzip, chunked\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "chunks twice",
            "transfer-encoding: chunked, chunked\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "chunks in two lines",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "chunks, then identity",
            "transfer-encoding: chunked, identity\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "chunks in another line",
            "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "almost chunks",
            "transfer-encoding: xchunked\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "chunks in quotes",
            "transfer-encoding: \"chunked\"\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "a control before chunks",
            "transfer-encoding: \x0bchunked\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "a bare CR in a value",
            "x: a\rb\r\ncontent-length: 5\r\n",
            BODY.to_owned(),
        ),
        (
            "a NUL in a value",
            "x: a\0b\r\ncontent-length: 5\r\n",
            BODY.to_owned(),
        ),
        ("no colon", "x\r\ncontent-length: 5\r\n", BODY.to_owned()),
        ("no name", ": x\r\ncontent-length: 5\r\n", BODY.to_owned()),
        (
            "a name with a space",
            "x y: z\r\ncontent-length: 5\r\n",
            BODY.to_owned(),
        ),
        (
            "a second host",
            "host: other.test\r\ncontent-length: 5\r\n",
            BODY.to_owned(),
        ),
        (
            "the same host twice",
            "host: bridge.test\r\ncontent-length: 5\r\n",
            BODY.to_owned(),
        ),
    ];
    for (what, lines, body) in rows {
        let statuses = send(&bridge, lines, &format!("{body}{HIDDEN}"));
        assert_eq!(statuses, [400], "{what}");
    }
    assert_eq!(count(&bridge), 0);
}

#[test]
fn a_chunk_that_is_none_ends_the_connection_without_an_event() {
    let bridge = Process::start("{}");
    for chunks in [
        "0x5\r\n[1,2]\r\n0\r\n\r\n",
        "+5\r\n[1,2]\r\n0\r\n\r\n",
        "-5\r\n[1,2]\r\n0\r\n\r\n",
        " 5\r\n[1,2]\r\n0\r\n\r\n",
        "5 5\r\n[1,2]\r\n0\r\n\r\n",
        "\r\n[1,2]\r\n0\r\n\r\n",
        "5\r[1,2]\r\n0\r\n\r\n",
        "4\r\n[1,2]\r\n0\r\n\r\n",
        "5\r\n[1,2]0\r\n\r\n",
        "fffffffffffffffff\r\n[1,2]\r\n0\r\n\r\n",
        "g\r\n[1,2]\r\n0\r\n\r\n",
        "5;a=\"\x00\"\r\n[1,2]\r\n0\r\n\r\n",
    ] {
        let statuses = send(
            &bridge,
            "transfer-encoding: chunked\r\n",
            &format!("{chunks}{HIDDEN}"),
        );
        assert!(
            matches!(statuses[..], [] | [400] | [408]),
            "{chunks:?}: {statuses:?}"
        );
    }
    assert_eq!(count(&bridge), 0);
}

#[test]
fn what_is_odd_and_clear_is_taken() {
    let bridge = Process::start("{}");
    let chunks = |text: &str| text.to_owned();
    let rows: Vec<Row<'_>> = vec![
        ("a length", "content-length: 5\r\n", BODY.to_owned()),
        (
            "a length with zeros and tabs",
            "content-length:\t 0005 \t\r\n",
            BODY.to_owned(),
        ),
        (
            "a name in capitals",
            "CONTENT-LENGTH: 5\r\n",
            BODY.to_owned(),
        ),
        (
            "chunks",
            "transfer-encoding: chunked\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "chunks in capitals",
            "Transfer-Encoding: CHUNKED\r\n",
            CHUNKED.to_owned(),
        ),
        (
            "several chunks",
            "transfer-encoding: chunked\r\n",
            chunks("1\r\n[\r\n4\r\n1,2]\r\n0\r\n\r\n"),
        ),
        (
            "a size with zeros",
            "transfer-encoding: chunked\r\n",
            chunks("0005\r\n[1,2]\r\n000\r\n\r\n"),
        ),
        (
            "chunk extensions",
            "transfer-encoding: chunked\r\n",
            chunks("5;a=b;c=\"d\"\r\n[1,2]\r\n0;e\r\n\r\n"),
        ),
        (
            "a trailer",
            "transfer-encoding: chunked\r\ntrailer: x\r\n",
            chunks("5\r\n[1,2]\r\n0\r\nx: y\r\n\r\n"),
        ),
        (
            "an empty value",
            "x:\r\ncontent-length: 5\r\n",
            BODY.to_owned(),
        ),
        (
            "a value beyond ASCII",
            "x: k\u{e4}se\r\ncontent-length: 5\r\n",
            BODY.to_owned(),
        ),
        (
            "the same header often",
            "x: 1\r\nx: 2\r\nx: 3\r\ncontent-length: 5\r\n",
            BODY.to_owned(),
        ),
    ];
    let expected = rows.len();
    for (what, lines, body) in rows {
        let statuses = send(&bridge, lines, &body);
        assert_eq!(statuses, [202, 404], "{what}");
    }
    let upgrade = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\ncontent-length: 5\r\n";
    let statuses = send(&bridge, upgrade, BODY);
    assert_eq!(
        statuses,
        [202],
        "the upgrade is not done, and the connection is closed"
    );
    assert_eq!(count(&bridge), expected + 1);
}

#[test]
fn request_lines_of_every_form_are_told_apart() {
    let bridge = Process::start("{}");
    let head = "host: bridge.test\r\ncontent-length: 5\r\n\r\n[1,2]";
    for (line, statuses) in [
        (
            "POST http://bridge.test/webhooks/minchat HTTP/1.1",
            &[202][..],
        ),
        (
            "POST HTTPS://other.test:1/webhooks/minchat?dry_run=false HTTP/1.1",
            &[202],
        ),
        ("POST /webhooks/minchat#part HTTP/1.1", &[202]),
        ("POST //webhooks/minchat HTTP/1.1", &[404]),
        ("POST /webhooks/../webhooks/minchat HTTP/1.1", &[404]),
        ("POST /webhooks/minchat/.. HTTP/1.1", &[404]),
        ("POST * HTTP/1.1", &[404]),
        ("OPTIONS * HTTP/1.1", &[404]),
        ("CONNECT bridge.test:80 HTTP/1.1", &[404]),
        ("post /webhooks/minchat HTTP/1.1", &[405]),
        ("POST  /webhooks/minchat HTTP/1.1", &[400]),
        ("POST /webhooks/minchat", &[400]),
        ("POST /webhooks/minchat HTTP/1.2", &[400]),
        ("POST /webhooks/minchat HTTP/2.0", &[400]),
        ("POST /webhooks/minchat HTTP/11", &[400]),
        ("POST /webhooks/minchat http/1.1", &[400]),
        ("POST /webhooks/min chat HTTP/1.1", &[400]),
        ("POST /webhooks/minchat\t HTTP/1.1", &[400]),
        ("PO ST /webhooks/minchat HTTP/1.1", &[400]),
        ("PO(ST /webhooks/minchat HTTP/1.1", &[400]),
        ("", &[400]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400]),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03", &[400]),
    ] {
        let request = format!("{line}\r\nconnection: close\r\n{head}");
        assert_eq!(answers(&bridge, request.as_bytes()).0, statuses, "{line}");
    }
    assert_eq!(count(&bridge), 3);
}

#[test]
fn a_host_is_needed_once_by_http_1_1_and_not_by_1_0() {
    let bridge = Process::start("{}");
    let tail = "connection: close\r\ncontent-length: 5\r\n\r\n[1,2]";
    for (version, host, status) in [
        ("1.1", "", 400),
        ("1.1", "host:\r\n", 202),
        ("1.0", "", 202),
        ("1.0", "host: a\r\n", 202),
    ] {
        let request = format!("POST /webhooks/minchat HTTP/{version}\r\n{host}{tail}");
        assert_eq!(
            answers(&bridge, request.as_bytes()),
            (vec![status], true),
            "{version} {host}"
        );
    }
}

#[test]
fn http_1_0_is_closed_after_its_answer_and_knows_no_chunks() {
    let bridge = Process::start("{}");
    let request = "POST /webhooks/minchat HTTP/1.0\r\ncontent-length: 5\r\n\r\n[1,2]";
    assert_eq!(answers(&bridge, request.as_bytes()), (vec![202], true));
    let chunked =
        format!("POST /webhooks/minchat HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n{CHUNKED}");
    let (statuses, closed) = answers(&bridge, chunked.as_bytes());
    assert!(closed && statuses == [400], "{statuses:?}");
    assert_eq!(count(&bridge), 1);
}

#[test]
fn who_expects_to_be_asked_for_the_body_is_asked_and_refused_without_it() {
    let yaml = "sources: {minchat: {auth: {tokens: [a-token-that-is-long-enough]}}}\n";
    let bridge = Process::start(yaml);
    let request = |query: &str| {
        format!(
            "POST /webhooks/minchat{query} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
        )
    };
    let mut connection = Connection::open(bridge.webhooks());
    connection.send(request("?token=a-token-that-is-long-enough"));
    assert_eq!(connection.answer().expect("it is asked").status, 100);
    connection.send(BODY);
    assert_eq!(connection.answer().expect("an answer").status, 202);
    let mut connection = Connection::open(bridge.webhooks());
    connection.send(request(""));
    let status = connection.answer().expect("an answer").status;
    let status = if status == 100 {
        connection.answer().expect("another").status
    } else {
        status
    };
    assert_eq!(status, 401, "without its body");
}

#[test]
fn pipelined_requests_are_answered_one_by_one_up_to_the_first_that_is_none() {
    let bridge = Process::start("{}");
    let one = "POST /webhooks/minchat HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n[1,2]";
    let all = format!("{}nonsense\r\n\r\n{one}", one.repeat(10));
    let (statuses, closed) = answers(&bridge, all.as_bytes());
    assert_eq!(
        (statuses, closed),
        ([vec![202; 10], vec![400]].concat(), true)
    );
    assert_eq!(count(&bridge), 10);
}

#[test]
fn a_client_that_has_stopped_sending_gets_its_answer_and_half_a_request_gets_no_event() {
    let bridge = Process::start("{}");
    let whole = "POST /webhooks/minchat HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n[1,2]";
    for (bytes, status) in [
        (whole, Some(202)),
        (&whole[..whole.len() - 1], Some(408)),
        (&whole[..20], None),
        ("", None),
    ] {
        let mut connection = Connection::open(bridge.webhooks());
        connection.send(bytes);
        connection.shut_sending_down();
        let answer = connection.answer().map(|answer| answer.status);
        assert!(
            answer == status || (answer.is_none() && status != Some(202)),
            "{bytes}: {answer:?}"
        );
    }
    assert_eq!(count(&bridge), 1);
}
