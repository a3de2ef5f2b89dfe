//! Runs the hot paths, each so many times, for callgrind to count.
//!
//! Owns what one operation of a path is. Every path calls [`counted_loop`], on whose way in callgrind forgets what it
//! has counted and on whose way out it writes that down: what is set up before is in no figure. A line on stdout says
//! which path it was and how often. Leaves to `tests/budget/run` how it is started and what a path may cost.
//!
//! An operation does the same every time: no thread, no clock that decides anything, no waiting, and sockets with room.
//! What remains by chance are the keys of the hash maps, so what depends on them runs over many names.

use std::io::Write as _;
use std::process::ExitCode;

use fanfare_server::frame;
use fanfare_server::limits::Limits;
use fanfare_server::publication::{Data, Publication};
use fanfare_server::pusher::ChannelName;
use fanfare_server::shard::budget::{Client, Failure, Line, Stage};
use fanfare_wire::record::{Draft, PublicationLimits, decode};
use fanfare_wire::ring::{Batch, Consumer, Producer, SharedMemory};

/// What publications are made of.
const CHANNEL: &str = "orders.4711";
const EVENT: &str = "App\\Events\\OrderShipped";
/// As many as a burst of the benchmark has.
const BURST: usize = 50;
/// Operations before those that are counted: buffers have their size then, and functions of libraries are bound.
const WARM_UP: u32 = 4;

/// A path, and what one operation of it is.
struct Path {
    name: &'static str,
    run: fn(&mut Count) -> Result<(), Failure>,
}

const PATHS: &[Path] = &[
    Path { name: "commit_200_bytes", run: commit },
    Path { name: "drain_50_records", run: drain },
    Path { name: "decode_200_bytes", run: decode_record },
    Path { name: "encode_200_bytes", run: |count| encode(count, 200) },
    Path { name: "encode_2000_bytes", run: |count| encode(count, 2_000) },
    Path { name: "publish_to_nobody", run: |count| publish(count, false) },
    Path { name: "publish_to_1_shard", run: |count| publish(count, true) },
    Path { name: "deliver_to_1", run: |count| deliver(count, 1, 1) },
    Path { name: "deliver_to_100", run: |count| deliver(count, 100, 1) },
    Path { name: "deliver_to_1000", run: |count| deliver(count, 1_000, 1) },
    Path { name: "deliver_burst_of_50_to_100", run: |count| deliver(count, 100, BURST) },
    Path { name: "outbox_1_frame", run: |count| outbox(count, 1) },
    Path { name: "outbox_50_frames", run: |count| outbox(count, BURST) },
    Path { name: "subscribe_and_leave_beside_10", run: |count| subscribe(count, 10) },
    Path { name: "subscribe_and_leave_beside_100000", run: |count| subscribe(count, 100_000) },
    Path { name: "client_subscribes_and_leaves", run: client_subscribes },
    Path { name: "client_pings", run: client_pings },
    Path { name: "connect_and_disconnect", run: connect },
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|name| PATHS.iter().all(|path| path.name != **name)) {
        let names: Vec<&str> = PATHS.iter().map(|path| path.name).collect();
        eprintln!("expected one of these paths: {}; but found {unknown}", names.join(" "));
        return ExitCode::from(64);
    }
    for path in PATHS {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == path.name) {
            continue;
        }
        if let Err(failure) = (path.run)(&mut Count { path: path.name }) {
            eprintln!("{}: {failure}", path.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// How a path has its operation counted.
struct Count {
    path: &'static str,
}

impl Count {
    /// Has `times` operations counted, after some that are not.
    fn operations(&mut self, times: u32, mut operation: impl FnMut()) -> Result<(), Failure> {
        for _ in 0..WARM_UP {
            operation();
        }
        writeln!(std::io::stdout(), "{} {times}", self.path)?;
        counted_loop(times, &mut operation);
        Ok(())
    }
}

/// What callgrind counts. It is known by its name, so it must be a function of its own, and there once.
#[inline(never)]
fn counted_loop(times: u32, operation: &mut dyn FnMut()) {
    for _ in 0..times {
        operation();
    }
}

fn expect(what: &str, expected: usize, found: usize) -> Result<(), Failure> {
    if expected == found {
        Ok(())
    } else {
        Err(format!("expected {expected} {what}, but found {found}").into())
    }
}

/// JSON of `len` bytes as a broadcast has it, quotes and all.
fn payload(len: usize) -> String {
    let mut json = String::from("{\"order\":4711");
    while json.len() + 20 < len {
        json.push_str(",\"field\":\"contents\"");
    }
    json.push_str(&" ".repeat(len.saturating_sub(json.len() + 1)));
    json.push('}');
    json
}

fn publication(data: &str) -> Publication<'_> {
    Publication { channels: vec![CHANNEL], event: EVENT, data: Data::Text(data), except: None }
}

/// Writes one record. Gives whether it was committed.
fn commit_one(producer: &mut Producer<SharedMemory>, data: &[u8]) -> bool {
    let limits = PublicationLimits { data_bytes_max: 10_000, channel_bytes_max: 200, event_bytes_max: 200 };
    let Ok(draft) = Draft::new([CHANNEL.as_bytes()].into_iter(), EVENT.as_bytes(), data, None) else {
        return false;
    };
    if draft.check(&limits).is_err() {
        return false;
    }
    let Ok(mut span) = producer.reserve(draft.encoded_len()) else { return false };
    draft.encode(&mut span);
    span.commit().is_ok()
}

/// What the extension does with the bytes that PHP hands it.
fn commit(count: &mut Count) -> Result<(), Failure> {
    const TIMES: u32 = 1_000;
    let (mut producer, _memfd) = Producer::create(1 << 20)?;
    let data = payload(200);
    count.operations(TIMES, || {
        std::hint::black_box(commit_one(&mut producer, std::hint::black_box(data.as_bytes())));
    })?;
    expect("records", (TIMES + WARM_UP) as usize, producer.unread().records as usize)
}

/// Copies a batch out of the ring and gives its bytes back.
fn drain(count: &mut Count) -> Result<(), Failure> {
    const TIMES: u32 = 40;
    let (mut producer, memfd) = Producer::create(1 << 20)?;
    let mut consumer = Consumer::open(memfd)?;
    let data = payload(200);
    let records = (TIMES + WARM_UP) as usize * BURST;
    let committed = (0..records).filter(|_| commit_one(&mut producer, data.as_bytes())).count();
    expect("records", records, committed)?;
    let mut batch = Batch::new(BURST, 1 << 20);
    let mut drained = 0;
    count.operations(TIMES, || {
        if consumer.drain(&mut batch).is_ok() {
            drained += batch.len();
            consumer.release(&batch);
        }
    })?;
    expect("drained records", records, drained)?;
    expect("bytes in the ring", 0, producer.unread().bytes as usize)
}

/// From a record's bytes to a publication that is checked.
fn decode_record(count: &mut Count) -> Result<(), Failure> {
    const TIMES: u32 = 1_000;
    let (data, limits) = (payload(200), Limits::default());
    let mut bytes = Vec::new();
    Draft::new([CHANNEL.as_bytes()].into_iter(), EVENT.as_bytes(), data.as_bytes(), None)?.encode(&mut bytes);
    let mut channels = 0;
    count.operations(TIMES, || {
        if let Ok(record) = decode(std::hint::black_box(&bytes))
            && let Ok(publication) = Publication::from_record(&record, &limits)
        {
            channels += std::hint::black_box(&publication).channels.len();
        }
    })?;
    expect("channels", (TIMES + WARM_UP) as usize, channels)
}

/// One frame of an event.
fn encode(count: &mut Count, bytes: usize) -> Result<(), Failure> {
    let data = payload(bytes);
    expect("bytes of data", bytes, data.len())?;
    count.operations(1_000, || {
        std::hint::black_box(frame::event(EVENT, CHANNEL, &Data::Text(std::hint::black_box(&data))));
    })
}

/// From a checked publication to what each shard is to deliver.
fn publish(count: &mut Count, subscribed: bool) -> Result<(), Failure> {
    let (mut stage, data) = (Stage::new()?, payload(200));
    let publication = publication(&data);
    if subscribed {
        stage.occupy(&[ChannelName::parse(CHANNEL, 200)?])?;
    }
    count.operations(1_000, || stage.publish(&publication))
}

/// From checked publications to the sockets of all subscribers.
fn deliver(count: &mut Count, subscribers: usize, burst: usize) -> Result<(), Failure> {
    let (stage, data) = (Stage::new()?, payload(200));
    let frame_bytes = frame::event(EVENT, CHANNEL, &Data::Text(&data)).len();
    let batch = vec![publication(&data); burst];
    let lines = lines(&stage, subscribers)?;
    let clients = lines.iter().map(|line| stage.connect(line)).collect::<Result<Vec<Client>, _>>()?;
    let channel = ChannelName::parse(CHANNEL, 200)?;
    clients.iter().for_each(|client| client.subscribe(&stage, &channel));
    read_all(&lines)?;
    // What a socket holds until it is read.
    let times = if burst == 1 && subscribers < 1_000 { 100 } else { 6 };
    count.operations(times, || stage.deliver(&batch))?;
    let expected = subscribers * frame_bytes * burst * (times + WARM_UP) as usize;
    expect("bytes delivered", expected, read_all(&lines)?)
}

/// Frames for one connection, and one flush.
fn outbox(count: &mut Count, frames: usize) -> Result<(), Failure> {
    const TIMES: u32 = 6;
    let (stage, data) = (Stage::new()?, payload(200));
    let line = stage.line()?;
    let client = stage.connect(&line)?;
    line.read_all()?;
    let frame = frame::event(EVENT, CHANNEL, &Data::Text(&data));
    count.operations(TIMES, || {
        for _ in 0..frames {
            client.enqueue(&stage, frame.clone());
        }
        stage.flush();
    })?;
    expect("bytes", frame.len() * frames * (TIMES + WARM_UP) as usize, line.read_all()?)
}

/// A connection becomes a subscriber of a channel of its own and leaves it again, while others hold `present` channels.
fn subscribe(count: &mut Count, present: usize) -> Result<(), Failure> {
    let stage = Stage::new()?;
    stage.occupy(&names("present", present)?)?;
    let line = stage.line()?;
    let client = stage.connect(&line)?;
    let names = names("another", 1_000)?;
    let mut names = names.iter().cycle();
    count.operations(2_000, || {
        if let Some(name) = names.next() {
            client.subscribe(&stage, name);
            client.unsubscribe(&stage, name);
        }
    })
}

/// Reading a client's messages, understanding them, subscribing, answering, and all of it back.
fn client_subscribes(count: &mut Count) -> Result<(), Failure> {
    let stage = Stage::new()?;
    let line = stage.line()?;
    let mut client = stage.connect(&line)?;
    let messages: Vec<[Vec<u8>; 2]> = (0..100)
        .map(|n| {
            ["subscribe", "unsubscribe"].map(|verb| {
                masked(&format!(r#"{{"event":"pusher:{verb}","data":{{"auth":"","channel":"orders.{n}"}}}}"#))
            })
        })
        .collect();
    line.read_all()?;
    let mut at = 0;
    count.operations(200, || {
        let [subscribe, unsubscribe] = &messages[at % messages.len()];
        client.take_in(subscribe);
        client.take_in(unsubscribe);
        at += 1;
    })?;
    let text = r#"{"event":"pusher_internal:subscription_succeeded","data":"{}","channel":"orders.0"}"#;
    let answered = line.read_all()?;
    if answered < text.len() * at {
        return Err(format!("expected {at} answers like {text}, but found {answered} bytes in all").into());
    }
    Ok(())
}

/// The smallest message and its answer.
fn client_pings(count: &mut Count) -> Result<(), Failure> {
    const TIMES: u32 = 200;
    let stage = Stage::new()?;
    let line = stage.line()?;
    let mut client = stage.connect(&line)?;
    let message = masked(r#"{"event":"pusher:ping","data":{}}"#);
    line.read_all()?;
    count.operations(TIMES, || client.take_in(&message))?;
    let answer = r#"{"event":"pusher:pong","data":"{}"}"#.len() + 2;
    expect("bytes of answers", answer * (TIMES + WARM_UP) as usize, line.read_all()?)
}

/// A client is let in, told hello, and gone.
fn connect(count: &mut Count) -> Result<(), Failure> {
    let stage = Stage::new()?;
    let line = stage.line()?;
    let mut told = Ok(0);
    count.operations(100, || {
        drop(stage.connect(&line));
        // Within what is counted: a socket that nobody reads is full before the last of them, and never writable again.
        told = line.read_all();
    })?;
    match told? {
        0 => Err("expected the client to be told hello, but found nothing".into()),
        _ => Ok(()),
    }
}

fn names(prefix: &str, number: usize) -> Result<Vec<ChannelName>, Failure> {
    let name = |n: usize| Ok(ChannelName::parse(&format!("{prefix}.{n}"), 200)?);
    (0..number).map(name).collect()
}

fn lines(stage: &Stage, number: usize) -> Result<Vec<Line>, Failure> {
    (0..number).map(|_| Ok(stage.line()?)).collect()
}

fn read_all(lines: &[Line]) -> Result<usize, Failure> {
    lines.iter().try_fold(0, |bytes, line| Ok(bytes + line.read_all()?))
}

/// A short text message as a client sends it.
fn masked(text: &str) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![0x81, 0x80 | text.len() as u8];
    frame.extend_from_slice(&MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
