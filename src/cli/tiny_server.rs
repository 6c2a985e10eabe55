//! A server for tests of what asks one: a thread a connection, one canned answer a request.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came in.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: String,
    /// Which of the server's connections it came on.
    pub(super) connection: usize,
}

/// Listens until the test's process ends.
pub(super) struct TinyServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    listener: Option<TcpListener>,
}

type Answer = dyn Fn(usize) -> (u16, String) + Send + Sync;

impl TinyServer {
    /// Answers the n-th request with this status and body.
    pub(super) fn answering(
        answer: impl Fn(usize) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let mut server = Self::silent();
        let listener = server.listener.take().expect("it listens");
        let requests = Arc::clone(&server.requests);
        let answer: Arc<Answer> = Arc::new(answer);
        thread::spawn(move || {
            for (number, connection) in listener.incoming().flatten().enumerate() {
                let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
                thread::spawn(move || serve(number, &connection, &requests, &*answer));
            }
        });
        server
    }

    /// Takes connections and never answers.
    pub(super) fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        Self {
            address: listener.local_addr().expect("it is bound"),
            requests: Arc::default(),
            listener: Some(listener),
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came in so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no test panics here").clone()
    }
}

fn serve(number: usize, connection: &TcpStream, requests: &Mutex<Vec<Request>>, answer: &Answer) {
    let mut reader = BufReader::new(connection);
    while let Some(mut request) = read(&mut reader) {
        request.connection = number;
        let place = {
            let mut requests = requests.lock().expect("no test panics here");
            requests.push(request);
            requests.len() - 1
        };
        let (status, body) = answer(place);
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} Canned\r\nlocation: /elsewhere\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let mut writer = connection;
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|bytes| *bytes > 0)?;
    let mut request = Request {
        path: line.split(' ').nth(1)?.to_owned(),
        ..Request::default()
    };
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => request.authorization = Some(value.to_owned()),
            "content-type" => request.content_type = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}
