//! An HTTP client that signs, as Pusher's server libraries do. It puts together what it signs by itself, so that a
//! mistake of the server's does not hide in both.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

use fanfare_server::config::Secret;
use fanfare_server::http::api::signature::hex_md5;
use fanfare_server::pusher::signature::sign;
use serde_json::Value;

use super::{KEY, PATIENCE, SECRET, Server};

/// A connection that is kept alive, and what its requests are signed with.
pub struct Api<S> {
    stream: BufReader<S>,
    pub key: String,
    pub secret: String,
    /// Added to the time that is signed.
    pub clock_s: i64,
}

/// An answer.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Answered {
    /// The body, with the status that it has to have.
    pub fn json(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{} {}", self.head, self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Status and code of an error.
    pub fn error(self) -> (u16, String) {
        assert!(self.head.contains("content-type: application/json\r\n"), "{}", self.head);
        let status = self.status;
        let error = self.json(status);
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
        (status, error["error"]["code"].as_str().unwrap().to_owned())
    }
}

impl Api<TcpStream> {
    pub fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::over(stream)
    }
}

impl Api<UnixStream> {
    pub fn connect_locally(server: &Server) -> Self {
        let stream = UnixStream::connect(&server.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::over(stream)
    }
}

impl<S: Read + Write> Api<S> {
    pub fn over(stream: S) -> Self {
        Self { stream: BufReader::new(stream), key: KEY.into(), secret: SECRET.into(), clock_s: 0 }
    }

    /// The query of a request: `parameters` as `name=value`, and the signature over `path`.
    pub fn sign(&self, method: &str, path: &str, parameters: &[&str], body: &[u8]) -> String {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut all: Vec<String> = parameters.iter().map(|&parameter| parameter.to_owned()).collect();
        all.push(format!("auth_key={}", self.key));
        all.push(format!("auth_timestamp={}", now_s.checked_add_signed(self.clock_s).unwrap()));
        all.push("auth_version=1.0".into());
        if !body.is_empty() {
            all.push(format!("body_md5={}", hex_md5(body)));
        }
        all.sort_unstable();
        let query = all.join("&");
        let signature = sign(&Secret::new(&*self.secret), &[&format!("{method}\n{path}\n{query}")]);
        format!("{query}&auth_signature={signature}")
    }

    /// A signed GET.
    pub fn get(&mut self, path: &str, parameters: &[&str]) -> Answered {
        let query = self.sign("GET", path, parameters, b"");
        self.send("GET", &format!("{path}?{query}"), b"")
    }

    /// A signed POST.
    pub fn post(&mut self, path: &str, body: &[u8]) -> Answered {
        let query = self.sign("POST", path, &[], body);
        self.send("POST", &format!("{path}?{query}"), body)
    }

    /// A signed POST of JSON.
    pub fn post_json(&mut self, path: &str, body: &Value) -> Answered {
        self.post(path, body.to_string().as_bytes())
    }

    /// A request as it is.
    pub fn send(&mut self, method: &str, target: &str, body: &[u8]) -> Answered {
        let length = body.len();
        let head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        self.write(head.as_bytes());
        self.write(body);
        self.answer(method == "HEAD")
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// The next answer; one to HEAD has no body.
    pub fn answer(&mut self, to_head: bool) -> Answered {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "the connection ended after {head:?}");
        }
        head.make_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if to_head { 0 } else { length }];
        self.stream.read_exact(&mut body).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answered { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// Whether the server has closed the connection; waits for it.
    pub fn ended(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0) | Err(_))
    }
}
