use super::*;

const LIMITS: PublicationLimits =
    PublicationLimits { data_bytes_max: 123_456, channel_bytes_max: 200, event_bytes_max: 164 };

fn encoded(message: Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

fn every_kind() -> Vec<Message<'static>> {
    vec![
        Message::Hello { key: b"app-key", client: "php-8.4 fanfare-0.1.0" },
        Message::Challenge { nonce: [7; NONCE_BYTES] },
        Message::Attach { purpose: Purpose::Publish(Transport::Ring), proof: [9; PROOF_BYTES] },
        Message::Attach { purpose: Purpose::Publish(Transport::Socket), proof: [0; PROOF_BYTES] },
        Message::Attached { limits: LIMITS, server: "fanfare-0.1.0" },
        Message::Refused { code: RefusalCode::User, message: "expected …, found …" },
        Message::Record(b"\x01\x02\x03"),
        Message::Ack { records: u64::MAX },
        Message::Goodbye,
        Message::Attach { purpose: Purpose::Ask, proof: [1; PROOF_BYTES] },
        Message::Ask { method: "GET", target: "/channels?info=user_count", body: b"" },
        Message::Ask { method: "POST", target: "/users/7/terminate_connections", body: b"{}" },
        Message::Answer { status: 200, body: b"{\"channels\":{}}" },
    ]
}

#[test]
fn every_message_survives_the_round_trip_and_every_cut_of_it_asks_for_more() {
    for message in every_kind() {
        let mut bytes = encoded(message);
        for cut in 0..bytes.len() {
            assert_eq!(Message::decode(&bytes[..cut]), Ok(None), "{message:?} cut at {cut}");
        }
        let len = bytes.len();
        bytes.extend_from_slice(b"GET / the next thing");
        assert_eq!(Message::decode(&bytes), Ok(Some((message, len))));
    }
}

#[test]
fn messages_follow_each_other() {
    let mut bytes = Vec::new();
    for message in every_kind() {
        message.encode(&mut bytes);
    }
    let mut rest = &bytes[..];
    for message in every_kind() {
        let (found, len) = Message::decode(rest).unwrap().unwrap();
        assert_eq!(found, message);
        rest = &rest[len..];
    }
    assert!(rest.is_empty());
}

#[test]
fn http_is_not_a_message() {
    assert_eq!(Message::decode(b"GET /up"), Err(AttachError::Magic { found: b'G' }));
}

#[test]
fn another_version_is_named_but_its_refusal_is_understood() {
    let mut hello = encoded(every_kind()[0]);
    hello[2] = 2;
    assert_eq!(Message::decode(&hello), Err(AttachError::Version { found: 2 }));
    let refused = Message::Refused { code: RefusalCode::Version, message: "too old" };
    let mut bytes = encoded(refused);
    bytes[2] = 2;
    let len = bytes.len();
    assert_eq!(Message::decode(&bytes), Ok(Some((refused, len))));
}

#[test]
fn malformed_messages_are_named() {
    let with = |kind, payload: &[u8]| {
        let mut bytes = header(kind, payload.len()).to_vec();
        bytes.extend_from_slice(payload);
        Message::decode(&bytes).map(|_| ()).unwrap_err()
    };
    assert_eq!(with(99, b""), AttachError::Kind { found: 99 });
    assert_eq!(with(KIND_ATTACH, &[4; 33]), AttachError::Purpose { found: 4 });
    assert_eq!(with(KIND_GOODBYE, b"x"), AttachError::Trailing { found: 1 });
    assert!(matches!(with(KIND_HELLO, &[255, 255, 1]), AttachError::Short(_)));
    assert_eq!(with(KIND_HELLO, &[0, 0, 1, 0, 0xFF]), AttachError::Text { field: "the client's name" });
    let long = header(KIND_RECORD, RECORD_BYTES_MAX + 1);
    assert!(matches!(Message::decode(&long).unwrap_err(), AttachError::TooLong { .. }));
    let long = header(KIND_HELLO, HANDSHAKE_BYTES_MAX);
    assert!(matches!(
        Message::decode_within(&long, HANDSHAKE_BYTES_MAX).unwrap_err(),
        AttachError::TooLong { max: HANDSHAKE_BYTES_MAX, .. }
    ));
}

#[test]
fn a_proof_holds_for_its_secret_nonce_and_key_alone() {
    let proof = prove(b"secret", &[1; 32], b"key");
    assert!(verify(b"secret", &[1; 32], b"key", &proof));
    assert!(!verify(b"Secret", &[1; 32], b"key", &proof));
    assert!(!verify(b"secret", &[2; 32], b"key", &proof));
    assert!(!verify(b"secret", &[1; 32], b"kez", &proof));
    assert!(!verify(b"secret", &[1; 32], b"key", &[0; 32]));
    assert_ne!(prove(b"", &[1; 32], b"key"), [0; 32]);
}

#[test]
fn the_header_of_a_record_is_the_one_that_encode_writes() {
    assert_eq!(encoded(Message::Record(b"abc"))[..HEADER_BYTES], record_header(3));
}
