//! A process that holds connections: one thread, one epoll, reads as large as they come.
//!
//! Owns the connections and the counting. It parses the header of each frame and finds the event's number and time;
//! it makes no JSON of events. It reads from each socket once for each time that the kernel says it is readable, so
//! that a burst is taken in large pieces.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, getrlimit};
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

use super::client::{Client, Manners, State, Word};
use super::{Answer, Audience, Joined, Order, Receipt};
use crate::failure::Failure;
use crate::frames;
use crate::histogram::{BUCKETS, Histogram, bucket};
use crate::http;
use crate::tick::{Tick, monotonic_ns};

const ORDERS: u64 = u64::MAX;
const EVENTS_MAX: usize = 1_024;
/// Standard input and output, epoll, and what the system opens by itself.
const FILES_BESIDE: usize = 16;
const READ_BYTES: usize = 512 * 1024;
/// How long nothing may happen before what is waited for is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// Subscriptions that are asked for together.
const CHURN_BATCH: usize = 50;

/// Does what it is told, until its standard input ends.
///
/// # Errors
/// When the system refuses, or nobody hears the answers.
pub(crate) fn run() -> Result<(), Failure> {
    Process::new().and_then(|mut process| process.run()).map_err(Failure::system("hold connections"))
}

/// What the next answer waits for.
#[derive(Debug)]
enum Task {
    None,
    Join {
        address: SocketAddr,
        source: Ipv4Addr,
        opened: usize,
        subscribed: usize,
        joined: Joined,
        began_ns: u64,
    },
    Report,
    Churn {
        channel: String,
        left: usize,
        answers_due: usize,
    },
}

#[derive(Debug)]
struct Process {
    epoll: rustix::fd::OwnedFd,
    clients: Vec<Option<Client>>,
    manners: Option<Manners>,
    task: Task,
    /// What is counted since the last order to watch.
    receipt: Receipt,
    due: u64,
    latencies: Vec<u64>,
    place: usize,
    /// When something last came.
    heard_ns: u64,
    failure: Option<String>,
}

impl Process {
    fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, io::stdin(), epoll::EventData::new_u64(ORDERS), epoll::EventFlags::IN)?;
        Ok(Self {
            epoll,
            clients: Vec::new(),
            manners: None,
            task: Task::None,
            receipt: Receipt::default(),
            due: 0,
            latencies: vec![0; BUCKETS],
            place: 0,
            heard_ns: monotonic_ns(),
            failure: None,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; READ_BYTES];
        let mut orders = Vec::new();
        loop {
            ready.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), Some(&LOOK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &ready {
                match event.data.u64() {
                    ORDERS => {
                        let count = io::stdin().read(&mut buffer)?;
                        if count == 0 {
                            return Ok(());
                        }
                        orders.extend_from_slice(&buffer[..count]);
                    }
                    client => self.turn(client as usize, &mut buffer),
                }
            }
            while let Some(end) = orders.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = orders.drain(..=end).collect();
                self.obey(serde_json::from_slice(&line)?)?;
            }
            self.go_on()?;
        }
    }

    fn obey(&mut self, order: Order) -> io::Result<()> {
        self.heard_ns = monotonic_ns();
        self.failure = None;
        match order {
            Order::Join { address, source, key, secret, audience } => {
                let files = (self.clients.len() + audience.count + FILES_BESIDE) as u64;
                let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
                if files > limit {
                    let why = format!(
                        "expected that a process may open {files} files, one for each connection, but found a limit of {limit}; \
                         raise the hard limit (ulimit -Hn) and start again"
                    );
                    return answer(&Answer::Failed { why });
                }
                self.manners = Some(Manners { host: address.to_string(), key, secret, audience });
                let (joined, began_ns) = (Joined::default(), monotonic_ns());
                self.task = Task::Join { address, source, opened: 0, subscribed: 0, joined, began_ns };
                Ok(())
            }
            Order::Watch { each } => {
                self.receipt = Receipt { first_ns: u64::MAX, ..Receipt::default() };
                self.latencies.fill(0);
                self.clients.iter_mut().flatten().for_each(|client| client.next = 0);
                self.due = each * self.clients.iter().flatten().count() as u64;
                answer(&Answer::Done)
            }
            Order::Report => {
                self.task = Task::Report;
                Ok(())
            }
            Order::Churn { rounds, channel } => {
                self.task = Task::Churn { channel, left: rounds, answers_due: 0 };
                Ok(())
            }
            Order::Leave { keep } => {
                self.clients.truncate(keep);
                answer(&Answer::Done)
            }
        }
    }

    /// Does what is next of the task, and answers when it is done or will not be.
    fn go_on(&mut self) -> io::Result<()> {
        if matches!(self.task, Task::None) {
            return Ok(());
        }
        if let Some(why) = self.failure.take() {
            self.task = Task::None;
            return answer(&Answer::Failed { why });
        }
        let silent = monotonic_ns().saturating_sub(self.heard_ns) > SILENCE_MAX.as_nanos() as u64;
        let done = match &self.task {
            Task::None => false,
            Task::Join { .. } => self.open_more()?,
            Task::Churn { .. } => self.churn_more(),
            Task::Report => self.receipt.events >= self.due || silent,
        };
        if done {
            return self.finish();
        }
        if silent {
            let why = format!(
                "expected the server to answer, but found nothing for {SILENCE_MAX:?} ({})",
                self.standing()
            );
            self.task = Task::None;
            return answer(&Answer::Failed { why });
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.task, Task::None) {
            Task::Join { joined, began_ns, .. } => {
                let took_ns = monotonic_ns().saturating_sub(began_ns);
                answer(&Answer::Joined(Joined { took_ns, ..joined }))
            }
            Task::Report => {
                let mut receipt = std::mem::take(&mut self.receipt);
                receipt.missing = self.due.saturating_sub(receipt.events);
                receipt.latencies = Histogram::of(&self.latencies);
                answer(&Answer::Received(receipt))
            }
            Task::Churn { .. } | Task::None => answer(&Answer::Done),
        }
    }

    /// Opens connections while fewer are under way than may be; true when all are subscribed.
    fn open_more(&mut self) -> io::Result<bool> {
        let Task::Join { address, source, opened, subscribed, .. } = &mut self.task else { return Ok(true) };
        let Some(Manners { audience: Audience { first, count, at_once, .. }, .. }) = self.manners else {
            return Ok(true);
        };
        while *opened < count && *opened - *subscribed < at_once {
            let stream = connect(*address, *source)?;
            let data = epoll::EventData::new_u64(self.clients.len() as u64);
            epoll::add(&self.epoll, &stream, data, epoll::EventFlags::OUT)?;
            let number = first + *opened;
            let state = State::Connecting;
            self.clients.push(Some(Client {
                stream,
                state,
                pending: Vec::new(),
                next: 0,
                number,
                asked_ns: 0,
            }));
            *opened += 1;
        }
        Ok(*subscribed == count)
    }

    fn churn_more(&mut self) -> bool {
        let Task::Churn { channel, left, answers_due } = &mut self.task else { return true };
        let Some(Some(client)) = self.clients.first_mut() else { return true };
        if *answers_due > 0 {
            return false;
        }
        if *left == 0 {
            return true;
        }
        let batch = CHURN_BATCH.min(*left);
        let of = |event: &str| {
            frames::from_client(
                frames::TEXT,
                json!({"event": event, "data": {"channel": channel}}).to_string().as_bytes(),
            )
        };
        let pair = [of("pusher:subscribe"), of("pusher:unsubscribe")].concat();
        *left -= batch;
        *answers_due = batch;
        if let Err(why) = client.send(&pair.repeat(batch)) {
            self.failure = Some(why);
        }
        false
    }

    /// A connection can be read, or has been made.
    fn turn(&mut self, id: usize, buffer: &mut Vec<u8>) {
        // Taken out while it is served, so that what it receives can be counted.
        let Some(mut client) = self.clients.get_mut(id).and_then(Option::take) else { return };
        let outcome = match client.state {
            State::Connecting => self.connected(id, &mut client),
            _ => self.read(&mut client, buffer),
        };
        match outcome {
            Ok(()) => self.clients[id] = Some(client),
            Err(why) => {
                self.receipt.closed += 1;
                self.failure = Some(format!("connection {}: {why}", client.number));
                // While events are counted, a closed connection is a figure of the report.
                if matches!(self.task, Task::None | Task::Report) {
                    self.failure = None;
                }
            }
        }
    }

    fn connected(&mut self, id: usize, client: &mut Client) -> Result<(), String> {
        if let Ok(Some(error)) | Err(error) = client.stream.take_error() {
            return Err(format!("cannot connect: {error}"));
        }
        let manners = self.manners.as_ref().ok_or("nobody said what to do")?;
        client.upgrade(manners)?;
        let data = epoll::EventData::new_u64(id as u64);
        epoll::modify(&self.epoll, &client.stream, data, epoll::EventFlags::IN)
            .map_err(|error| format!("cannot wait for the server: {error}"))
    }

    fn read(&mut self, client: &mut Client, buffer: &mut Vec<u8>) -> Result<(), String> {
        let kept = client.pending.len();
        // The list of members of a large presence channel is longer than all else that is read at once.
        if buffer.len() < kept + READ_BYTES / 2 {
            buffer.resize(2 * kept + READ_BYTES, 0);
        }
        buffer[..kept].copy_from_slice(&client.pending);
        let count = match client.stream.read(&mut buffer[kept..]) {
            Ok(0) => return Err(format!("closed by the server ({:?})", client.state)),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(format!("cannot read from the server: {error}")),
        };
        self.heard_ns = monotonic_ns();
        let mut rest = &buffer[..kept + count];
        if client.state == State::Upgrading
            && let Some(answer) = http::first(rest)
        {
            let deflated = client.upgraded(&answer)?;
            if let Task::Join { joined, .. } = &mut self.task {
                joined.deflated += usize::from(deflated);
            }
            rest = &rest[answer.bytes..];
        }
        if client.state != State::Upgrading {
            while let Some(frame) = frames::first(rest) {
                rest = &rest[frame.bytes..];
                self.take(client, &frame)?;
            }
        }
        client.pending.clear();
        client.pending.extend_from_slice(rest);
        Ok(())
    }

    fn take(&mut self, client: &mut Client, frame: &frames::Frame<'_>) -> Result<(), String> {
        if client.state == State::Subscribed && frame.operation == frames::TEXT {
            if frame.compressed {
                // Its number is not to be had without inflating it, which would measure the crowd.
                self.count(frame, None);
                return Ok(());
            }
            if let Some(tick) = Tick::find(frame.payload, &mut self.place) {
                self.receipt.disordered += u64::from(tick.number != client.next);
                client.next = tick.number + 1;
                self.count(frame, Some(tick));
                return Ok(());
            }
        }
        let manners = self.manners.as_ref().ok_or("nobody said what to do")?;
        match (client.hear(frame, manners)?, &mut self.task) {
            (Word::Subscribed, Task::Join { subscribed, joined, .. }) => {
                *subscribed += 1;
                joined.waits.count(self.heard_ns.saturating_sub(client.asked_ns));
            }
            (Word::Subscribed, Task::Churn { answers_due, .. }) => {
                *answers_due = answers_due.saturating_sub(1)
            }
            (Word::Member, _) => self.receipt.told += 1,
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, frame: &frames::Frame<'_>, tick: Option<Tick>) {
        self.receipt.events += 1;
        self.receipt.bytes += frame.bytes as u64;
        self.receipt.last_ns = self.heard_ns;
        if let Some(tick) = tick {
            self.receipt.first_ns = self.receipt.first_ns.min(tick.at_ns);
            self.latencies[bucket(self.heard_ns.saturating_sub(tick.at_ns))] += 1;
        }
    }

    fn standing(&self) -> String {
        let of = |state| self.clients.iter().flatten().filter(|client| client.state == state).count();
        format!(
            "{} connecting, {} upgrading, {} waiting for a greeting, {} subscribing, {} subscribed",
            of(State::Connecting),
            of(State::Upgrading),
            of(State::Greeting),
            of(State::Subscribing),
            of(State::Subscribed)
        )
    }
}

/// From an address of our own on the loopback interface, which has a range of ports of its own.
fn connect(address: SocketAddr, source: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

fn answer(answer: &Answer) -> io::Result<()> {
    let mut output = io::stdout();
    writeln!(output, "{}", serde_json::to_string(answer)?)?;
    output.flush()
}
