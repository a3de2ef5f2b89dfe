//! What a batch of deliveries comes to at each client, with sockets that take everything.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;
use crate::apps::Apps;
use crate::config::Configuration;
use crate::hub::{Change, Unheard, UserChange};
use crate::pusher::socket_id::SocketIds;

#[derive(Debug)]
struct Deaf;

impl Herald for Deaf {
    fn changed(&self, _: &App, _: &Arc<str>, _: Change<'_>) {}
    fn user_changed(&self, _: &App, _: UserChange<'_>) {}
}

/// Clients of the channels `a` and `b`.
struct Floor {
    connections: Connections,
    app: Arc<App>,
    socket_ids: Vec<SocketId>,
    keys: Vec<ConnectionKey>,
    written: Vec<Rc<RefCell<Vec<u8>>>>,
}

impl Floor {
    fn new(clients: usize, outbox_bytes_max: usize) -> Self {
        let text = r#"{"listen":"127.0.0.1:0","socket":"/s","apps":[{"id":"1","key":"a","secret":"x"}]}"#;
        let app = Apps::new(Configuration::parse(text, 1).unwrap().apps).by_id("1").unwrap();
        let connections = Connections::new(0, Arc::new(Deaf), Arc::default(), outbox_bytes_max);
        let (socket_ids, keys, written) = (Vec::new(), Vec::new(), Vec::new());
        let mut floor = Self { connections, app, socket_ids, keys, written };
        let mut ids = SocketIds::new(1, 0, 1);
        for _ in 0..clients {
            let (id, written) = (ids.draw(), Rc::default());
            let socket = Socket::memory(Rc::clone(&written));
            let key = floor.connections.open(id, [127, 0, 0, 1].into(), socket);
            for channel in ["a", "b"] {
                let channel = ChannelName::parse(channel, 200).unwrap();
                floor.connections.subscribe(key, &floor.app, &channel, None).unwrap().unwrap();
            }
            floor.socket_ids.push(id);
            floor.keys.push(key);
            floor.written.push(written);
        }
        floor
    }

    /// `a1` is the frame 1 of the channel a.
    fn delivery(&self, name: &str, except: Option<usize>) -> Delivery {
        let (channel, frame) = name.split_at(1);
        Delivery {
            app: self.app.index,
            channel: channel.into(),
            frame: frame::Shared::new(Bytes::copy_from_slice(frame.as_bytes()), 0, 1),
            except: except.map(|at| self.socket_ids[at]),
            unheard: Unheard::ByAll,
        }
    }

    fn deliver(&mut self, deliveries: &[Delivery], to_follow: bool) -> u64 {
        let delivered = self.connections.deliver(deliveries, to_follow);
        self.connections.flush_touched(&Metrics::default());
        delivered
    }

    /// What each client was written since the last time.
    fn heard(&self) -> Vec<String> {
        let taken = self.written.iter().map(|written| std::mem::take(&mut *written.borrow_mut()));
        taken.map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }
}

#[test]
fn everybody_hears_a_batch_in_order_and_who_is_left_out_of_an_event_hears_the_others() {
    let mut floor = Floor::new(3, 1000);
    let all = [("a1", None), ("a2", None), ("a3", Some(1)), ("a4", None), ("b5", None), ("a6", Some(2))];
    let all: Vec<Delivery> = all.into_iter().map(|(name, except)| floor.delivery(name, except)).collect();
    for to_follow in [false, true] {
        assert_eq!(floor.deliver(&all, to_follow), 6 * 3 - 2);
        assert_eq!(floor.heard(), ["123456", "12456", "12345"]);
    }
}

#[test]
fn what_is_written_at_once_comes_behind_what_waits() {
    let mut floor = Floor::new(2, 1000);
    floor.connections.enqueue(floor.keys[0], Bytes::from_static(b"0"));
    let run = ["a1", "a2"].map(|name| floor.delivery(name, None));
    assert_eq!(floor.deliver(&run, false), 4);
    assert_eq!(floor.heard(), ["012", "12"]);
}

#[test]
fn a_batch_that_is_larger_than_an_outbox_closes_nobody_whose_socket_takes_it() {
    let mut floor = Floor::new(2, 10);
    let names: Vec<String> = (0..30).map(|at| format!("{}{at:04}", ["a", "b"][at % 2])).collect();
    let all: Vec<Delivery> = names.iter().map(|name| floor.delivery(name, None)).collect();
    assert_eq!(floor.deliver(&all, false), 60);
    let expected: String = (0..30).map(|at| format!("{at:04}")).collect();
    assert_eq!(floor.heard(), [expected.clone(), expected]);
    assert!(floor.keys.iter().all(|key| floor.connections.fate(*key) == Some(Fate::Open)));
}

#[test]
fn what_a_socket_takes_in_parts_is_written_before_the_batch_is_done() {
    let mut floor = Floor::new(2, 1_000_000);
    let event = floor.delivery(&format!("a{}", "x".repeat(200_000)), None);
    assert_eq!(floor.deliver(&[event], false), 2);
    assert_eq!(floor.heard().iter().map(String::len).collect::<Vec<_>>(), [200_000, 200_000]);
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_task_of_a_socket_that_breaks_when_room_is_looked_for_ends() {
    let mut floor = Floor::new(1, 10);
    let (reason, woken) = (Rc::new(Cell::new(io::ErrorKind::WouldBlock)), Arc::new(Woken::default()));
    let socket = Socket::deaf(Rc::clone(&reason));
    let key = floor.connections.open(floor.socket_ids[0], [127, 0, 0, 1].into(), socket);
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let wait = |floor: &mut Floor, cx: &mut Context<'_>| floor.connections.poll_write(key, cx);
    let write = |floor: &mut Floor| {
        floor.connections.enqueue(key, Bytes::from_static(b"01234567"));
        floor.connections.flush_touched(&Metrics::default());
    };
    write(&mut floor);
    assert_eq!(wait(&mut floor, &mut cx), Poll::Pending, "it waits for room");
    reason.set(io::ErrorKind::BrokenPipe);
    write(&mut floor);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(wait(&mut floor, &mut cx), Poll::Ready(Fate::Broken));
}
