//! Records, messages and a ring's header of each format version, byte for byte. Only ever added to: a build that
//! cannot read them cannot talk to a part that was deployed earlier.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use fanfare_wire::attach::{Message, Purpose, RefusalCode, Transport, prove};
use fanfare_wire::record::{self, Draft, PublicationLimits};
use fanfare_wire::ring::Producer;

/// The bytes of `tests/golden/{name}.hex`: hexadecimal, white space and `#` comments left out.
fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let digits: String = text
        .lines()
        .flat_map(|line| line.split('#').next())
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[i * 2..i * 2 + 2], 16).unwrap()).collect()
}

fn assert_record(name: &str, channels: &[&str], event: &str, data: &[u8], except: Option<&str>) {
    let bytes = golden(name);
    let record = record::decode(&bytes).unwrap();
    assert!(record.channels().eq(channels.iter().map(|c| c.as_bytes())), "{name}: channels");
    assert_eq!(record.event, event.as_bytes(), "{name}: event");
    assert_eq!(record.data, data, "{name}: data");
    assert_eq!(record.except, except.map(str::as_bytes), "{name}: except");
    let draft =
        Draft::new(channels.iter().map(|c| c.as_bytes()), event.as_bytes(), data, except.map(str::as_bytes));
    let mut again = Vec::new();
    draft.unwrap().encode(&mut again);
    assert_eq!(again, bytes, "{name}: encoding");
}

#[test]
fn record_v1() {
    assert_record("record-v1-plain", &["orders"], "OrderShipped", br#"{"id":1}"#, None);
    assert_record(
        "record-v1-many",
        &["a", "private-b", "presence-c"],
        "App\\Events\\X",
        "\"ä\"".as_bytes(),
        Some("123.456"),
    );
    assert_record("record-v1-empty-data", &["x"], "y", b"", None);
}

#[test]
fn attach_v1() {
    let nonce = [0x11; 32];
    let messages = [
        ("hello", Message::Hello { key: b"app-key", client: "php-8.4" }),
        ("challenge", Message::Challenge { nonce }),
        (
            "attach",
            Message::Attach {
                purpose: Purpose::Publish(Transport::Ring),
                proof: prove(b"app-secret", &nonce, b"app-key"),
            },
        ),
        (
            "attached",
            Message::Attached {
                limits: PublicationLimits {
                    data_bytes_max: 131_072,
                    channel_bytes_max: 200,
                    event_bytes_max: 164,
                },
                server: "fanfare-0.1.0",
            },
        ),
        ("refused", Message::Refused { code: RefusalCode::Credentials, message: "no" }),
        ("record", Message::Record(b"abc")),
        ("ack", Message::Ack { records: 258 }),
        ("goodbye", Message::Goodbye),
        (
            "attach-ask",
            Message::Attach { purpose: Purpose::Ask, proof: prove(b"app-secret", &nonce, b"app-key") },
        ),
        ("ask", Message::Ask { method: "GET", target: "/channels", body: b"{}" }),
        ("answer", Message::Answer { status: 404, body: b"{\"a\":1}" }),
    ];
    for (name, message) in messages {
        let bytes = golden(&format!("attach-v1-{name}"));
        assert_eq!(Message::decode(&bytes), Ok(Some((message, bytes.len()))), "{name}");
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(again, bytes, "{name}");
    }
}

#[test]
fn ring_header_v1() {
    let (_producer, memfd) = Producer::create(4096).unwrap();
    let mut header = [0; 512];
    rustix::io::pread(&memfd, &mut header, 0).unwrap();
    let mut expected = golden("ring-v1-header");
    expected.resize(512, 0);
    assert_eq!(header[..], expected[..]);
}
