//! Those who publish: PHP with the extension for our server, HTTP for everybody else.
//!
//! Owns the making of events for HTTP; publish.php makes the same ones. Each event carries a [`Tick`], numbered by
//! channel, so that one publisher owns its channels.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::contestant::{Contestant, Kind};
use crate::crowd;
use crate::failure::Failure;
use crate::http;
use crate::php::{Php, Script};
use crate::server::{APP, KEY, SECRET, Server};
use crate::tick::{BYTES, Tick, monotonic_ns};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
const EVENT: &str = "tick";

/// What an event holds beside its tick.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Filling {
    before: String,
    after: String,
}

impl Filling {
    /// Data of `bytes` bytes in all that need no escaping.
    pub(crate) fn plain(bytes: usize) -> Self {
        Self { before: String::new(), after: "x".repeat(bytes.saturating_sub(BYTES)) }
    }

    /// A JSON text of about `bytes` bytes, as an application sends: a list of records with much in common.
    pub(crate) fn json(bytes: usize) -> Self {
        let mut rows: Vec<Value> = Vec::new();
        let mut seed = 4_711_u64;
        let mut some = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        while serde_json::to_string(&rows).map_or(0, |text| text.len()) + BYTES + 24 < bytes {
            let status = ["packed", "shipped", "delivered", "returned"][some(4) as usize];
            rows.push(json!({
                "id": 100_000 + some(900_000),
                "status": status,
                "customer": {"id": some(50_000), "name": format!("Customer {}", some(50_000))},
                "total_cents": some(100_000),
                "currency": "EUR",
                "updated_at": format!("2026-11-{:02}T{:02}:{:02}:00Z", 1 + some(28), some(24), some(60)),
            }));
        }
        let rows = serde_json::to_string(&rows).unwrap_or_default();
        Self { before: r#"{"tick":""#.to_owned(), after: format!(r#"","orders":{rows}}}"#) }
    }
}

/// A number of events.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Job {
    /// The first channel's number.
    pub(crate) first: usize,
    /// On so many channels, in turns.
    pub(crate) channels: usize,
    /// Events in all; the same number for each channel.
    pub(crate) events: usize,
    /// From one to the next; 0 is without pause.
    pub(crate) interval_ns: u64,
    /// What is in them.
    pub(crate) filling: Filling,
}

/// Publishes to one contestant.
#[derive(Debug)]
pub(crate) enum Publisher {
    /// `Fanfare\Sidecar::broadcast()`.
    Php(Script),
    /// `POST /apps/…/events`, one connection.
    Http(Http),
}

impl Publisher {
    /// For `contestant`: the way that an application publishes to it.
    ///
    /// # Errors
    /// When PHP does not start, or nobody can be connected to.
    pub(crate) fn new(php: &Php, contestant: &Contestant) -> Result<Self, Failure> {
        let Some(server) = contestant.server() else {
            return Http::connect(contestant.address(), contestant.kind).map(Self::Http);
        };
        Self::beside(php, server)
    }

    /// PHP that publishes to our `server`.
    ///
    /// # Errors
    /// When PHP does not start.
    pub(crate) fn beside(php: &Php, server: &Server) -> Result<Self, Failure> {
        let task = json!({"socket": server.socket, "key": KEY, "secret": SECRET, "event": EVENT});
        Ok(Self::Php(php.start("publish.php", &task)?))
    }

    /// Publishes; comes back when all is handed over (PHP), or answered (HTTP).
    ///
    /// # Errors
    /// When it is not accepted.
    pub(crate) fn publish(&mut self, job: &Job) -> Result<(), Failure> {
        match self {
            Self::Php(script) => script
                .ask(&serde_json::to_value(job).map_err(|error| Failure::new(error.to_string()))?)
                .map(drop),
            Self::Http(http) => http.publish(job),
        }
    }
}

/// All of them at once, each with a job of its own.
///
/// # Errors
/// When one of them is not accepted.
pub(crate) fn publish_all(publishers: &mut [Publisher], jobs: &[Job]) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        let running: Vec<_> = publishers
            .iter_mut()
            .zip(jobs)
            .map(|(publisher, job)| scope.spawn(move || publisher.publish(job)))
            .collect();
        running.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Failure::new("a publisher panicked; see above")))
        })
    })
}

/// One connection, kept for as long as the server keeps it.
#[derive(Debug)]
pub(crate) struct Http {
    address: SocketAddr,
    stream: TcpStream,
    /// The server said with its last answer that it closes.
    closing: bool,
    kind: Kind,
    received: Vec<u8>,
}

impl Http {
    fn connect(address: SocketAddr, kind: Kind) -> Result<Self, Failure> {
        let stream = open(address)?;
        Ok(Self { address, stream, closing: false, kind, received: Vec::new() })
    }

    fn publish(&mut self, job: &Job) -> Result<(), Failure> {
        if self.kind == Kind::Floor && job.interval_ns == 0 {
            return self.publish_together(job);
        }
        let mut due_ns = monotonic_ns();
        for number in 0..job.events {
            // Late: what comes later is late too, since catching up would be a burst.
            due_ns = (due_ns + job.interval_ns).max(monotonic_ns());
            let pause_ns = due_ns.saturating_sub(monotonic_ns());
            if job.interval_ns > 0 && pause_ns > 0 {
                std::thread::sleep(Duration::from_nanos(pause_ns));
            }
            if self.closing {
                self.stream = open(self.address)?;
                self.closing = false;
            }
            let request = self.request(job, number)?;
            self.stream.write_all(&request).map_err(Failure::system("publish over HTTP"))?;
            self.answer()?;
        }
        Ok(())
    }

    /// Without waiting for answers: the floor is handed a burst as our server is.
    fn publish_together(&mut self, job: &Job) -> Result<(), Failure> {
        let writer = Self {
            stream: self.stream.try_clone().map_err(Failure::system("publish over HTTP"))?,
            received: Vec::new(),
            ..*self
        };
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                let mut writer = writer;
                (0..job.events).try_for_each(|number| {
                    let request = writer.request(job, number)?;
                    writer.stream.write_all(&request).map_err(Failure::system("publish over HTTP"))
                })
            });
            (0..job.events).try_for_each(|_| self.answer())?;
            writing.join().unwrap_or_else(|_| Err(Failure::new("a publisher panicked; see above")))
        })
    }

    fn request(&self, job: &Job, number: usize) -> Result<Vec<u8>, Failure> {
        let channel = crowd::channel(job.first + number % job.channels, false);
        let tick = Tick { number: (number / job.channels) as u64, at_ns: monotonic_ns() };
        let data = format!("{}{}{}", job.filling.before, tick.text(), job.filling.after);
        let body = json!({"name": EVENT, "channel": channel, "data": data}).to_string();
        let query = if self.kind == Kind::Floor { String::new() } else { signed(&body)? };
        Ok(format!(
            "POST /apps/{APP}/events{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes())
    }

    fn answer(&mut self) -> Result<(), Failure> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(answer) = http::first(&self.received) {
                let (status, bytes) = (answer.status(), answer.bytes);
                // Reverb closes after every answer, and does not say so.
                self.closing = self.kind == Kind::Reverb
                    || answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                if status != Some(200) {
                    let found = String::from_utf8_lossy(&self.received).into_owned();
                    return Err(Failure::new(format!("expected status 200 for an event, but found {found}")));
                }
                self.received.drain(..bytes);
                return Ok(());
            }
            let count =
                self.stream.read(&mut chunk).map_err(Failure::system("read the answer to an event"))?;
            if count == 0 {
                return Err(Failure::new("expected an answer to an event, but found that the server closed"));
            }
            self.received.extend_from_slice(&chunk[..count]);
        }
    }
}

fn open(address: SocketAddr) -> Result<TcpStream, Failure> {
    let refused = || Failure::system(format!("connect to {address} to publish"));
    let stream = TcpStream::connect(address).map_err(refused())?;
    stream.set_nodelay(true).map_err(refused())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(refused())?;
    Ok(stream)
}

/// The query of a signed publication, as Pusher's HTTP API has it.
fn signed(body: &str) -> Result<String, Failure> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    let digest = hex(&Md5::digest(body.as_bytes()));
    let query = format!("auth_key={KEY}&auth_timestamp={now_s}&auth_version=1.0&body_md5={digest}");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())
        .map_err(|error| Failure::new(format!("cannot sign: {error}")))?;
    mac.update(format!("POST\n/apps/{APP}/events\n{query}").as_bytes());
    Ok(format!("?{query}&auth_signature={}", hex(&mac.finalize().into_bytes())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_size_that_is_asked_for() {
        let Filling { before, after } = Filling::plain(200);
        assert_eq!(before.len() + BYTES + after.len(), 200);
        let Filling { before, after } = Filling::json(4_096);
        let data = format!("{before}{}{after}", Tick { number: 1, at_ns: 2 }.text());
        assert!((3_900..=4_300).contains(&data.len()), "{}", data.len());
        assert!(serde_json::from_str::<Value>(&data).is_ok());
    }
}
