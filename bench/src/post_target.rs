//! The cheapest HTTP server that a client can post to: what a broadcast by HTTP costs at the very least.
//!
//! Owns a listener and a thread per connection until the process ends. It reads a request with its body and
//! answers `{}`; it parses nothing else, checks nothing and publishes nothing, so that a real server's answer
//! takes longer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::failure::Failure;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n{}";
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Serves on a free port of the loopback interface.
///
/// # Errors
/// When the system has no port for us.
pub(crate) fn serve() -> Result<SocketAddr, Failure> {
    let refused = || Failure::system("listen on the loopback interface for the HTTP comparison");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(refused())?;
    let address = listener.local_addr().map_err(refused())?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The client sees an error as a closed connection, and says so.
            std::thread::spawn(move || answer_all(stream));
        }
    });
    Ok(address)
}

fn answer_all(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    let mut chunk = [0_u8; 4096];
    loop {
        while let Some(bytes) = request_bytes(&received) {
            received.drain(..bytes);
            stream.write_all(ANSWER)?;
        }
        let count = stream.read(&mut chunk)?;
        if count == 0 || received.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
        received.extend_from_slice(&chunk[..count]);
    }
}

/// How many bytes the first request takes; `None` while it is not complete.
fn request_bytes(received: &[u8]) -> Option<usize> {
    let head_bytes = received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&received[..head_bytes]).ok()?;
    let body_bytes = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .unwrap_or(0);
    let total = head_bytes.checked_add(body_bytes)?;
    (received.len() >= total).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_complete_with_its_body() {
        let request = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST";
        assert_eq!(request_bytes(request), Some(request.len() - 4));
        assert_eq!(request_bytes(&request[..request.len() - 5]), None);
        assert_eq!(request_bytes(b"GET / HTTP/1.1\r\n\r\n"), Some(18));
        assert_eq!(request_bytes(b"GET / HTTP/1.1\r\n"), None);
    }
}
