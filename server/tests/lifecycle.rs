//! Starting, leaving, dying, and what is true afterwards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fanfare_wire::attach::{Message, Purpose, Transport};
use fanfare_wire::record::Draft;
use harness::client::Client;
use harness::php::{Peer, Php, Said};
use harness::{KEY, SECRET, Server, configuration, directory, run_to_end, wait_until};
use rustix::process::Signal;
use serde_json::json;

#[test]
fn configuration_mistakes_are_told_at_once_with_exit_code_64() {
    for arguments in [["serve", "--config", "-"], ["check", "--config", "-"]] {
        let (status, stderr) = run_to_end(&arguments, r#"{"listen":7,"apps":[],"typo":1}"#);
        assert_eq!(status.code(), Some(64));
        for path in ["listen: expected", "socket: expected", "apps: expected", "typo: expected"] {
            assert!(stderr.contains(path), "{stderr}");
        }
    }
    let (status, stderr) = run_to_end(&["check", "--config", "-"], r#"{"apps":[],"apps":[]}"#);
    assert_eq!(status.code(), Some(64));
    assert!(stderr.contains("\"apps\" stands here a second time"), "{stderr}");
    let directory = directory();
    let latin = directory.path().join("latin-1.json");
    std::fs::write(&latin, b"{\"path\":\"/caf\xE9\"}").unwrap();
    assert_eq!(run_to_end(&["check", "--config", latin.to_str().unwrap()], "").0.code(), Some(64));
    assert_eq!(run_to_end(&["serve"], "").0.code(), Some(64));
    assert_eq!(run_to_end(&["serve", "--config", "/nowhere/f.json"], "").0.code(), Some(1));
    let sound = configuration(directory.path()).to_string();
    assert_eq!(run_to_end(&["check", "--config", "-"], &sound).0.code(), Some(0));
    assert_eq!(run_to_end(&["--version"], "").0.code(), Some(0));
}

#[test]
fn a_port_or_socket_in_use_is_an_error_that_names_it() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    // The same socket.
    let (status, stderr) =
        run_to_end(&["serve", "--config", "-"], &configuration(directory.path()).to_string());
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains(&format!("process {}", server.pid())), "{stderr}");
    // The same port: another Fanfare server's, and a stranger's.
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [server.address, stranger.local_addr().unwrap()] {
        let elsewhere = harness::directory();
        let mut configuration = configuration(elsewhere.path());
        configuration["listen"] = address.to_string().into();
        let (status, stderr) = run_to_end(&["serve", "--config", "-"], &configuration.to_string());
        assert_eq!(status.code(), Some(1));
        assert!(stderr.contains(&address.to_string()), "{stderr}");
        assert!(!elsewhere.path().join("f.sock").exists());
    }
    // Something else at the socket's path, and a stranger's socket.
    let elsewhere = harness::directory();
    let path = elsewhere.path().join("f.sock");
    std::fs::write(&path, "precious").unwrap();
    let input = configuration(elsewhere.path()).to_string();
    assert_eq!(run_to_end(&["serve", "--config", "-"], &input).0.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();
    let _stranger = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_eq!(run_to_end(&["serve", "--config", "-"], &input).0.code(), Some(1));
    assert!(server.get("/up").starts_with("HTTP/1.1 200 "), "and the first one serves on");
}

#[test]
fn the_socket_has_the_permissions_that_are_configured() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["socket_mode"] = "0600".into();
    let server = Server::start(&configuration);
    let mode = std::fs::metadata(&server.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn each_signal_delivers_what_is_committed_and_sends_clients_elsewhere() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let directory = directory();
        let mut server = Server::start(&configuration(directory.path()));
        let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(&server)).collect();
        clients.iter_mut().for_each(|client| client.subscribe("news"));
        let mut php = Php::attach(&server);
        // Stopped, so that the records are certainly unread when the signal comes.
        server.freeze();
        (0..100).for_each(|n| php.broadcast(&["news"], "e", &n.to_string()));
        server.signal(signal);
        server.signal(Signal::CONT);
        for client in &mut clients {
            for n in 0..100 {
                assert_eq!(client.data(), n.to_string());
            }
            assert_eq!(u16::from(client.close_frame().code), 4200);
        }
        clients.into_iter().for_each(Client::finish);
        assert_eq!(php.peer.hear(), Said::End);
        assert!(php.producer.is_drained());
        assert_eq!(server.wait().code(), Some(0));
        assert!(!server.socket.exists());
    }
}

/// What a supervisor sends to a whole group and what artisan passes on arrive together: one wish. A person who asks
/// again is not kept waiting.
#[test]
fn a_further_signal_ends_it_at_once_but_an_echo_of_the_first_does_not() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["limits"] = json!({"drain_timeout_ms": 3_600_000, "close_timeout_ms": 60_000});
    let mut server = Server::start(&configuration);
    // It does not answer the close frame.
    let _client = Client::connect(&server);
    let told = Instant::now();
    let status = loop {
        server.signal(Signal::TERM);
        std::thread::yield_now();
        if let Some(status) = server.ended() {
            break status;
        }
    };
    assert_eq!(status.code(), Some(0));
    assert!(told.elapsed() >= Duration::from_secs(1), "an echo ended it");
    server.logged("told again");
}

#[test]
fn it_leaves_when_the_process_that_started_it_is_killed() {
    let directory = directory();
    let file = directory.path().join("fanfare.json");
    std::fs::write(&file, configuration(directory.path()).to_string()).unwrap();
    let script = format!("\"$0\" serve --config {} --stop-with-parent & echo $!; wait", file.display());
    let mut parent = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_fanfare")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(parent.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("\"serving\"")), "it did not start");
    parent.kill().unwrap();
    parent.wait().unwrap();
    // Its end closes its log.
    assert!(log.any(|line| line.contains("\"stopped\"")), "it did not leave in good order");
    assert_eq!(log.next(), None);
    assert!(!directory.path().join("f.sock").exists());
}

#[test]
fn what_was_committed_before_a_kill_is_delivered_by_the_successor() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    let server = Server::start(&configuration);
    configuration["listen"] = server.address.to_string().into();
    let mut php = Php::attach(&server);
    php.broadcast(&["news"], "e", "delivered to nobody");
    php.drained();
    server.freeze();
    (0..1000).for_each(|n| php.broadcast(&["news"], "e", &n.to_string()));
    server.kill();
    assert_eq!(php.peer.hear(), Said::End);

    // At once, on the same port and over the stale socket file.
    let successor = Server::start(&configuration);
    let mut client = Client::connect(&successor);
    client.subscribe("news");
    php.reattach(&successor);
    for n in 0..1000 {
        assert_eq!(client.data(), n.to_string());
    }
    php.broadcast(&["news"], "e", "and on");
    assert_eq!(client.data(), "and on");
    php.drained();
}

/// The numbers that a server's journal says it published.
fn published(log: &[String]) -> Vec<u64> {
    let number = |line: &String| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let is_publication = event["target"] == "fanfare::publication";
        is_publication.then(|| event["fields"]["data"].as_str().unwrap().parse().unwrap())
    };
    log.iter().filter_map(number).collect()
}

#[test]
fn killed_at_any_moment_a_server_repeats_its_last_batch_at_most_and_skips_nothing() {
    let directory = directory();
    let configuration = configuration(directory.path());
    let mut server = Server::start(&configuration);
    let mut php = Php::attach_with(&server, 1 << 16);
    let mut committed = 0_u64;
    let mut expected = 0;
    for round in 0..12 {
        for _ in 0..300 + 411 * round {
            php.broadcast(&["news"], "e", &committed.to_string());
            committed += 1;
        }
        let numbers = published(&server.kill());
        if let Some(&first) = numbers.first() {
            assert!(first <= expected, "{first} was published after {expected} was due");
            assert!(expected - first <= 256, "{first} was published again when {expected} was due");
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "out of order");
            expected = numbers[numbers.len() - 1] + 1;
        }
        server = Server::start(&configuration);
        php.reattach(&server);
    }
    php.drained();
    let numbers = published(&server.kill());
    assert!(numbers.first().is_none_or(|&first| first <= expected));
    assert_eq!(numbers.last().map_or(expected, |last| last + 1), committed);
}

#[test]
fn a_process_that_ends_leaves_its_records_and_nothing_else() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    let mut client = Client::connect(&server);
    client.subscribe("news");
    let before = server.descriptors();
    for n in 0..50 {
        let mut php = Php::attach(&server);
        php.broadcast(&["news"], "e", &n.to_string());
        // Dropped without a goodbye: the socket closes, the memory is the server's to drain.
        drop(php);
        assert_eq!(client.data(), n.to_string());
    }
    wait_until("all attachments are gone", || server.metric("attachments") == 0);
    assert_eq!(server.metric("attachments_ring"), 0);
    wait_until("no descriptor is left", || server.descriptors() <= before);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.pid())).unwrap();
    assert!(!maps.contains("memfd:"), "{maps}");
}

/// One message of the socket transport.
fn record(data: &str) -> Vec<u8> {
    let mut record = Vec::new();
    let channels = [&b"news"[..]];
    Draft::new(channels.into_iter(), b"e", data.as_bytes(), None).unwrap().encode(&mut record);
    let mut message = Vec::new();
    Message::Record(&record).encode(&mut message);
    message
}

fn attach_by_socket(server: &Server) -> Peer {
    let mut peer = Peer::connect(server);
    let proof = peer.prove(KEY, SECRET);
    peer.say(&Message::Attach { purpose: Purpose::Publish(Transport::Socket), proof });
    let Said::Attached(limits) = peer.hear() else { panic!("expected to be attached") };
    assert_eq!(limits.data_bytes_max, 256 * 1024);
    peer
}

#[test]
fn the_socket_transport_acknowledges_what_was_delivered() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    let mut client = Client::connect(&server);
    client.subscribe("news");
    let mut peer = attach_by_socket(&server);
    let bytes: Vec<u8> = (0..1000).flat_map(|n| record(&n.to_string())).collect();
    let mut writing = peer.stream.try_clone().unwrap();
    // In pieces that do not respect messages.
    let writer =
        std::thread::spawn(move || bytes.chunks(997).for_each(|piece| writing.write_all(piece).unwrap()));
    let mut acknowledged = 0;
    while acknowledged < 1000 {
        let Said::Ack(records) = peer.hear() else { panic!("expected an acknowledgement") };
        assert!(records > acknowledged);
        acknowledged = records;
    }
    assert_eq!(acknowledged, 1000);
    writer.join().unwrap();
    for n in 0..1000 {
        assert_eq!(client.data(), n.to_string());
    }
    peer.say_bytes(&record(&"x".repeat(200_000)));
    assert_eq!(peer.hear(), Said::Ack(1001));
    assert_eq!(client.data().len(), 200_000);
    peer.say(&Message::Goodbye);
    assert_eq!(peer.hear(), Said::End);
}

#[test]
fn a_leaving_server_takes_what_the_socket_holds_and_acknowledges_it() {
    let directory = directory();
    let mut server = Server::start(&configuration(directory.path()));
    let mut client = Client::connect(&server);
    client.subscribe("news");
    let mut peer = attach_by_socket(&server);
    server.freeze();
    (0..100).for_each(|n| peer.say_bytes(&record(&n.to_string())));
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    for n in 0..100 {
        assert_eq!(client.data(), n.to_string());
    }
    let mut last = Said::Other;
    loop {
        match peer.hear() {
            Said::End => break,
            said => last = said,
        }
    }
    assert_eq!(last, Said::Ack(100));
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
}
