//! The subscribers: up to 15,000 connections, held by processes of their own so that what they cost is nobody else's.
//!
//! Owns the talk with those processes (one JSON line for an order, one for its answer) and how the connections are
//! shared out among them. What such a process does is in [`process`]; this side only orders and adds up.

mod client;
mod process;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::server::{KEY, SECRET};

pub(crate) use process::run;

/// The argument that makes this program such a process.
pub(crate) const SUBCOMMAND: &str = "crowd";

/// Who connects, and what they subscribe to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Audience {
    /// The number of the first connection.
    pub(crate) first: usize,
    /// How many there are.
    pub(crate) count: usize,
    /// So many neighbours share a channel.
    pub(crate) per_channel: usize,
    /// Whether the channels are presence channels; each connection is then a user of its own.
    pub(crate) presence: bool,
    /// Whether compression is offered, as Chromium does.
    pub(crate) deflate: bool,
    /// Connections that are under way at the same time.
    pub(crate) at_once: usize,
}

impl Audience {
    /// `count` connections, each `per_channel` of them on one channel, that come at an easy pace.
    pub(crate) fn new(count: usize, per_channel: usize) -> Self {
        Self { first: 0, count, per_channel, presence: false, deflate: false, at_once: 64 }
    }

    /// How many channels they are on.
    pub(crate) fn channels(&self) -> usize {
        self.count.div_ceil(self.per_channel)
    }
}

/// The name of a channel; as long for every number, so that events look alike.
pub(crate) fn channel(number: usize, presence: bool) -> String {
    format!("{}room-{number:06}", if presence { "presence-" } else { "" })
}

/// What such a process is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
enum Order {
    /// Connect and subscribe.
    Join { address: SocketAddr, source: Ipv4Addr, key: String, secret: String, audience: Audience },
    /// Count from now on; each connection is to receive `each` events, numbered from 0.
    Watch { each: u64 },
    /// Say what was received, when it is all there.
    Report,
    /// Subscribe the first connection to a channel and unsubscribe it, so many times.
    Churn { rounds: usize, channel: String },
    /// Close all connections but the first ones.
    Leave { keep: usize },
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
enum Answer {
    Joined(Joined),
    Received(Receipt),
    Done,
    Failed { why: String },
}

/// How the connecting went.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Joined {
    /// From the first connect to the last subscription.
    pub(crate) took_ns: u64,
    /// Connections whose server agreed to compress.
    pub(crate) deflated: usize,
    /// From asking to be subscribed to being told so, in ns.
    pub(crate) waits: Histogram,
}

/// What the connections received.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// Events.
    pub(crate) events: u64,
    /// Events that should have come and did not.
    pub(crate) missing: u64,
    /// Events that did not come in the order of their numbers, or twice.
    pub(crate) disordered: u64,
    /// Connections that were closed.
    pub(crate) closed: u64,
    /// Times that a member of a presence channel was told of one who came or went.
    pub(crate) told: u64,
    /// Bytes of the events' frames.
    pub(crate) bytes: u64,
    /// When the first event was published.
    pub(crate) first_ns: u64,
    /// When the last one had been received.
    pub(crate) last_ns: u64,
    /// From publishing to receiving, in ns.
    pub(crate) latencies: Histogram,
}

impl Receipt {
    /// From publishing the first event to receiving the last.
    pub(crate) fn took_ns(&self) -> f64 {
        self.last_ns.saturating_sub(self.first_ns) as f64
    }

    /// Fails unless everything came, in order.
    ///
    /// # Errors
    /// With what is missing.
    pub(crate) fn complete(self) -> Result<Self, Failure> {
        let Self { missing, disordered, closed, .. } = self;
        if (missing, disordered, closed) == (0, 0, 0) {
            return Ok(self);
        }
        Err(Failure::new(format!(
            "expected every event once and in order, but found {missing} missing, {disordered} out of order and \
             {closed} connections closed"
        )))
    }

    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.missing += other.missing;
        self.disordered += other.disordered;
        self.closed += other.closed;
        self.told += other.told;
        self.bytes += other.bytes;
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        self.latencies.add(&other.latencies);
    }
}

/// One process.
#[derive(Debug)]
struct Holder {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Connections to one contestant. They leave when it is dropped.
#[derive(Debug)]
pub(crate) struct Crowd {
    holders: Vec<Holder>,
}

/// Source addresses take turns: a port that was just closed cannot be used again at once.
static SOURCE: AtomicU8 = AtomicU8::new(0);

fn source() -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + SOURCE.fetch_add(1, Ordering::Relaxed) % 250)
}

impl Crowd {
    /// Starts the processes: one for four processors, for the rest is the contestant's.
    ///
    /// # Errors
    /// When the system does not start them.
    pub(crate) fn start() -> Result<Self, Failure> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let holders = (0..(processors / 4).clamp(1, 4)).map(|_| Holder::start()).collect::<Result<_, _>>()?;
        Ok(Self { holders })
    }

    /// Starts the processes and has `audience` join.
    ///
    /// # Errors
    /// As [`Crowd::join`].
    pub(crate) fn gather(address: SocketAddr, audience: Audience) -> Result<Self, Failure> {
        let mut crowd = Self::start()?;
        crowd.join(address, audience)?;
        Ok(crowd)
    }

    /// Connects and subscribes `audience`.
    ///
    /// # Errors
    /// When a connection is refused, or not subscribed in time.
    pub(crate) fn join(&mut self, address: SocketAddr, audience: Audience) -> Result<Joined, Failure> {
        let holders = self.holders.len();
        let bounds = |part| bound(audience.count, part, holders);
        let orders = (0..holders).map(|part| Order::Join {
            address,
            source: source(),
            key: KEY.to_owned(),
            secret: SECRET.to_owned(),
            audience: Audience {
                first: audience.first + bounds(part),
                count: bounds(part + 1) - bounds(part),
                at_once: audience.at_once.div_ceil(holders),
                ..audience
            },
        });
        let orders: Vec<Order> = orders.collect();
        let mut all = Joined::default();
        for answer in self.order(|part| &orders[part])? {
            let Answer::Joined(joined) = answer else { return Err(unexpected(&answer)) };
            all.took_ns = all.took_ns.max(joined.took_ns);
            all.deflated += joined.deflated;
            all.waits.add(&joined.waits);
        }
        Ok(all)
    }

    /// From now on events are counted; each connection is to receive `each`.
    ///
    /// # Errors
    /// When a process is gone.
    pub(crate) fn watch(&mut self, each: usize) -> Result<(), Failure> {
        let order = Order::Watch { each: each as u64 };
        done(&self.order(|_| &order)?)
    }

    /// Waits until all events are there, or none comes any more.
    ///
    /// # Errors
    /// When a process is gone.
    pub(crate) fn receive(&mut self) -> Result<Receipt, Failure> {
        let mut all: Option<Receipt> = None;
        for answer in self.order(|_| &Order::Report)? {
            let Answer::Received(receipt) = answer else { return Err(unexpected(&answer)) };
            match &mut all {
                Some(all) => all.add(&receipt),
                None => all = Some(receipt),
            }
        }
        all.ok_or_else(|| Failure::new("expected a process that holds connections, but found none"))
    }

    /// The first connection subscribes to `channel` and unsubscribes, `rounds` times.
    ///
    /// # Errors
    /// When it is not answered.
    pub(crate) fn churn(&mut self, rounds: usize, channel: &str) -> Result<(), Failure> {
        let order = Order::Churn { rounds, channel: channel.to_owned() };
        let idle = Order::Churn { rounds: 0, channel: channel.to_owned() };
        done(&self.order(|part| if part == 0 { &order } else { &idle })?)
    }

    /// Closes all connections but those of the first `keep` that joined, which have to have joined together.
    ///
    /// # Errors
    /// When a process is gone.
    pub(crate) fn leave(&mut self, keep: usize) -> Result<(), Failure> {
        let holders = self.holders.len();
        let part = |part| Order::Leave { keep: bound(keep, part + 1, holders) - bound(keep, part, holders) };
        let orders: Vec<Order> = (0..holders).map(part).collect();
        done(&self.order(|part| &orders[part])?)
    }

    /// Who holds the connections.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.holders.iter().map(|holder| holder.child.id()).collect()
    }

    /// Tells all, then hears all.
    fn order<'a>(&mut self, order: impl Fn(usize) -> &'a Order) -> Result<Vec<Answer>, Failure> {
        for (part, holder) in self.holders.iter_mut().enumerate() {
            holder.tell(order(part))?;
        }
        self.holders.iter_mut().map(Holder::hear).collect()
    }
}

impl Holder {
    fn start() -> Result<Self, Failure> {
        let start = || -> std::io::Result<Child> {
            Command::new(std::env::current_exe()?)
                .arg(SUBCOMMAND)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
        };
        let mut child = start().map_err(Failure::system("start a process for connections"))?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new("a process for connections has no pipes"));
        };
        Ok(Self { child, orders, answers: BufReader::new(answers) })
    }

    fn tell(&mut self, order: &Order) -> Result<(), Failure> {
        let line = serde_json::to_string(order).map_err(|error| Failure::new(error.to_string()))?;
        writeln!(self.orders, "{line}").map_err(Failure::system("talk to a process that holds connections"))
    }

    fn hear(&mut self) -> Result<Answer, Failure> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .map_err(Failure::system("listen to a process that holds connections"))?;
        match serde_json::from_str(&line) {
            Ok(Answer::Failed { why }) => Err(Failure::new(why)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(Failure::new(format!(
                "expected an answer from a process that holds connections, but found {line:?} ({error})"
            ))),
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It ends with its standard input; killed, it is gone at once, connections and all.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the part `part` of `count` begins, which `parts` share.
fn bound(count: usize, part: usize, parts: usize) -> usize {
    count * part / parts
}

fn done(answers: &[Answer]) -> Result<(), Failure> {
    answers
        .iter()
        .find(|answer| !matches!(answer, Answer::Done))
        .map_or(Ok(()), |answer| Err(unexpected(answer)))
}

fn unexpected(answer: &Answer) -> Failure {
    Failure::new(format!(
        "expected another answer from a process that holds connections, but found {answer:?}"
    ))
}
