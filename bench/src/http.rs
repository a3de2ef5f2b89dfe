//! HTTP/1.1 as far as a kept connection on the loopback interface needs it: for the floor, for those who publish to
//! it and to rivals, and for the answer to an upgrade.
//!
//! Owns where a message ends. Chunked bodies are refused by being never complete: nobody here sends them.

/// The answer of the floor to a publication.
pub(crate) const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n{}";

/// A complete request or answer.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    head: &'a str,
    /// As long as `content-length` says.
    pub(crate) body: &'a [u8],
    /// Head and body.
    pub(crate) bytes: usize,
}

impl Request<'_> {
    /// The first header of that name, which is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(':'));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> Option<u16> {
        self.head.split(' ').nth(1)?.parse().ok()
    }
}

/// The first message of `received`; `None` while it is not complete.
pub(crate) fn first(received: &[u8]) -> Option<Request<'_>> {
    let head_bytes = received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&received[..head_bytes]).ok()?;
    let headless = Request { head, body: &[], bytes: head_bytes };
    let body_bytes = headless.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let bytes = head_bytes.checked_add(body_bytes)?;
    Some(Request { head, body: received.get(head_bytes..bytes)?, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_complete_with_its_body() {
        let request = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST";
        let found = first(request).unwrap();
        assert_eq!((found.body, found.bytes), (&b"abc"[..], request.len() - 4));
        assert!(first(&request[..request.len() - 5]).is_none());
        assert_eq!(first(b"GET / HTTP/1.1\r\n\r\n").unwrap().bytes, 18);
        assert!(first(b"GET / HTTP/1.1\r\n").is_none());
    }

    #[test]
    fn an_answer_has_a_status_and_headers() {
        let found = first(OK).unwrap();
        assert_eq!((found.status(), found.header("content-type")), (Some(200), Some("application/json")));
        assert_eq!((found.body, found.header("upgrade")), (&b"{}"[..], None));
    }
}
