//! A client that sends exactly the bytes that a test wants.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::process::PATIENCE;

/// One connection.
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("the bridge listens"))
    }

    /// The same, where nobody may listen.
    pub fn try_open(address: SocketAddr) -> Option<Self> {
        TcpStream::connect(address).ok().map(Self::over)
    }

    pub fn over(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a duration over zero is taken");
        stream.set_nodelay(true).expect("it is a TCP socket");
        Connection {
            stream,
            unread: Vec::new(),
        }
    }

    /// Reads one answer whole, where the connection may end before or within it.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more() {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        let mut answer = Answer::from_head(&head);
        let length: usize = answer.header("content-length")?.parse().ok()?;
        while self.unread.len() < end + length {
            if !self.read_more() {
                return None;
            }
        }
        answer.body = self.unread[end..end + length].to_vec();
        self.unread.drain(..end + length);
        Some(answer)
    }

    /// Sends these bytes. That the other end hung up meanwhile shows when it is read from.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    pub fn shut_sending_down(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Hangs up without a farewell: to close with something unread is to reset.
    pub fn reset(self) {
        let peeked = self.stream.peek(&mut [0]);
        assert!(
            peeked.is_ok_and(|count| count > 0),
            "there has to be something unread"
        );
    }

    /// Reads one answer whole; `None` if the connection ends before one begins.
    pub fn answer(&mut self) -> Option<Answer> {
        self.answer_to("POST")
    }

    pub fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more() {
                assert!(
                    self.unread.is_empty(),
                    "a torn answer: {:?}",
                    String::from_utf8_lossy(&self.unread)
                );
                return None;
            }
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).expect("a head is ASCII");
        let mut answer = Answer::from_head(&head);
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().expect("a length is a number"));
        if method == "HEAD" {
            return Some(answer);
        }
        while self.unread.len() < length {
            assert!(self.read_more(), "a torn body");
        }
        answer.body = self.unread.drain(..length).collect();
        Some(answer)
    }

    /// Reads up to the end of the connection, and gives what came.
    pub fn rest(&mut self) -> String {
        while self.read_more() {}
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came, and the connection stays open: {error}"),
        }
    }
}

impl Answer {
    fn from_head(head: &str) -> Self {
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .expect("a status line");
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Answer {
            status,
            headers,
            body: Vec::new(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn header_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// Whether a problem's instance is the id that its header has, as a URN (RFC 9562).
    pub fn has_its_id_as_instance(&self) -> bool {
        let id = self
            .header("x-request-id")
            .map(|id| format!("urn:uuid:{id}"));
        id.is_some() && self.json()["instance"].as_str() == id.as_deref()
    }

    /// The slug of a problem; nothing for any other answer.
    pub fn slug(&self) -> Option<String> {
        let problem = self.header("content-type") == Some("application/problem+json");
        let slug = || {
            Some(
                self.json()["type"]
                    .as_str()?
                    .strip_prefix("tag:minchat.io,2026:bridge:problem:")?
                    .to_owned(),
            )
        };
        problem.then(slug).flatten()
    }
}

/// A request that is written as its parts say.
pub struct Request {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn post(target: &str, body: impl AsRef<[u8]>) -> Self {
        Request {
            method: "POST",
            target: target.to_owned(),
            headers: Vec::new(),
            body: body.as_ref().to_vec(),
        }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The bytes on the wire, with a `content-length`.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head(&format!("content-length: {}\r\n", self.body.len()));
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The bytes on the wire, in chunks of that size and without a `content-length`.
    pub fn chunked(&self, size: usize) -> Vec<u8> {
        let mut bytes = self.head("transfer-encoding: chunked\r\n");
        for chunk in self.body.chunks(size) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }

    /// The head alone, with these lines at its end.
    pub fn head(&self, lines: &str) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: bridge.test\r\n",
            self.method, self.target
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(lines);
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Sends it on a connection of its own.
    pub fn send_to(&self, address: SocketAddr) -> Answer {
        let mut connection = Connection::open(address);
        connection.send(self.bytes());
        connection.answer_to(self.method).expect("an answer")
    }
}

/// Gets a path on a connection of its own.
pub fn get(address: SocketAddr, target: &str) -> Answer {
    let mut request = Request::post(target, "");
    request.method = "GET";
    request.send_to(address)
}
