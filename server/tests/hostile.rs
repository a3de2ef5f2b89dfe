//! Peers of the Unix socket that lie: a typed refusal, logged once, and nobody else notices.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::os::fd::{AsFd, OwnedFd};

use fanfare_wire::attach::{Message, Purpose, RefusalCode, Transport};
use harness::client::Client;
use harness::php::{Peer, Php, Said, doorbell};
use harness::{KEY, SECRET, Server, configuration, directory, wait_until};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

/// A server with an honest process and client, whose well-being is checked after each attack.
struct Scene {
    server: Server,
    client: Client,
    php: Php,
    sent: u64,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = directory();
        let server = Server::start(&configuration(directory.path()));
        let mut client = Client::connect(&server);
        client.subscribe("news");
        let php = Php::attach(&server);
        let mut scene = Self { server, client, php, sent: 0, _directory: directory };
        // Now the server is done with everything that an attachment opens.
        scene.all_is_well();
        scene
    }

    fn all_is_well(&mut self) {
        self.sent += 1;
        self.php.broadcast(&["news"], "e", &self.sent.to_string());
        assert_eq!(self.client.data(), self.sent.to_string());
    }

    /// How many log lines hold `text`, of all that were written before now: a publication is journalled behind
    /// them, and the journal is read to there first.
    fn logged(&mut self, text: &str) -> usize {
        self.all_is_well();
        self.server.logged(&format!("\"data\":\"{}\"", self.sent));
        self.server.log_lines(text).len()
    }

    /// Attaches a ring in `memory`.
    fn offer(&self, memory: &OwnedFd, doorbell: &OwnedFd) -> Peer {
        let mut peer = Peer::connect(&self.server);
        let proof = peer.prove(KEY, SECRET);
        let message = Message::Attach { purpose: Purpose::Publish(Transport::Ring), proof };
        peer.say_with(&message, &[memory.as_fd(), doorbell.as_fd()]);
        peer
    }

    fn refused(&mut self, mut peer: Peer, code: RefusalCode, about: &str) {
        let (found, message) = peer.refused();
        assert_eq!(found, code, "{message}");
        assert!(message.contains(about), "{message}");
        self.server.logged(&message.replace('"', "\\\""));
        self.all_is_well();
    }
}

fn memory(bytes: u64, seals: SealFlags) -> OwnedFd {
    let fd = memfd_create("ring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, bytes).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

const SEALED: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

#[test]
fn wrong_credentials_are_refused_without_saying_which_is_wrong() {
    let mut scene = Scene::new();
    let mut messages = Vec::new();
    for (key, secret) in [(KEY, "guess"), ("unknown", SECRET), ("other-key", SECRET), ("", "")] {
        let mut peer = Peer::connect(&scene.server);
        let proof = peer.prove(key, secret);
        peer.say(&Message::Attach { purpose: Purpose::Publish(Transport::Socket), proof });
        let (code, message) = peer.refused();
        assert_eq!(code, RefusalCode::Credentials);
        messages.push(message);
    }
    messages.dedup();
    assert_eq!(messages.len(), 1);
    assert_eq!(scene.logged("\"an attachment is refused\""), 4);
    assert_eq!(scene.server.metric("attachments_refused_total"), 4);
    scene.all_is_well();
}

#[test]
fn a_proof_is_good_for_one_challenge_only() {
    let mut scene = Scene::new();
    let stale = Peer::connect(&scene.server).prove(KEY, SECRET);
    let mut peer = Peer::connect(&scene.server);
    peer.prove(KEY, SECRET);
    peer.say(&Message::Attach { purpose: Purpose::Publish(Transport::Socket), proof: stale });
    scene.refused(peer, RefusalCode::Credentials, "secret");
}

#[test]
fn another_version_is_a_named_outcome() {
    let mut scene = Scene::new();
    let mut bytes = Vec::new();
    Message::Hello { key: KEY.as_bytes(), client: "test" }.encode(&mut bytes);
    bytes[2] = 9;
    let mut peer = Peer::connect(&scene.server);
    peer.say_bytes(&bytes);
    scene.refused(peer, RefusalCode::Version, "found 9");
}

#[test]
fn messages_out_of_turn_and_garbage_are_refused() {
    let mut scene = Scene::new();
    let mut huge = Vec::new();
    Message::Hello { key: &[b'k'; 60_000], client: "test" }.encode(&mut huge);
    for (bytes, about) in [
        (&b"\xFA\x63\x01\0\0\0\0\0"[..], "kind 99"),
        (b"\xFA\x01\x01\0\x05\0\0\0\xFF\xFF\0\0\0", "expected"),
        (b"\xFA\x08\x01\0\0\0\0\0", "Hello"),
        (&huge[..8], "at most 1024 bytes"),
    ] {
        let mut peer = Peer::connect(&scene.server);
        peer.say_bytes(bytes);
        scene.refused(peer, RefusalCode::Protocol, about);
    }
    // Garbage that does not begin like ours is taken for HTTP, and answered or dropped as such.
    let mut peer = Peer::connect(&scene.server);
    peer.say_bytes(b"\0\x01\x02garbage\r\n\r\n");
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut peer.stream, &mut answer);
    scene.all_is_well();
}

#[test]
fn a_handshake_that_does_not_go_on_ends() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["limits"] = serde_json::json!({"attach_timeout_ms": 50, "attach_pending_max": 4});
    let server = Server::start(&configuration);
    let before = server.descriptors();
    let mut silent: Vec<Peer> = (0..32).map(|_| Peer::connect(&server)).collect();
    let mut half: Vec<Peer> = (0..32).map(|_| Peer::connect(&server)).collect();
    half.iter_mut().for_each(|peer| peer.say_bytes(b"\xFA\x01"));
    for peer in &mut silent {
        assert_eq!(peer.hear(), Said::End);
    }
    for peer in &mut half {
        assert_eq!(peer.refused().0, RefusalCode::Protocol);
    }
    wait_until("nothing is left of them", || server.descriptors() <= before);
    assert!(server.get_local("/up").starts_with("HTTP/1.1 200 "));
}

#[test]
fn memory_that_is_not_a_sealed_ring_is_refused() {
    let mut scene = Scene::new();
    let file = tempfile::tempfile().unwrap();
    for memory in [
        memory(0, SEALED),
        memory(4096, SEALED),
        memory(1 << 20, SEALED),
        memory((1 << 20) + 4096, SealFlags::SHRINK),
        memory((1 << 20) + 4096, SealFlags::GROW),
        memory((1 << 20) + 4096, SealFlags::empty()),
        memory((1 << 20) + 4096, SEALED),
        file.into(),
        doorbell(),
    ] {
        let peer = scene.offer(&memory, &doorbell());
        scene.refused(peer, RefusalCode::Ring, "");
    }
    assert_eq!(scene.logged("\"an attachment is refused\""), 9);
}

#[test]
fn descriptors_that_are_not_asked_for_are_refused_and_closed() {
    let mut scene = Scene::new();
    let before = scene.server.descriptors();
    let good = || fanfare_wire::ring::Producer::create(1 << 16).unwrap();
    // Not an eventfd.
    let (_producer, memory) = good();
    let (reader, _writer) = std::io::pipe().unwrap();
    let peer = scene.offer(&memory, &reader.into());
    scene.refused(peer, RefusalCode::Ring, "eventfd");
    // None, one.
    for count in 0..2 {
        let (_producer, memory) = good();
        let mut peer = Peer::connect(&scene.server);
        let proof = peer.prove(KEY, SECRET);
        let fds = [memory.as_fd(); 1];
        peer.say_with(&Message::Attach { purpose: Purpose::Publish(Transport::Ring), proof }, &fds[..count]);
        scene.refused(peer, RefusalCode::Ring, &format!("found {count}"));
    }
    // With every message.
    let (_producer, memory) = good();
    let mut peer = Peer::connect(&scene.server);
    peer.say_with(&Message::Hello { key: b"k", client: "t" }, &[memory.as_fd(); 2]);
    assert!(matches!(peer.hear(), Said::Challenge(_)));
    peer.say_with(
        &Message::Attach { purpose: Purpose::Publish(Transport::Socket), proof: [0; 32] },
        &[memory.as_fd(); 2],
    );
    scene.refused(peer, RefusalCode::Protocol, "at most 2");
    wait_until("no descriptor is left", || scene.server.descriptors() <= before);
}

#[test]
fn a_lying_ring_ends_its_own_attachment_only() {
    let mut scene = Scene::new();
    let before = scene.server.descriptors();
    // A record that is none, behind one that is: the sound one is delivered.
    let mut liar = Php::attach(&scene.server);
    liar.broadcast(&["news"], "e", "sound");
    liar.commit_bytes(b"not a record");
    assert_eq!(scene.client.data(), "sound");
    scene.refused(liar.peer, RefusalCode::Protocol, "version");
    // Positions and frames that cannot be true.
    let mut liar = Php::attach(&scene.server);
    liar.broadcast(&["news"], "e", "sound");
    assert_eq!(scene.client.data(), "sound");
    liar.drained();
    rustix::io::pwrite(&liar.memfd, &u64::MAX.to_le_bytes(), TAIL_OFFSET).unwrap();
    liar.ring();
    scene.refused(liar.peer, RefusalCode::Ring, "tail");
    // Anything but a goodbye over the socket of a ring.
    let mut liar = Php::attach(&scene.server);
    liar.peer.say(&Message::Ack { records: 1 });
    scene.refused(liar.peer, RefusalCode::Protocol, "Goodbye");
    assert_eq!(scene.logged("\"an attachment is ended because"), 3);
    wait_until("no descriptor is left", || scene.server.descriptors() <= before);
}

/// What would be a bus error in the server is an error in the process that tries.
#[test]
fn a_ring_cannot_be_truncated_after_it_was_attached() {
    let mut scene = Scene::new();
    let mut liar = Php::attach(&scene.server);
    liar.broadcast(&["news"], "e", "before");
    assert_eq!(scene.client.data(), "before");
    for bytes in [0, 4096, 1 << 30] {
        let truncated = rustix::fs::ftruncate(&liar.memfd, bytes);
        assert_eq!(truncated, Err(rustix::io::Errno::PERM));
    }
    let unsealed = rustix::fs::fcntl_add_seals(&liar.memfd, SealFlags::WRITE);
    assert_eq!(unsealed, Err(rustix::io::Errno::PERM));
    liar.broadcast(&["news"], "e", "after");
    assert_eq!(scene.client.data(), "after");
}

/// Where the producer keeps its position, see the map of the bytes in `fanfare_wire::ring`.
const TAIL_OFFSET: u64 = 128;

#[test]
fn an_unacceptable_publication_is_dropped_and_the_next_one_is_not() {
    let mut scene = Scene::new();
    scene.php.broadcast(&["news", "not a name"], "e", "dropped");
    scene.php.broadcast(&["news"], "e", &"x".repeat(256 * 1024 + 1));
    scene.all_is_well();
    assert_eq!(scene.server.metric("publications_rejected_total"), 2);
    assert_eq!(scene.logged("\"a publication is dropped\""), 2);
}

#[test]
fn the_number_of_attachments_is_bounded_and_a_goodbye_makes_room() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["limits"] = serde_json::json!({"attachments_max": 1});
    let server = Server::start(&configuration);
    let mut first = Php::attach(&server);
    let mut peer = Peer::connect(&server);
    let proof = peer.prove(KEY, SECRET);
    peer.say(&Message::Attach { purpose: Purpose::Publish(Transport::Socket), proof });
    assert_eq!(peer.refused().0, RefusalCode::Capacity);
    first.peer.say(&Message::Goodbye);
    assert_eq!(first.peer.hear(), Said::End);
    Php::attach(&server);
}

/// What a process of another user meets; run by the test below, as that user.
#[test]
#[ignore = "the next test runs it as another user"]
fn as_another_user() {
    let socket = std::env::var("FANFARE_TEST_SOCKET").unwrap();
    let stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let mut peer = Peer::over(stream);
    peer.say(&Message::Hello { key: KEY.as_bytes(), client: "test" });
    println!("attach: {:?}", peer.hear());
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let answer = harness::exchange(&mut stream, "/up");
    println!("http: {}", answer.lines().next().unwrap());
}

#[test]
fn a_process_of_another_user_needs_to_be_named() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can become another user");
    }
    let directory = directory();
    let open = |path: &std::path::Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    open(directory.path());
    let program = directory.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    open(&program);
    for (uids, attach, http) in [
        (vec![], "attach: Refused(User", "http: HTTP/1.1 403 "),
        (vec![NOBODY], "attach: Challenge(", "http: HTTP/1.1 200 "),
    ] {
        let mut configuration = configuration(directory.path());
        configuration["socket_mode"] = "0666".into();
        configuration["socket_uids"] = uids.into();
        let server = Server::start(&configuration);
        let output = std::process::Command::new(&program)
            .args(["--exact", "as_another_user", "--ignored", "--nocapture"])
            .env("FANFARE_TEST_SOCKET", &server.socket)
            .uid(NOBODY)
            .output()
            .unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains(attach) && output.contains(http), "{output}");
    }
}
