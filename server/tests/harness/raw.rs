//! A client that sends any bytes at all, and reads the server's one by one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::{PATIENCE, Server};

/// The path as pusher-js asks for it.
pub const PATH: &str = "/app/app-key?protocol=7&client=js&version=8.6.0&flash=false";

/// The example of RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What [`masked`] masks with.
pub const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A handshake for `path` with further header lines, each with its line end.
pub fn handshake(path: &str, further: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{further}\r\n"
    )
}

/// A whole frame as a client sends it, its length in the shortest form.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A text message in one frame.
pub fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked(0x81, payload.as_ref())
}

/// A close frame of a client.
pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    masked(0x88, &[&code.to_be_bytes(), reason.as_ref()].concat())
}

/// A TCP connection to the server's port.
pub struct Raw {
    pub stream: TcpStream,
    /// Read, but not expected yet.
    input: Vec<u8>,
}

impl Raw {
    /// Connects, and says nothing.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, input: Vec::new() }
    }

    /// A connection whose handshake for `path` is accepted.
    pub fn upgrade(server: &Server, path: &str) -> Self {
        Self::upgrade_with(server, path, "")
    }

    /// The same, with further header lines.
    pub fn upgrade_with(server: &Server, path: &str, further: &str) -> Self {
        let mut raw = Self::connect(server.address);
        raw.send(handshake(path, further));
        raw.expect_upgraded();
        raw
    }

    /// A client that is let in and has read the hello.
    pub fn greeted(server: &Server) -> Self {
        let mut raw = Self::upgrade(server, PATH);
        raw.expect_hello();
        raw
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Ends this side, as shutdown(2) does.
    pub fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with a RST instead of a FIN.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Reads more; whether there was any.
    fn fill(&mut self, what: &str) -> bool {
        let mut buf = [0; 16 * 1024];
        let n = match self.stream.read(&mut buf) {
            Ok(n) => n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("{what}: gave up waiting; so far {}", show(&self.input))
            }
            Err(error) => panic!("{what}: {error}, behind {}", show(&self.input)),
        };
        self.input.extend_from_slice(&buf[..n]);
        n > 0
    }

    /// Reads until `found` tells where something ends.
    fn read_until(&mut self, what: &str, found: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
        loop {
            if let Some(end) = found(&self.input) {
                return self.input.drain(..end).collect();
            }
            assert!(self.fill(what), "{what}: the server ended the connection behind {}", show(&self.input));
        }
    }

    /// Expects exactly these bytes next.
    pub fn expect(&mut self, bytes: &[u8], what: &str) {
        let found = self.read_until(what, |input| {
            let differs = !input.starts_with(&bytes[..bytes.len().min(input.len())]);
            (differs || input.len() >= bytes.len()).then_some(bytes.len().min(input.len()))
        });
        assert!(found == bytes, "{what}: expected {}, but found {}", show(bytes), show(&found));
    }

    /// Expects that the server ends its side in good order, and says nothing before.
    pub fn expect_end(&mut self, what: &str) {
        while self.fill(what) {}
        assert!(self.input.is_empty(), "{what}: expected the end, but found {}", show(&self.input));
    }

    /// Expects to be cut off, in good order or not, and to be told nothing before.
    pub fn expect_cut_off(&mut self) {
        let mut buf = [0; 16 * 1024];
        match self.stream.read(&mut buf) {
            Ok(0) => assert!(self.input.is_empty(), "expected the end, but found {}", show(&self.input)),
            Ok(n) => panic!("expected the end, but found {}", show(&buf[..n])),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// The head of an HTTP response, with its empty line.
    pub fn head(&mut self) -> String {
        let end = |input: &[u8]| input.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        String::from_utf8(self.read_until("a head", end)).unwrap()
    }

    /// Expects the answer to [`handshake`], which agrees to no extension.
    pub fn expect_upgraded(&mut self) {
        self.expect_upgraded_with(None);
    }

    /// The same, which agrees to this extension.
    pub fn expect_upgraded_with(&mut self, extension: Option<&str>) {
        let head = self.head();
        let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
        lines.retain(|line| !line.starts_with("date: "));
        let accept = format!("sec-websocket-accept: {ACCEPT}");
        let extension = extension.map(|extension| format!("sec-websocket-extensions: {extension}"));
        let mut expected = vec![
            "HTTP/1.1 101 Switching Protocols",
            "connection: Upgrade",
            "upgrade: websocket",
            accept.as_str(),
        ];
        expected.extend(extension.as_deref());
        assert_eq!(lines, expected);
    }

    /// Expects an HTTP response and the end of the connection or not; gives head and body.
    pub fn response(&mut self) -> (String, String) {
        let head = self.head();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        let body = self.read_until("a body", |input| (input.len() >= length).then_some(length));
        (head, String::from_utf8(body).unwrap())
    }

    /// The next frame: its first byte and its payload.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let span = |input: &[u8]| {
            let (head, len) = match input.get(1)? {
                126 => (4, usize::from(u16::from_be_bytes(input.get(2..4)?.try_into().unwrap()))),
                127 => (10, u64::from_be_bytes(input.get(2..10)?.try_into().unwrap()) as usize),
                &len => (2, usize::from(len)),
            };
            assert!(input[1] < 128, "a server does not mask");
            Some((head, head + len))
        };
        let frame = self
            .read_until("a frame", |input| span(input).map(|(_, end)| end).filter(|&end| end <= input.len()));
        let (head, _) = span(&frame).unwrap();
        (frame[0], frame[head..].to_vec())
    }

    /// The next frame, which is a text.
    pub fn text(&mut self) -> String {
        let (first, payload) = self.frame();
        assert_eq!(first, 0x81, "expected a text, but found {}", show(&payload));
        String::from_utf8(payload).unwrap()
    }

    /// The next frame, which is a close: its code and reason.
    pub fn close(&mut self) -> (u16, String) {
        let (first, payload) = self.frame();
        assert_eq!(first, 0x88, "expected a close frame, but found {}", show(&payload));
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        (code, String::from_utf8(payload[2..].to_vec()).unwrap())
    }

    /// Expects the hello. Gives its socket id.
    pub fn expect_hello(&mut self) -> String {
        let hello = self.text();
        let begin = r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\""#;
        let id = hello.strip_prefix(begin).and_then(|rest| rest.split('\\').next());
        id.unwrap_or_else(|| panic!("{hello}")).to_owned()
    }

    /// Proves that everything sent before has been dealt with, that nothing else was said about it, and that the
    /// connection lives.
    pub fn is_alive(&mut self, what: &str) {
        self.send(masked(0x89, b"alive?"));
        self.expect(b"\x8a\x06alive?", what);
    }
}

/// Bytes for people: a long run is cut.
pub fn show(bytes: &[u8]) -> String {
    let cut = bytes.len().min(600);
    let more = if cut < bytes.len() { format!(" and {} more", bytes.len() - cut) } else { String::new() };
    format!("\"{}\"{more}", bytes[..cut].escape_ascii())
}
