//! TLS on the clients' port: who speaks it is served, who does not is told so, and certificates are renewed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use harness::client::Client;
use harness::php::Php;
use harness::tls::{Pair, dial};
use harness::{Server, configuration, directory, exchange, run_to_end, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_rustls::rustls::ProtocolVersion;

/// A configuration with TLS.
fn encrypted(directory: &Path, pair: &Pair) -> Value {
    let mut configuration = configuration(directory);
    configuration["tls"] = pair.write(directory);
    configuration
}

/// A configuration with TLS, in a file.
fn encrypted_file(directory: &Path, pair: &Pair) -> std::path::PathBuf {
    let file = directory.join("fanfare.json");
    std::fs::write(&file, encrypted(directory, pair).to_string()).unwrap();
    file
}

#[test]
fn a_client_over_tls_subscribes_and_receives_events_of_every_size() {
    let (directory, pair) = (directory(), Pair::new());
    let server = Server::start(&encrypted(directory.path(), &pair));
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect_tls(&server, &[&pair])).collect();
    for client in &mut clients {
        assert_eq!(client.socket.get_ref().conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(client.socket.get_ref().conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        client.subscribe("news");
    }
    let mut php = Php::attach(&server);
    // From less than one TLS record to several times what a session holds.
    for bytes in [1, 100, 20_000, 250_000] {
        php.broadcast(&["news"], "e", &"x".repeat(bytes));
    }
    for n in 0..500 {
        php.broadcast(&["news"], "e", &n.to_string());
    }
    for client in &mut clients {
        for bytes in [1, 100, 20_000, 250_000] {
            assert_eq!(client.data().len(), bytes);
        }
        for n in 0..500 {
            assert_eq!(client.data(), n.to_string());
        }
        client.settle();
    }
    php.drained();
    assert!(server.logged("\"serving\"").contains("\"tls\":true"));
    assert_eq!(server.metric("tls_handshakes_failed_total"), 0);
}

#[test]
fn http_is_answered_over_tls_too() {
    let (directory, pair) = (directory(), Pair::new());
    let server = Server::start(&encrypted(directory.path(), &pair));
    let answer = exchange(&mut dial(&server, &[&pair]), "/up");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"health":"OK"}"#), "{answer}");
    let answer = exchange(&mut dial(&server, &[&pair]), "/app/app-key");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    // The Unix socket stays as it is: nobody can listen in there.
    assert!(server.get_local("/up").starts_with("HTTP/1.1 200 "));
}

/// Upon 4000, pusher-js connects again at once, with wss.
#[test]
fn c4_a_client_without_tls_is_told_4000_and_closed() {
    let (directory, pair) = (directory(), Pair::new());
    let server = Server::start(&encrypted(directory.path(), &pair));
    for path in ["/app/app-key?protocol=7", "/app/unknown", "/nowhere"] {
        let mut client = Client::upgrade(&server, path);
        let error = client.event();
        assert_eq!((&error["event"], &error["data"]["code"]), (&json!("pusher:error"), &json!(4000)));
        let close = client.close_frame();
        assert_eq!(u16::from(close.code), 4000);
        assert_eq!(close.reason, error["data"]["message"].as_str().unwrap());
        assert!(close.reason.contains("wss://"), "{close}");
        client.finish();
    }
    assert_eq!(server.metric("connections_refused_total"), 3);
    assert_eq!(server.metric("connections"), 0);
}

#[test]
fn another_request_without_tls_is_answered_400() {
    let (directory, pair) = (directory(), Pair::new());
    let server = Server::start(&encrypted(directory.path(), &pair));
    for path in ["/up", "/app/app-key", "/nowhere"] {
        let answer = server.get(path);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("application/json"), "{answer}");
        let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(body["error"]["code"], "tls_required");
        assert!(body["error"]["message"].as_str().unwrap().contains("https://"), "{body}");
    }
    for garbage in [&b"\0\0\0\0"[..], b"SSH-2.0-x\r\n\r\n", b"\x80\x2e\x01\x00\x02"] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // The kernel resets the connection when something was left unread.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    }
    Client::connect_tls(&server, &[&pair]).settle();
}

#[test]
fn sighup_renews_the_certificate_and_connections_go_on() {
    let directory = directory();
    let (old, new) = (Pair::new(), Pair::new());
    let server = Server::start_from(&encrypted_file(directory.path(), &old));
    let mut before = Client::connect_tls(&server, &[&old, &new]);
    assert_eq!(before.certificate(), old.der());
    before.subscribe("news");

    new.write(directory.path());
    assert_eq!(Client::connect_tls(&server, &[&old, &new]).certificate(), old.der(), "before the signal");
    server.signal(Signal::HUP);
    server.logged("is read again and taken");
    let mut after = Client::connect_tls(&server, &[&old, &new]);
    assert_eq!(after.certificate(), new.der());
    after.subscribe("news");
    Php::attach(&server).broadcast(&["news"], "e", "to both");
    assert_eq!((before.data(), after.data()), ("to both".into(), "to both".into()));
    assert_eq!(server.metric("reloads_total"), 1);
}

#[test]
fn sighup_renews_the_certificate_where_the_configuration_came_on_standard_input() {
    let directory = directory();
    let (old, new) = (Pair::new(), Pair::new());
    let server = Server::start(&encrypted(directory.path(), &old));
    new.write(directory.path());
    server.signal(Signal::HUP);
    server.logged("certificate and key are read again and taken");
    assert!(server.logged("cannot be read again").contains("restart"));
    assert_eq!(Client::connect_tls(&server, &[&old, &new]).certificate(), new.der());
}

#[test]
fn a_broken_pair_is_refused_and_the_old_one_stays() {
    let directory = directory();
    let (old, new) = (Pair::new(), Pair::new());
    let server = Server::start_from(&encrypted_file(directory.path(), &old));
    let mut before = Client::connect_tls(&server, &[&old]);
    let certificate = directory.path().join("fullchain.pem");
    let (half_written, gone): (&dyn Fn(), &dyn Fn()) = (
        // As it stands between the two writes of who renews it.
        &|| std::fs::write(&certificate, new.certificate()).unwrap(),
        &|| std::fs::remove_file(&certificate).unwrap(),
    );
    for (n, (spoil, field)) in
        [(half_written, "tls.key: expected"), (gone, "tls.certificate: expected")].into_iter().enumerate()
    {
        spoil();
        server.signal(Signal::HUP);
        let line = server.logged_times(n + 1, "everything stays as it was");
        assert!(line.contains("\"ERROR\"") && line.contains(field), "{line}");
        assert_eq!(Client::connect_tls(&server, &[&old, &new]).certificate(), old.der());
        assert_eq!(server.metric("reloads_refused_total"), n as u64 + 1);
    }
    before.settle();
    new.write(directory.path());
    server.signal(Signal::HUP);
    server.logged("is read again and taken");
    assert_eq!(Client::connect_tls(&server, &[&old, &new]).certificate(), new.der());
}

#[test]
fn tls_may_begin_and_end_with_a_reload() {
    let (directory, pair) = (directory(), Pair::new());
    let file = encrypted_file(directory.path(), &pair);
    let server = Server::start_from(&file);
    let mut with = Client::connect_tls(&server, &[&pair]);
    std::fs::write(&file, configuration(directory.path()).to_string()).unwrap();
    server.signal(Signal::HUP);
    server.logged_times(1, "is read again and taken");
    let mut without = Client::connect(&server);
    encrypted_file(directory.path(), &pair);
    server.signal(Signal::HUP);
    server.logged_times(2, "is read again and taken");
    Client::connect_tls(&server, &[&pair]).settle();
    with.settle();
    without.settle();
}

#[test]
fn mistakes_in_certificate_and_key_are_told_at_once_with_what_to_do() {
    let directory = directory();
    let (pair, other) = (Pair::new(), Pair::new());
    let mut configuration = encrypted(directory.path(), &pair);
    let said = |certificate: &[u8], key: &[u8]| {
        std::fs::write(directory.path().join("fullchain.pem"), certificate).unwrap();
        std::fs::write(directory.path().join("privkey.pem"), key).unwrap();
        let (status, stderr) = run_to_end(&["check", "--config", "-"], &configuration.to_string());
        (status.code(), stderr)
    };
    let (certificate, key) = (pair.certificate(), pair.key());
    let expect = |certificate: &[u8], key: &[u8], mistakes: &[&str]| {
        let (code, stderr) = said(certificate, key);
        assert_eq!(code, Some(64), "{stderr}");
        for mistake in mistakes {
            assert!(stderr.contains(mistake), "expected {mistake} in {stderr}");
        }
        assert_eq!(stderr.matches(": expected ").count(), stderr.lines().count() - 1, "{stderr}");
        assert!(!stderr.contains(key_inside(&pair).as_str()), "a key is shown");
    };
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let legacy =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
    let not_one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    // The two files in each other's place.
    expect(
        key.as_bytes(),
        certificate.as_bytes(),
        &[
            "tls.certificate: ",
            "fullchain.pem with PRIVATE KEY;",
            "tls.key: ",
            "privkey.pem with CERTIFICATE;",
        ],
    );
    expect(b"", b"\x30\x82\xff", &["fullchain.pem with nothing in PEM", "privkey.pem with nothing in PEM"]);
    expect(request.as_bytes(), encrypted.as_bytes(), &["CERTIFICATE REQUEST", "passphrase", "openssl pkey"]);
    expect(certificate.as_bytes(), legacy.as_bytes(), &["passphrase"]);
    expect(
        certificate.as_bytes(),
        other.key().as_bytes(),
        &["tls.key: ", "fullchain.pem", "belong together"],
    );
    expect(not_one.as_bytes(), key.as_bytes(), &["tls.certificate: ", "cannot be read"]);
    expect(&certificate.as_bytes()[..100], key.as_bytes(), &["tls.certificate: "]);
    let damaged = key.replacen("MIG", "M*G", 1);
    expect(certificate.as_bytes(), damaged.as_bytes(), &["tls.key: "]);
    let both = format!("{key}{}", other.key());
    expect(certificate.as_bytes(), both.as_bytes(), &["tls.key: ", "with 2 keys"]);
    // One file with everything, and one with the authority's certificate behind, are fine.
    let everything = format!("{key}{certificate}{}", other.certificate());
    assert_eq!(said(everything.as_bytes(), everything.as_bytes()).0, Some(0));

    configuration["tls"] = json!({"certificate": "/nowhere/fullchain.pem", "key": directory.path()});
    configuration["shards"] = 0.into();
    let (status, stderr) = run_to_end(&["serve", "--config", "-"], &configuration.to_string());
    assert_eq!(status.code(), Some(64));
    for mistake in ["shards: ", "tls.certificate: ", "/nowhere/fullchain.pem (No such file", "tls.key: "] {
        assert!(stderr.contains(mistake), "expected {mistake} in {stderr}");
    }
    configuration["tls"] = json!({"certificate": "fullchain.pem", "cert": 1});
    let (_, stderr) = run_to_end(&["check", "--config", "-"], &configuration.to_string());
    for mistake in ["tls.certificate: expected an absolute path", "tls.key: expected this", "tls.cert: "] {
        assert!(stderr.contains(mistake), "expected {mistake} in {stderr}");
    }
}

/// A line from the middle of the key's file.
fn key_inside(pair: &Pair) -> String {
    pair.key().lines().nth(1).unwrap().to_owned()
}

#[test]
fn who_does_not_finish_the_handshake_is_closed_and_nobody_waits() {
    let (directory, pair) = (directory(), Pair::new());
    let mut configuration = encrypted(directory.path(), &pair);
    configuration["shards"] = 1.into();
    configuration["limits"] = json!({"tls_handshake_timeout_ms": 60_000});
    let server = Server::start(&configuration);
    let silent = TcpStream::connect(server.address).unwrap();
    let mut slow = TcpStream::connect(server.address).unwrap();
    // A handshake record of 512 bytes that does not come.
    slow.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    // They have a minute, and are accepted first; that these are served shows that nobody waits for them.
    Client::connect_tls(&server, &[&pair]).settle();
    assert_eq!(server.metric("tls_handshakes_failed_total"), 0);
    drop((silent, slow));
    // One has failed; who has said nothing only looked.
    wait_until("the failed handshake is counted", || server.metric("tls_handshakes_failed_total") == 1);
    drop(server);

    configuration["limits"] = json!({"tls_handshake_timeout_ms": 1});
    let server = Server::start(&configuration);
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        // It may have been closed already.
        let _ = stream.write_all(bytes);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"");
    }
    wait_until("both are counted", || server.metric("tls_handshakes_failed_total") == 2);
    server.logged("a TLS handshake failed");
}

#[test]
fn sockets_that_do_not_finish_the_handshake_make_room_for_clients() {
    let (directory, pair) = (directory(), Pair::new());
    let mut configuration = encrypted(directory.path(), &pair);
    configuration["shards"] = 1.into();
    configuration["limits"] = json!({"http_connections_max": 3, "tls_handshake_timeout_ms": 600_000});
    let server = Server::start(&configuration);
    let crowd: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    for mut stream in &crowd {
        // The ones that had to go may have been closed already.
        let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01");
    }
    Client::connect_tls(&server, &[&pair]).settle();
    assert!(server.metric("http_connections_turned_out_total") >= 17);
}

#[test]
fn what_is_no_handshake_behind_its_first_byte_is_counted_and_harms_nobody() {
    let (directory, pair) = (directory(), Pair::new());
    let server = Server::start(&encrypted(directory.path(), &pair));
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"\x16garbage garbage garbage").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    // An alert, unless the kernel threw it away.
    assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
    wait_until("it is counted", || server.metric("tls_handshakes_failed_total") == 1);
    // A record that is not what it says, in the middle of a conversation: that connection ends.
    let mut client = Client::connect_tls(&server, &[&pair]);
    client.socket.get_mut().sock.write_all(b"\x17\x03\x03\x00\x20garbage garbage garbage garbage!").unwrap();
    assert!(client.socket.read().is_err());
    wait_until("it is gone", || server.metric("connections") == 0);
    Client::connect_tls(&server, &[&pair]).settle();
}

#[test]
fn a_client_over_tls_that_does_not_keep_up_is_closed_and_others_are_not_delayed() {
    let (directory, pair) = (directory(), Pair::new());
    let mut configuration = encrypted(directory.path(), &pair);
    configuration["shards"] = 1.into();
    configuration["limits"] = json!({"outbox_bytes_max": 65_536, "close_timeout_ms": 60_000});
    let server = Server::start(&configuration);
    let mut stuck = Client::connect_tls(&server, &[&pair]);
    stuck.subscribe("news");
    let mut reading = Client::connect_tls(&server, &[&pair]);
    reading.subscribe("news");
    let mut php = Php::attach(&server);
    let data = "x".repeat(10_000);
    let mut sent = 0;
    // What the kernel takes for a client that does not read differs; it ends somewhere.
    wait_until("its outbox is full", || {
        php.broadcast(&["news"], "e", &data);
        assert_eq!(reading.data().len(), data.len());
        sent += 1;
        server.metric("outbox_overflows_total") == 1
    });
    let line = server.logged("does not keep up");
    assert!(line.contains("\"client\":\"127.0.0.1\""), "{line}");
    let mut received = 0;
    let error = loop {
        let event = stuck.event();
        if event["event"] == "pusher:error" {
            break event;
        }
        received += 1;
    };
    assert!(received < sent);
    assert_eq!(error["data"]["code"], 4100);
    assert_eq!(u16::from(stuck.close_frame().code), 4100);
    stuck.finish();
}

#[test]
fn a_leaving_server_closes_tls_in_good_order() {
    let (directory, pair) = (directory(), Pair::new());
    let mut server = Server::start(&encrypted(directory.path(), &pair));
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect_tls(&server, &[&pair])).collect();
    server.signal(Signal::TERM);
    for client in &mut clients {
        assert_eq!(u16::from(client.close_frame().code), 4200);
    }
    // Which includes TLS' own close_notify: without it a client could not tell the end from a cut line.
    clients.into_iter().for_each(Client::finish);
    assert_eq!(server.wait().code(), Some(0));
}
