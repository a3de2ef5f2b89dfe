//! SIGHUP: the configuration is read again, and only what it changes changes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fanfare_wire::attach::{Message, Purpose, RefusalCode, Transport};
use harness::client::Client;
use harness::php::{Peer, Php, Said};
use harness::receiver::Receiver;
use harness::{KEY, SECRET, Server, configuration, directory, run_to_end};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use serde_json::{Value, json};

/// A server whose configuration a test changes.
struct Scene {
    server: Server,
    file: PathBuf,
    configuration: Value,
    reloads: usize,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new(apps: &Value) -> Self {
        let directory = directory();
        let mut configuration = configuration(directory.path());
        configuration["apps"] = apps.clone();
        let file = write(directory.path(), &configuration);
        let server = Server::start_from(&file);
        Self { server, file, configuration, reloads: 0, _directory: directory }
    }

    /// Has the configuration, as it is now, read again. Gives what was logged about it.
    fn reload(&mut self) -> String {
        std::fs::write(&self.file, self.configuration.to_string()).unwrap();
        self.server.signal(Signal::HUP);
        self.reloads += 1;
        self.server.logged_times(self.reloads, "is read again and taken")
    }
}

fn write(directory: &Path, configuration: &Value) -> PathBuf {
    let file = directory.join("fanfare.json");
    std::fs::write(&file, configuration.to_string()).unwrap();
    file
}

fn app(name: &str) -> Value {
    json!({"id": name, "key": format!("{name}-key"), "secret": format!("{name}-secret")})
}

fn connect(server: &Server, app: &str) -> Client {
    Client::upgrade(server, &format!("/app/{app}-key?protocol=7")).greeted()
}

/// Hears why it is turned away: in a message and in the close frame, then the end.
fn turned_away(mut client: Client) -> u16 {
    let error = client.event();
    assert_eq!(error["event"], "pusher:error");
    let close = client.close_frame();
    assert_eq!(error["data"]["code"], u16::from(close.code));
    assert_eq!(error["data"]["message"], close.reason.as_str());
    client.finish();
    close.code.into()
}

fn attach_by_socket(server: &Server, key: &str, secret: &str) -> Peer {
    let mut peer = Peer::connect(server);
    let proof = peer.prove(key, secret);
    peer.say(&Message::Attach { purpose: Purpose::Publish(Transport::Socket), proof });
    peer
}

#[test]
fn apps_are_added_changed_disabled_and_removed_while_the_others_go_on() {
    let mut scene = Scene::new(&json!([app("app"), app("changed"), app("disabled"), app("removed")]));
    let server = &scene.server;
    let mut php = Php::attach(server);
    let mut clients: Vec<Client> = (0..8).map(|_| connect(server, "app")).collect();
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    let mut changed = connect(server, "changed");
    let disabled: Vec<Client> = (0..4).map(|_| connect(server, "disabled")).collect();
    let removed: Vec<Client> = (0..4).map(|_| connect(server, "removed")).collect();
    let mut attached = attach_by_socket(server, "removed-key", "removed-secret");
    assert!(matches!(attached.hear(), Said::Attached(_)));

    let mut other = app("changed");
    other["allowed_origins"] = json!(["https://example.com"]);
    other["missing_origin"] = "refuse".into();
    let mut off = app("disabled");
    off["enabled"] = false.into();
    scene.configuration["apps"] = json!([app("app"), other, off, app("added")]);
    let line = scene.reload();
    for count in ["\"apps_added\":1", "\"apps_changed\":2", "\"apps_removed\":1"] {
        assert!(line.contains(count), "{line}");
    }

    for client in disabled {
        assert_eq!(turned_away(client), 4003);
    }
    for client in removed {
        assert_eq!(turned_away(client), 4001);
    }
    assert_eq!(attached.refused().0, RefusalCode::Credentials);
    let server = &scene.server;
    // Who is there stays; who comes is judged by what holds now.
    changed.settle();
    assert_eq!(turned_away(Client::upgrade(server, "/app/changed-key?protocol=7")), 4009);
    assert_eq!(turned_away(Client::upgrade(server, "/app/disabled-key?protocol=7")), 4003);
    assert_eq!(turned_away(Client::upgrade(server, "/app/removed-key?protocol=7")), 4001);
    connect(server, "added").settle();
    php.broadcast(&["news"], "e", "and on");
    for client in &mut clients {
        assert_eq!(client.data(), "and on");
    }
    php.drained();

    // And back again.
    scene.configuration["apps"] = json!([app("app"), app("changed"), app("disabled"), app("removed")]);
    scene.reload();
    for name in ["changed", "disabled", "removed"] {
        connect(&scene.server, name).settle();
    }
    php.broadcast(&["news"], "e", "and on");
    clients.iter_mut().for_each(|client| assert_eq!(client.data(), "and on"));
    assert_eq!(scene.server.metric("reloads_total"), 2);
}

#[test]
fn the_limits_of_connections_that_are_open_follow() {
    let mut scene = Scene::new(&json!([app("app")]));
    let [mut before, mut after] = [(); 2].map(|()| connect(&scene.server, "app"));
    let long = json!({"event": "pusher:ping", "data": {"padding": "x".repeat(2_000)}});
    before.send(&long);
    assert_eq!(before.event()["event"], "pusher:pong");
    scene.configuration["apps"][0]["limits"] = json!({"message_bytes_max": 1_024});
    scene.reload();
    for client in [&mut before, &mut after] {
        client.send(&long);
        let close = client.close_frame();
        assert_eq!(u16::from(close.code), 1009, "{close:?}");
        assert!(close.reason.contains("at most 1024 bytes (message_bytes_max)"), "{close:?}");
    }
}

#[test]
fn the_same_configuration_changes_nothing() {
    let mut scene = Scene::new(&json!([app("app")]));
    let mut client = connect(&scene.server, "app");
    client.subscribe("news");
    for _ in 0..3 {
        let line = scene.reload();
        for count in ["\"apps_added\":0", "\"apps_changed\":0", "\"apps_removed\":0"] {
            assert!(line.contains(count), "{line}");
        }
    }
    Php::attach(&scene.server).broadcast(&["news"], "e", "and on");
    assert_eq!(client.data(), "and on");
    assert_eq!(scene.server.log_lines("needs a restart"), Vec::<String>::new());
}

#[test]
fn a_key_and_a_secret_may_be_replaced_and_clients_stay() {
    let mut scene = Scene::new(&json!([app("app")]));
    let mut client = connect(&scene.server, "app");
    let mut php = Php::attach(&scene.server);
    client.subscribe("news");
    scene.configuration["apps"] = json!([{"id": "app", "key": "new-key", "secret": "new-secret"}]);
    scene.reload();
    php.broadcast(&["news"], "e", "from before");
    assert_eq!(client.data(), "from before");
    assert_eq!(turned_away(Client::upgrade(&scene.server, "/app/app-key?protocol=7")), 4001);
    Client::upgrade(&scene.server, "/app/new-key?protocol=7").greeted().settle();
    assert_eq!(attach_by_socket(&scene.server, KEY, SECRET).refused().0, RefusalCode::Credentials);
    let mut peer = attach_by_socket(&scene.server, "new-key", "new-secret");
    assert!(matches!(peer.hear(), Said::Attached(_)));
}

#[test]
fn with_mistakes_all_are_told_and_everything_stays_as_it_was() {
    let mut scene = Scene::new(&json!([app("app"), app("other")]));
    let (mut client, mut other) = (connect(&scene.server, "app"), connect(&scene.server, "other"));
    client.subscribe("news");
    // It would remove one app, add another and trust a proxy, were it not for its mistakes.
    let mistaken = json!({"listen": 7, "socket": scene.configuration["socket"], "trusted_proxies": ["*", "here"],
        "tls": {"certificate": "/nowhere/fullchain.pem", "key": "/nowhere/privkey.pem"},
        "apps": [app("app"), app("added"), app("added")]});
    let paths = ["listen", "trusted_proxies[1]", "apps[2].id", "apps[2].key", "tls.certificate", "tls.key"];
    std::fs::write(&scene.file, mistaken.to_string()).unwrap();
    scene.server.signal(Signal::HUP);
    scene.server.logged_times(paths.len(), "everything stays as it was");
    for path in paths {
        let line = scene.server.logged(&format!("\"mistake\":\"{path}: expected "));
        assert!(line.contains("\"ERROR\""), "{line}");
    }
    for (n, text) in ["", "{", "[]"].into_iter().enumerate() {
        std::fs::write(&scene.file, text).unwrap();
        scene.server.signal(Signal::HUP);
        scene.server.logged_times(paths.len() + n + 1, "everything stays as it was");
    }
    std::fs::remove_file(&scene.file).unwrap();
    scene.server.signal(Signal::HUP);
    let line = scene.server.logged("the configuration cannot be read again");
    assert!(line.contains("fanfare.json") && line.contains("No such file"), "{line}");

    assert_eq!(scene.server.metric("reloads_refused_total"), 5);
    assert_eq!(scene.server.metric("reloads_total"), 0);
    assert_eq!(turned_away(Client::upgrade(&scene.server, "/app/added-key?protocol=7")), 4001);
    other.settle();
    Php::attach(&scene.server).broadcast(&["news"], "e", "and on");
    assert_eq!(client.data(), "and on");
    scene.reload();
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_is_taken() {
    let mut scene = Scene::new(&json!([app("app")]));
    let address = scene.server.address;
    scene.configuration["listen"] = "127.0.0.1:1".into();
    scene.configuration["path"] = "/ws".into();
    scene.configuration["log"]["level"] = "error".into();
    scene.configuration["limits"] = json!({"outbox_bytes_max": 65_536, "connection_channels_max": 1});
    scene.configuration["apps"] = json!([app("app"), app("added")]);
    scene.reload();
    let line = scene.server.logged("needs a restart");
    assert!(line.contains(r#""fields":"listen, path, log.level, limits.outbox_bytes_max""#), "{line}");
    assert_eq!(scene.server.address, address);
    let mut client = connect(&scene.server, "added");
    client.subscribe("one");
    // A limit that is an app's own is taken at once, the node's as its default too.
    client.send(r#"{"event":"pusher:subscribe","data":{"channel":"two"}}"#);
    assert_eq!(client.event()["event"], "pusher:subscription_error");
}

#[test]
fn w_webhooks_that_are_added_are_told_and_removed_ones_are_not() {
    let (receiver, other) = (Receiver::start(), Receiver::start());
    let mut scene = Scene::new(&json!([app("app")]));
    let mut client = connect(&scene.server, "app");
    let occupied = |channel: &str| json!({"name": "channel_occupied", "channel": channel});
    client.subscribe("before");
    for (receiver, channel) in [(&receiver, "one"), (&other, "two"), (&receiver, "three")] {
        scene.configuration["apps"][0]["webhooks"] = json!([{"url": receiver.url("/")}]);
        scene.reload();
        client.subscribe(channel);
        assert_eq!(receiver.events_until(|_| true), [occupied(channel)]);
    }
    assert!(other.rest().is_empty() && receiver.rest().is_empty());
}

#[test]
fn trusted_proxies_are_taken_anew() {
    let mut scene = Scene::new(&json!([app("app")]));
    let connect = |n, server: &Server| {
        let stream = std::net::TcpStream::connect(server.address).unwrap();
        let headers = [("x-forwarded-for", "203.0.113.9")];
        Client::upgrade_with(stream, server.address, "/app/app-key", &headers).greeted();
        server.logged_times(n, "a client is let in")
    };
    let line = connect(1, &scene.server);
    assert!(line.contains("\"client\":\"127.0.0.1\""), "{line}");
    scene.configuration["trusted_proxies"] = json!(["127.0.0.0/8"]);
    scene.reload();
    let line = connect(2, &scene.server);
    assert!(line.contains("\"client\":\"203.0.113.9\""), "{line}");
}

#[test]
fn a_configuration_from_standard_input_cannot_be_read_again_and_that_is_said() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    let mut client = Client::connect(&server);
    client.subscribe("news");
    server.signal(Signal::HUP);
    let line = server.logged("came on standard input");
    assert!(line.contains("\"WARN\"") && line.contains("fanfare:start"), "{line}");
    Php::attach(&server).broadcast(&["news"], "e", "and on");
    assert_eq!(client.data(), "and on");
}

#[test]
fn a_leaving_server_reads_nothing_again() {
    let mut scene = Scene::new(&json!([app("app")]));
    let mut client = connect(&scene.server, "app");
    scene.server.signal(Signal::TERM);
    assert_eq!(u16::from(client.close_frame().code), 4200);
    scene.server.signal(Signal::HUP);
    client.finish();
    assert_eq!(scene.server.wait().code(), Some(0));
    assert_eq!(scene.server.log_lines("read again"), Vec::<String>::new());
}

#[test]
fn the_help_says_what_sighup_does() {
    let output = Command::new(env!("CARGO_BIN_EXE_fanfare")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("on SIGHUP, read the configuration again"), "{help}");
    assert_eq!(run_to_end(&["check", "--config", "-"], "{}").0.code(), Some(64));
}

/// A terminal of its own for a command that logs to a pipe: the terminal's other end, and the command. SIGHUP has its
/// effect there, even if whoever runs the tests was itself started by nohup.
fn on_a_terminal(arguments: &[&str]) -> (OwnedFd, Child) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let person = openpt(flags).unwrap();
    unlockpt(&person).unwrap();
    let terminal = ioctl_tiocgptpeer(&person, flags).unwrap();
    let child = Command::new("env")
        .args(["--default-signal=HUP", "setsid", "--ctty"])
        .args(arguments)
        .stdin(terminal)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (person, child)
}

const FANFARE: &str = env!("CARGO_BIN_EXE_fanfare");

#[test]
fn a_closed_terminal_ends_the_server_but_sighup_on_an_open_one_does_not() {
    let directory = directory();
    let file = write(directory.path(), &configuration(directory.path()));
    let (person, child) = on_a_terminal(&[FANFARE, "serve", "--config", file.to_str().unwrap()]);
    let mut server = Server::started(child);
    server.signal(Signal::HUP);
    server.logged("is read again and taken");
    let mut client = Client::connect(&server);
    drop(person);
    assert_eq!(u16::from(client.close_frame().code), 4200);
    client.finish();
    assert_eq!(server.wait().code(), Some(0));
    server.logged("the terminal is closed");
}

/// Who follows the process that started it waits for that one to end: `artisan` may itself have been started by nohup.
#[test]
fn nohup_or_following_its_parent_keeps_the_server_when_its_terminal_is_closed() {
    let (before, behind) = (["nohup"].as_slice(), ["--stop-with-parent"].as_slice());
    for (before, behind) in [(before, [].as_slice()), ([].as_slice(), behind)] {
        let directory = directory();
        let file = write(directory.path(), &configuration(directory.path()));
        let arguments = [before, &[FANFARE, "serve", "--config", file.to_str().unwrap()], behind].concat();
        let (person, child) = on_a_terminal(&arguments);
        let mut server = Server::started(child);
        drop(person);
        server.logged("is read again and taken");
        Client::connect(&server).settle();
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0));
        assert_eq!(server.log_lines("the terminal is closed"), Vec::<String>::new());
    }
}

/// The kernel then sends SIGHUP to what runs in the foreground, and takes the terminal away after that.
#[test]
fn a_shell_that_ends_leaves_no_server_behind() {
    let directory = directory();
    let file = write(directory.path(), &configuration(directory.path()));
    let script = "\"$0\" serve --config \"$1\" & read line; exit 0";
    let (person, mut shell) = on_a_terminal(&["sh", "-c", script, FANFARE, file.to_str().unwrap()]);
    let mut log = BufReader::new(shell.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("\"serving\"")), "it did not start");
    let mut person = File::from(person);
    person.write_all(b"\n").unwrap();
    assert_eq!(shell.wait().unwrap().code(), Some(0));
    assert!(log.any(|line| line.contains("the terminal is closed")), "it did not leave");
    assert!(log.any(|line| line.contains("\"stopped\"")), "it did not leave in good order");
    assert_eq!(log.next(), None);
}
