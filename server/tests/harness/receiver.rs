//! What an application does with webhooks: an HTTP server over a real socket, with TLS if wanted, that checks every
//! signature and answers as the test says.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};

use fanfare_server::config::Secret;
use fanfare_server::pusher::signature;
use serde_json::Value;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{PATIENCE, SECRET};

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With this status, and a body that nobody needs.
    Status(u16),
    /// 302, to another path of the same server.
    Redirect,
    /// Not at all: the connection is closed.
    Close,
    /// Not at all: the connection stays open until [`Receiver::release`].
    Hang,
}

/// A webhook as it came.
#[derive(Debug, Clone)]
pub struct Hook {
    pub method: String,
    pub path: String,
    /// Names as they were written.
    pub headers: BTreeMap<String, String>,
    /// The body, byte for byte.
    pub body: String,
    pub answer: Answer,
}

impl Hook {
    pub fn events(&self) -> Vec<Value> {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        body["events"].as_array().unwrap().clone()
    }
}

/// The server.
pub struct Receiver {
    pub address: SocketAddr,
    hooks: mpsc::Receiver<Hook>,
    script: Arc<Script>,
    scheme: &'static str,
    host: &'static str,
}

struct Script {
    /// The next answers, then `otherwise`.
    answers: Mutex<(VecDeque<Answer>, Answer)>,
    released: Mutex<bool>,
    release: Condvar,
    /// The secrets that a body may be signed with.
    secrets: Vec<String>,
    /// Connections that were made.
    connections: AtomicUsize,
}

impl Receiver {
    /// Answers 200 to everything, unless told otherwise.
    pub fn start() -> Self {
        Self::start_with(&[SECRET], None)
    }

    /// Takes a signature of any of `secrets`; speaks TLS with `tls`.
    pub fn start_with(secrets: &[&str], tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, hooks) = mpsc::channel();
        let script = Arc::new(Script {
            answers: Mutex::new((VecDeque::new(), Answer::Status(200))),
            released: Mutex::new(false),
            release: Condvar::new(),
            secrets: secrets.iter().map(ToString::to_string).collect(),
            connections: AtomicUsize::new(0),
        });
        let (scheme, host) = if tls.is_some() { ("https", "localhost") } else { ("http", "127.0.0.1") };
        let serving = Arc::clone(&script);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                let (tls, sender, script) = (tls.clone(), sender.clone(), Arc::clone(&serving));
                std::thread::spawn(move || match tls {
                    Some(tls) => {
                        let session = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(session, &stream), &stream, &sender, &script);
                    }
                    None => serve(&stream, &stream, &sender, &script),
                });
            }
        });
        Self { address, hooks, script, scheme, host }
    }

    /// Where webhooks go, at a path that the test chooses.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}:{}{path}", self.scheme, self.host, self.address.port())
    }

    /// The next requests are answered like this, one after the other, and all others with `otherwise`.
    pub fn answer(&self, next: &[Answer], otherwise: Answer) {
        *self.script.answers.lock().unwrap() = (next.iter().copied().collect(), otherwise);
    }

    /// Ends every [`Answer::Hang`], those to come too.
    pub fn release(&self) {
        *self.script.released.lock().unwrap() = true;
        self.script.release.notify_all();
    }

    /// The next request.
    pub fn hook(&self) -> Hook {
        self.hooks.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("gave up waiting for a webhook"))
    }

    /// The events that are accepted next, up to and including the first one that `is_last`.
    pub fn events_until(&self, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = Vec::new();
        while !events.iter().any(&is_last) {
            let hook = self.hook();
            if matches!(hook.answer, Answer::Status(200..=299)) {
                events.extend(hook.events());
            }
        }
        assert!(is_last(&events[events.len() - 1]), "something came after the last: {events:#?}");
        events
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.script.connections.load(Ordering::Relaxed)
    }

    /// Everything that has come and was not looked at.
    pub fn rest(&self) -> Vec<Hook> {
        self.hooks.try_iter().collect()
    }
}

/// Answers the requests of one connection until either side closes it.
fn serve(stream: impl Read + Write, socket: &TcpStream, sender: &mpsc::Sender<Hook>, script: &Script) {
    let mut stream = BufReader::new(stream);
    // An error is a client that has left, or does not like our certificate.
    while let Ok(Some(mut hook)) = read(&mut stream) {
        verify(&hook, script);
        hook.answer = {
            let mut answers = script.answers.lock().unwrap();
            let otherwise = answers.1;
            answers.0.pop_front().unwrap_or(otherwise)
        };
        let answer = hook.answer;
        // A test that is over does not look any more.
        let _ = sender.send(hook);
        let text = match answer {
            Answer::Status(status) => format!("HTTP/1.1 {status} x\r\ncontent-length: 4\r\n\r\nbody"),
            Answer::Redirect => {
                "HTTP/1.1 302 x\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_owned()
            }
            Answer::Close => break,
            Answer::Hang => {
                let mut released = script.released.lock().unwrap();
                while !*released {
                    released = script.release.wait(released).unwrap();
                }
                break;
            }
        };
        if stream.get_mut().write_all(text.as_bytes()).is_err() {
            break;
        }
    }
    let _ = socket.shutdown(Shutdown::Both);
}

fn read(stream: &mut impl BufRead) -> std::io::Result<Option<Hook>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        assert!(headers.insert(name.to_owned(), value.to_owned()).is_none(), "{name} comes twice");
    }
    let mut body = vec![0; headers["Content-Length"].parse().unwrap()];
    stream.read_exact(&mut body)?;
    let (body, answer) = (String::from_utf8(body).unwrap(), Answer::Status(200));
    Ok(Some(Hook { method, path, headers, body, answer }))
}

/// As pusher-http-php does: names of headers as they were written, and the whole body, byte for byte. What is wrong
/// is not answered, so that the test waits in vain.
fn verify(hook: &Hook, script: &Script) {
    let signature = &hook.headers["X-Pusher-Signature"];
    let signed =
        |secret: &String| signature::sign(&Secret::new(secret.as_str()), &[&hook.body]) == *signature;
    assert!(script.secrets.iter().any(signed), "the signature is wrong: {hook:?}");
    assert_eq!(hook.headers["Content-Type"], "application/json");
    assert!(hook.headers["User-Agent"].starts_with("fanfare/"), "{hook:?}");
    assert_eq!(hook.method, "POST");
    let body: Value = serde_json::from_str(&hook.body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 2, "{hook:?}");
    // The year 2020, in milliseconds.
    assert!(body["time_ms"].as_u64().unwrap() > 1_577_836_800_000, "{hook:?}");
}
