//! As much of FastCGI as it takes to send php-fpm a real request: one GET per connection (FastCGI 1.0, sections 3–5).

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// Sends `GET script?query` to the pool behind `socket`; gives the response's body.
///
/// # Errors
/// What php-fpm wrote to its error stream, or what broke.
pub fn get(socket: &Path, script: &Path, query: &str) -> Result<String, String> {
    let mut stream = UnixStream::connect(socket).map_err(|error| error.to_string())?;
    let script = script.to_str().ok_or("a script's path is UTF-8")?;
    let mut request = record(BEGIN_REQUEST, &[0, 1, 0, 0, 0, 0, 0, 0]);
    let mut params = Vec::new();
    for (name, value) in [
        ("SCRIPT_FILENAME", script),
        ("REQUEST_METHOD", "GET"),
        ("QUERY_STRING", query),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
    ] {
        for len in [name.len(), value.len()] {
            params.extend_from_slice(&(len as u32 | 0x8000_0000).to_be_bytes());
        }
        params.extend_from_slice(name.as_bytes());
        params.extend_from_slice(value.as_bytes());
    }
    request.extend(record(PARAMS, &params));
    request.extend(record(PARAMS, &[]));
    request.extend(record(STDIN, &[]));
    stream.write_all(&request).map_err(|error| error.to_string())?;
    let (out, err) = response(&mut stream)?;
    if !err.is_empty() {
        return Err(err);
    }
    let body = out.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    body.ok_or_else(|| format!("expected headers and a body, but found {out:?}"))
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
}

fn response(stream: &mut UnixStream) -> Result<(String, String), String> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).map_err(|error| format!("no end of the response: {error}"))?;
        let mut content = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]]))];
        let mut padding = vec![0; usize::from(header[6])];
        stream.read_exact(&mut content).map_err(|error| error.to_string())?;
        stream.read_exact(&mut padding).map_err(|error| error.to_string())?;
        match header[1] {
            STDOUT => out.extend(content),
            STDERR => err.extend(content),
            END_REQUEST => break,
            _ => {}
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((text(out), text(err)))
}
