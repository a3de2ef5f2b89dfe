//! Who is let in, by `Origin` and over a real socket; and whose address a client has in the log.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::net::TcpStream;

use harness::client::Client;
use harness::{PATIENCE, Server, configuration, directory, wait_until};
use serde_json::{Value, json};

const PATH: &str = "/app/app-key?protocol=7&client=js&version=8.6.0&flash=false";

/// A server whose app has these settings.
fn serve(settings: &Value) -> (Server, tempfile::TempDir) {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    for (name, value) in settings.as_object().unwrap() {
        configuration["apps"][0][name] = value.clone();
    }
    (Server::start(&configuration), directory)
}

fn upgrade(server: &Server, headers: &[(&'static str, &str)]) -> Client {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client::upgrade_with(stream, server.address, PATH, headers)
}

fn let_in(server: &Server, headers: &[(&'static str, &str)]) {
    upgrade(server, headers).greeted().settle();
}

/// The upgrade is accepted, then come an error and a close frame with the same code and reason, then the end of
/// the connection: a browser shows a script nothing of a refused upgrade, and without a code it would try again.
fn refused(server: &Server, headers: &[(&'static str, &str)]) {
    let mut client = upgrade(server, headers);
    let error = client.event();
    assert_eq!(
        (&error["event"], &error["data"]["code"]),
        (&json!("pusher:error"), &json!(4009)),
        "{headers:?}"
    );
    let close = client.close_frame();
    assert_eq!(u16::from(close.code), 4009);
    assert_eq!(error["data"]["message"], close.reason.as_str());
    assert!(close.reason.len() <= 123 && !close.reason.is_empty(), "{close}");
    client.finish();
}

#[test]
fn c6_origins_are_judged_by_host_wildcard_scheme_and_port() {
    let (server, _directory) = serve(&json!({"allowed_origins": [
        "example.com", "*.wild.test", "https://secure.test", "https://*.deep.test:8443", "localhost:3000",
        "http://[::1]:5173", "capacitor://localhost",
    ]}));
    for origin in [
        "https://example.com",
        "http://example.com:8080",
        "HTTPS://EXAMPLE.COM",
        "https://a.wild.test",
        "http://a.b.wild.test:81",
        "https://secure.test",
        "https://secure.test:443",
        "https://a.b.deep.test:8443",
        "http://localhost:3000",
        "http://[::1]:5173",
        "capacitor://localhost",
    ] {
        let_in(&server, &[("origin", origin)]);
    }
    let others = [
        "https://www.example.com",
        "https://example.com.evil.test",
        "https://evil.test/?example.com",
        "https://evilexample.com",
        "https://wild.test",
        "https://awild.test",
        "http://secure.test",
        "https://secure.test:8443",
        "https://a.deep.test",
        "http://a.deep.test:8443",
        "https://deep.test:8443",
        "http://localhost",
        "http://localhost:3001",
        "http://[::2]:5173",
        "null",
        "",
        "example.com",
        "https://example.com/",
        "https://evil.test https://example.com",
    ];
    for origin in others {
        refused(&server, &[("origin", origin)]);
    }
    assert_eq!(server.metric("connections_refused_total"), others.len() as u64);
    wait_until("all who were let in are gone", || server.metric("connections") == 0);
}

#[test]
fn c6_every_origin_is_let_in_unless_origins_are_named() {
    let (server, _directory) = serve(&json!({}));
    let_in(&server, &[]);
    let_in(&server, &[("origin", "https://anywhere.test")]);
    let_in(&server, &[("origin", "null")]);
    let (server, _directory) = serve(&json!({"allowed_origins": ["https://example.com", "*"]}));
    let_in(&server, &[("origin", "https://anywhere.test")]);
}

#[test]
fn c6_a_client_without_an_origin_is_let_in_or_refused_as_the_app_says() {
    for (policy, lets_in) in [(json!("allow"), true), (json!(null), true), (json!("refuse"), false)] {
        for origins in [json!(["https://example.com"]), json!(["*"])] {
            let (server, _directory) = serve(&json!({"allowed_origins": origins, "missing_origin": policy}));
            if lets_in {
                let_in(&server, &[])
            } else {
                refused(&server, &[])
            }
            // The policy is about nothing else.
            let_in(&server, &[("origin", "https://example.com")]);
        }
    }
}

#[test]
fn c6_an_app_has_its_own_origins() {
    let (server, _directory) = serve(&json!({"allowed_origins": ["https://example.com"]}));
    refused(&server, &[("origin", "https://evil.test")]);
    let stream = TcpStream::connect(server.address).unwrap();
    let headers = [("origin", "https://evil.test")];
    Client::upgrade_with(stream, server.address, "/app/other-key", &headers).greeted().settle();
}

fn client_of(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap();
    event["fields"]["client"].as_str().unwrap().to_owned()
}

#[test]
fn the_log_names_a_client_by_what_trusted_proxies_say_and_by_nothing_else() {
    for (trusted, headers, expected) in [
        (json!([]), &[("x-forwarded-for", "203.0.113.9")][..], "127.0.0.1"),
        (json!(["10.0.0.0/8"]), &[("x-forwarded-for", "203.0.113.9")], "127.0.0.1"),
        (json!(["127.0.0.1"]), &[("x-forwarded-for", "203.0.113.9")], "203.0.113.9"),
        (json!(["*"]), &[("x-forwarded-for", "1.1.1.1, 203.0.113.9")], "203.0.113.9"),
        (
            json!(["127.0.0.1", "10.0.0.0/8"]),
            &[("x-forwarded-for", "1.1.1.1, [2001:db8::9]:4711"), ("x-forwarded-for", "10.0.0.7")],
            "2001:db8::9",
        ),
        (json!(["127.0.0.1"]), &[("x-forwarded-for", "203.0.113.9, unknown")], "127.0.0.1"),
        (json!(["127.0.0.1"]), &[], "127.0.0.1"),
    ] {
        let directory = directory();
        let mut configuration = configuration(directory.path());
        configuration["trusted_proxies"] = trusted;
        configuration["apps"][0]["allowed_origins"] = json!(["https://example.com"]);
        let server = Server::start(&configuration);
        let_in(&server, headers);
        assert_eq!(client_of(&server.logged("a client is let in")), expected, "{headers:?}");
        let evil = [headers, &[("origin", "https://evil.test")]].concat();
        refused(&server, &evil);
        assert_eq!(client_of(&server.logged("a client is refused")), expected, "{headers:?}");
    }
}
