//! RFC 6455 on the wire: what a client sends, byte for byte, and what the server says to it.
//!
//! Each row of the table is a connection of its own. It is played three times: what is sent comes in one piece, glued
//! behind the handshake's request, and (unless it is long) one byte at a time; the server must say the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use harness::raw::{MASK, PATH, Raw, close, handshake, masked, show, text};
use harness::{Server, configuration, directory, wait_until};

/// Answered by [`PONG`].
const PING: &str = r#"{"event":"pusher:ping","data":{}}"#;
const PONG: &[u8] = b"\x81\x23{\"event\":\"pusher:pong\",\"data\":\"{}\"}";
/// What the server says to a text that is no message of the protocol.
const NOT_UNDERSTOOD: &[u8] = b"\x81\x7e\x00\x81{\"event\":\"pusher:error\",\"data\":{\"code\":4300,\
    \"message\":\"expected a JSON object with the string \\\"event\\\", not nested too deeply\"}}";

const RESERVED_BITS: Then = Then::Fails(1002, "expected reserved bits of 0, but found one that is 1");
const OPCODE: Then = Then::Fails(1002, "expected an opcode of 0, 1, 2, 8, 9 or 10, but found another");
const MASKLESS: Then = Then::Fails(1002, "expected a masked frame, but found one without a mask");
const LONG_FORM: Then = Then::Fails(1002, "expected a length in its shortest form, but found a longer form");
const HIGHEST_BIT: Then = Then::Fails(1002, "expected a length below 2^63, but found its highest bit set");
const LONG_CONTROL: Then =
    Then::Fails(1002, "expected a control frame of at most 125 bytes, but found a longer one");
const CONTROL_FRAGMENT: Then =
    Then::Fails(1002, "expected a control frame in one piece, but found a fragment");
const CONTINUATION: Then = Then::Fails(1002, "expected the start of a message, but found a continuation");
const START: Then = Then::Fails(1002, "expected the continuation of a message, but found another's start");
const CLOSE_CODE: Then = Then::Fails(1002, "expected a close code that may be sent, but found another");
const NOT_UTF_8: Then =
    Then::Fails(1007, "expected UTF-8 in a text message or a close reason, but found other bytes");
const BINARY: Then = Then::Leaves(1003, "only text messages are supported");

/// What becomes of the connection.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// It lives: a ping is answered.
    Lives,
    /// The server answers the client's close with these bytes, and ends the connection.
    Answers(&'static [u8]),
    /// The server fails the connection: a close frame with this code and reason, and the end, whatever the client
    /// may say to it.
    Fails(u16, &'static str),
    /// The server closes in good order: the same, but the end comes when the client has answered.
    Leaves(u16, &'static str),
}

struct Case {
    name: String,
    send: Vec<u8>,
    /// What the server says before the end, if there is one.
    expect: Vec<u8>,
    then: Then,
}

fn case(name: impl ToString, send: impl Into<Vec<u8>>, expect: &[u8], then: Then) -> Case {
    Case { name: name.to_string(), send: send.into(), expect: expect.to_vec(), then }
}

/// A server's close frame.
fn closing(code: u16, reason: &str) -> Vec<u8> {
    let mut frame = vec![0x88, u8::try_from(2 + reason.len()).unwrap()];
    assert!(frame[1] <= 125, "{reason}");
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    frame
}

/// A ping of Pusher's that is `len` bytes long.
fn pusher_ping(len: usize) -> String {
    let (before, after) = (r#"{"event":"pusher:ping","data":""#, r#""}"#);
    format!("{before}{}{after}", "x".repeat(len - before.len() - after.len()))
}

/// A message in frames that end at `cuts` of it.
fn fragments(message: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain(std::iter::once(message.len()));
    let pieces: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &message[start..end]).collect();
    let last = pieces.len() - 1;
    let frame =
        |(at, piece): (usize, &&[u8])| masked(u8::from(at == 0) | if at == last { 0x80 } else { 0 }, piece);
    pieces.iter().enumerate().map(frame).collect()
}

/// A frame's head alone, with an extended length of eight bytes and a mask.
fn announced(first: u8, len: u64) -> Vec<u8> {
    [&[first, 0xFF][..], &len.to_be_bytes(), &MASK].concat()
}

fn texts() -> Vec<Case> {
    let mut cases = vec![
        case("a text of 0 bytes", text(""), NOT_UNDERSTOOD, Then::Lives),
        case("a text of 1 byte", text("{"), NOT_UNDERSTOOD, Then::Lives),
        case("a text", text(PING), PONG, Then::Lives),
        case(
            "two texts in one segment",
            [text(PING), text(PING)].concat(),
            &[PONG, PONG].concat(),
            Then::Lives,
        ),
        case("a mask of zeroes", [b"\x81\xa1\0\0\0\0", PING.as_bytes()].concat(), PONG, Then::Lives),
        case(
            "a NUL in a text",
            text("{\"event\":\"pusher:ping\",\"data\":\"\0\"}"),
            NOT_UNDERSTOOD,
            Then::Lives,
        ),
        case(
            "a text is answered before the ping behind it",
            [text(PING), masked(0x89, b"p"), text(PING)].concat(),
            &[PONG, b"\x8a\x01p", PONG].concat(),
            Then::Lives,
        ),
    ];
    for len in [125, 126, 127, 65_535, 65_536, 100_000] {
        cases.push(case(format!("a text of {len} bytes"), text(pusher_ping(len)), PONG, Then::Lives));
    }
    cases
}

fn fragmented() -> Vec<Case> {
    let message = PING.as_bytes();
    let whole = |cuts: &[usize]| fragments(message, cuts).concat();
    let every: Vec<usize> = (1..message.len()).collect();
    let mut cases = vec![
        case("two fragments", whole(&[7]), PONG, Then::Lives),
        case("three fragments", whole(&[7, 20]), PONG, Then::Lives),
        case("a fragment a byte", whole(&every), PONG, Then::Lives),
        case("the first fragment is empty", whole(&[0]), PONG, Then::Lives),
        case("the last fragment is empty", whole(&[message.len()]), PONG, Then::Lives),
        case("fragments in the middle are empty", whole(&[7, 7, 7]), PONG, Then::Lives),
        case("all fragments are empty", fragments(b"", &[0, 0]).concat(), NOT_UNDERSTOOD, Then::Lives),
        case(
            "two messages in fragments",
            [whole(&[3]), whole(&[4, 5])].concat(),
            &[PONG, PONG].concat(),
            Then::Lives,
        ),
        case("a fragment that is never followed", masked(0x01, b"{"), b"", Then::Lives),
        case("a continuation without a start", masked(0x80, b"x"), b"", CONTINUATION),
        case("a fragment of a message that has no start", masked(0x00, b"x"), b"", CONTINUATION),
        case(
            "a continuation behind a whole message",
            [text(PING), masked(0x80, b"x")].concat(),
            PONG,
            CONTINUATION,
        ),
        case(
            "a continuation behind the last one",
            [whole(&[7]), masked(0x80, b"")].concat(),
            PONG,
            CONTINUATION,
        ),
        case("a text within a message", [masked(0x01, b"{"), text(PING)].concat(), b"", START),
        case(
            "a fragmented text within a message",
            [masked(0x01, b"{"), masked(0x01, b"{")].concat(),
            b"",
            START,
        ),
        case("a binary message within a text", [masked(0x01, b"{"), masked(0x82, b"x")].concat(), b"", START),
        case(
            "a close within a message",
            [masked(0x01, b"{"), close(1000, "")].concat(),
            b"",
            Then::Answers(b"\x88\x02\x03\xe8"),
        ),
    ];
    let between = |frame: &[u8]| fragments(message, &[7, 20]).join(frame);
    let pings = [b"\x8a\x02p1", b"\x8a\x02p1", PONG].concat();
    cases.push(case("pings between fragments", between(&masked(0x89, b"p1")), &pings, Then::Lives));
    cases.push(case("pongs between fragments", between(&masked(0x8A, b"p1")), PONG, Then::Lives));
    cases
}

fn controls() -> Vec<Case> {
    let ping = |len: usize| masked(0x89, &vec![b'p'; len]);
    let pong_125 = [&b"\x8a\x7d"[..], &[b'p'; 125]].concat();
    let ten: Vec<u8> = (0..10).flat_map(|n| masked(0x89, &[n])).collect();
    let ten_pongs: Vec<u8> = (0..10).flat_map(|n| [0x8A, 1, n]).collect();
    vec![
        case("a ping of 0 bytes", ping(0), b"\x8a\x00", Then::Lives),
        case("a ping of 1 byte", ping(1), b"\x8a\x01p", Then::Lives),
        case("a ping of 125 bytes", ping(125), &pong_125, Then::Lives),
        case("a ping of 126 bytes", ping(126), b"", LONG_CONTROL),
        case("a ping of 65536 bytes", ping(65_536), b"", LONG_CONTROL),
        case(
            "a ping that announces more than any message may have",
            announced(0x89, 1 << 40),
            b"",
            LONG_CONTROL,
        ),
        case(
            "a ping of bytes that are no text",
            masked(0x89, b"\0\xff\xfe"),
            b"\x8a\x03\0\xff\xfe",
            Then::Lives,
        ),
        case("ten pings in one segment", ten, &ten_pongs, Then::Lives),
        case("an unsolicited pong of 0 bytes", masked(0x8A, b""), b"", Then::Lives),
        case("an unsolicited pong of 125 bytes", masked(0x8A, &[b'p'; 125]), b"", Then::Lives),
        case("a pong of 126 bytes", masked(0x8A, &[b'p'; 126]), b"", LONG_CONTROL),
        case(
            "a pong, a ping, a text",
            [masked(0x8A, b"x"), ping(1), text(PING)].concat(),
            &[b"\x8a\x01p", PONG].concat(),
            Then::Lives,
        ),
        case("a fragmented ping", [masked(0x09, b"p"), masked(0x80, b"q")].concat(), b"", CONTROL_FRAGMENT),
        case("a fragmented pong", masked(0x0A, b"p"), b"", CONTROL_FRAGMENT),
        case("a fragmented close", masked(0x08, b"\x03\xe8"), b"", CONTROL_FRAGMENT),
        case("a close of 126 bytes", close(1000, [b'x'; 124]), b"", LONG_CONTROL),
        case(
            "a ping right before what breaks the rules",
            [ping(1), masked(0x83, b"")].concat(),
            b"\x8a\x01p",
            OPCODE,
        ),
        case("a ping right behind what breaks the rules", [masked(0x83, b""), ping(1)].concat(), b"", OPCODE),
    ]
}

fn headers() -> Vec<Case> {
    let mut cases = vec![
        case("reserved bit 1", masked(0xC1, b"x"), b"", RESERVED_BITS),
        case("reserved bit 2", masked(0xA1, b"x"), b"", RESERVED_BITS),
        case("reserved bit 3", masked(0x91, b"x"), b"", RESERVED_BITS),
        case("all reserved bits", masked(0xF1, b""), b"", RESERVED_BITS),
        case("a reserved bit of a ping", masked(0xC9, b"p"), b"", RESERVED_BITS),
        case("a reserved bit of a close", masked(0x98, b"\x03\xe8"), b"", RESERVED_BITS),
        case(
            "a reserved bit of a continuation",
            [masked(0x01, b"{"), masked(0xC0, b"}")].concat(),
            b"",
            RESERVED_BITS,
        ),
        case("a reserved bit behind a text", [text(PING), masked(0xC1, b"x")].concat(), PONG, RESERVED_BITS),
        case("an unmasked text", &b"\x81\x01x"[..], b"", MASKLESS),
        case("an unmasked text of which only the head comes", &b"\x81\x7e"[..], b"", MASKLESS),
        case("an unmasked empty text", &b"\x81\x00"[..], b"", MASKLESS),
        case("an unmasked ping", &b"\x89\x00"[..], b"", MASKLESS),
        case("an unmasked close", &b"\x88\x02\x03\xe8"[..], b"", MASKLESS),
        case("5 bytes announced in two", &b"\x81\xfe\x00\x05"[..], b"", LONG_FORM),
        case("125 bytes announced in two", &b"\x81\xfe\x00\x7d"[..], b"", LONG_FORM),
        case("5 bytes announced in eight", announced(0x81, 5), b"", LONG_FORM),
        case("65535 bytes announced in eight", announced(0x81, 65_535), b"", LONG_FORM),
        case("the highest bit of a length", announced(0x81, 1 << 63), b"", HIGHEST_BIT),
        case("the largest number as a length", announced(0x81, u64::MAX), b"", HIGHEST_BIT),
    ];
    for opcode in (3..=7).chain(11..=15) {
        cases.push(case(format!("opcode {opcode}"), masked(0x80 | opcode, b"x"), b"", OPCODE));
    }
    cases
}

fn utf_8() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, bytes) in [
        ("a continuation byte alone", &b"\x80"[..]),
        ("the last byte of a character alone", b"a\xbf"),
        ("two bytes of which the second is missing", b"a\xc3"),
        ("three bytes of which the last is missing", b"\xe2\x82"),
        ("four bytes of which the last is missing", b"\xf0\x9f\x98"),
        ("two bytes of which the second is none", b"\xc3\x28"),
        ("three bytes of which the last is none", b"\xe2\x82\x28"),
        ("NUL in two bytes", b"\xc0\x80"),
        ("a slash in two bytes", b"\xc0\xaf"),
        ("U+7F in two bytes", b"\xc1\xbf"),
        ("a slash in three bytes", b"\xe0\x80\xaf"),
        ("U+7FF in three bytes", b"\xe0\x9f\xbf"),
        ("a slash in four bytes", b"\xf0\x80\x80\xaf"),
        ("U+FFFF in four bytes", b"\xf0\x8f\xbf\xbf"),
        ("the first surrogate", b"\xed\xa0\x80"),
        ("the last surrogate", b"\xed\xbf\xbf"),
        ("a pair of surrogates", b"\xed\xa0\xbd\xed\xb8\x80"),
        ("U+110000", b"\xf4\x90\x80\x80"),
        ("U+140000", b"\xf5\x80\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
        ("six bytes", b"\xfc\x84\x80\x80\x80\x80"),
        ("0xFE", b"\xfe"),
        ("0xFF", b"\xff"),
        ("Latin-1", b"caf\xe9"),
    ] {
        cases.push(case(format!("text: {name}"), text(bytes), b"", NOT_UTF_8));
        // The character is cut: what is wrong with it shows in the next fragment only, or at the end.
        let cut = fragments(bytes, &[bytes.len() / 2, bytes.len()]).concat();
        cases.push(case(format!("text in fragments: {name}"), cut, b"", NOT_UTF_8));
    }
    for (name, character) in [
        ("U+7F", "\u{7f}"),
        ("U+80", "\u{80}"),
        ("U+7FF", "\u{7ff}"),
        ("U+800", "\u{800}"),
        ("U+D7FF", "\u{d7ff}"),
        ("U+E000", "\u{e000}"),
        ("U+FFFD", "\u{fffd}"),
        ("U+FFFF", "\u{ffff}"),
        ("U+10000", "\u{10000}"),
        ("U+10FFFF", "\u{10ffff}"),
    ] {
        let message = format!(r#"{{"event":"pusher:ping","data":"{character}"}}"#);
        cases.push(case(format!("text: {name}"), text(&message), PONG, Then::Lives));
    }
    cases.push(case("text: a byte order mark", text("\u{feff}"), NOT_UNDERSTOOD, Then::Lives));
    cases.extend(cut_characters());
    cases
}

/// What was said comes back in what is wrong with it, so that a character that was put together wrongly shows.
fn cut_characters() -> Vec<Case> {
    const CHANNEL: &str = "é€😀";
    let message = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{CHANNEL}"}}}}"#);
    let expect = [
        b"\x81\x7e\x00\xbf{\"event\":\"pusher:subscription_error\",\"channel\":\"".as_slice(),
        CHANNEL.as_bytes(),
        "\",\"data\":{\"type\":\"ChannelNameError\",\"error\":\"expected a channel name of A-Z a-z 0-9 _ - = @ , . ; but found 'é' in it\",\"status\":400}}".as_bytes(),
        b"\x81\x7e\x00\x83{\"event\":\"pusher:error\",\"data\":{\"code\":4300,\"message\":\"",
        "expected a channel name of A-Z a-z 0-9 _ - = @ , . ; but found 'é' in it\"}}".as_bytes(),
    ]
    .concat();
    let start = message.find(CHANNEL).unwrap();
    let cuts: Vec<usize> = (start + 1..start + CHANNEL.len()).collect();
    let mut cases: Vec<Case> = Vec::new();
    for &cut in &cuts {
        let name = format!("text in fragments: cut behind byte {} of the characters", cut - start);
        cases.push(case(name, fragments(message.as_bytes(), &[cut]).concat(), &expect, Then::Lives));
    }
    let all = fragments(message.as_bytes(), &cuts);
    cases.push(case("text in fragments: cut behind every byte", all.concat(), &expect, Then::Lives));
    let pings = [&b"\x8a\x00".repeat(cuts.len())[..], &expect].concat();
    let joined = all.join(&masked(0x89, b"")[..]);
    cases.push(case("text in fragments: a ping within a character", joined, &pings, Then::Lives));
    cases
}

fn binary_and_large() -> Vec<Case> {
    let too_large = |reason: &'static str| Then::Fails(1009, reason);
    let start = |len: usize| masked(0x01, &vec![b'x'; len]);
    let more = |len: usize| masked(0x00, &vec![b'x'; len]);
    let at_most = pusher_ping(100_000);
    let one_over = "expected a message of at most 100000 bytes (message_bytes_max), but found 100001";
    let one_over_and_more =
        "expected a message of at most 100000 bytes (message_bytes_max), but found 100001 and more";
    vec![
        case("an empty binary message", masked(0x82, b""), b"", BINARY),
        case("a binary message", masked(0x82, b"\0\x01"), b"", BINARY),
        case("a binary message that is text", masked(0x82, PING.as_bytes()), b"", BINARY),
        case(
            "a binary message in fragments",
            [masked(0x02, b"\xff"), masked(0x80, b"\xff")].concat(),
            b"",
            BINARY,
        ),
        case("a text behind a binary message", [masked(0x82, b"x"), text(PING)].concat(), b"", BINARY),
        case("a binary message behind a text", [text(PING), masked(0x82, b"x")].concat(), PONG, BINARY),
        case(
            "the largest message, in fragments",
            fragments(at_most.as_bytes(), &[1, 50_000, 99_999]).concat(),
            PONG,
            Then::Lives,
        ),
        case("a byte more than a message may have", text("x".repeat(100_001)), b"", too_large(one_over)),
        case("the same by its head alone", announced(0x81, 100_001), b"", too_large(one_over)),
        case("the same in a binary message", announced(0x82, 100_001), b"", too_large(one_over)),
        case("the same in a fragment", announced(0x01, 100_001), b"", too_large(one_over_and_more)),
        case(
            "the largest length that there is",
            announced(0x81, (1 << 63) - 1),
            b"",
            too_large(
                "expected a message of at most 100000 bytes (message_bytes_max), but found 9223372036854775807",
            ),
        ),
        case(
            "fragments that are too much together",
            [start(60_000), more(40_000), more(1)].concat(),
            b"",
            too_large(one_over_and_more),
        ),
        case(
            "fragments, the last of which is too much",
            [start(100_000), masked(0x80, b"x")].concat(),
            b"",
            too_large(one_over),
        ),
        case(
            "fragments, the last of which is only announced",
            [start(5), announced(0x80, 99_996)].concat(),
            b"",
            too_large(one_over),
        ),
        case(
            "the largest message twice",
            [text(&at_most), text(&at_most)].concat(),
            &[PONG, PONG].concat(),
            Then::Lives,
        ),
    ]
}

fn closes() -> Vec<Case> {
    const BYE: Then = Then::Answers(b"\x88\x02\x03\xe8");
    let mut cases = vec![
        case("a close without a code", masked(0x88, b""), b"", Then::Answers(b"\x88\x00")),
        case("a close with a code", close(1000, ""), b"", BYE),
        case("a close with a reason", close(1001, "bye"), b"", Then::Answers(b"\x88\x05\x03\xe9bye")),
        case(
            "a close with a reason beyond ASCII",
            close(1000, "é😀"),
            b"",
            Then::Answers(b"\x88\x08\x03\xe8\xc3\xa9\xf0\x9f\x98\x80"),
        ),
        case(
            "a close with half a code",
            masked(0x88, b"\x03"),
            b"",
            Then::Fails(1002, "expected a close code of two bytes, but found one byte"),
        ),
        case("a close with a reason that is not UTF-8", close(1000, b"\xff"), b"", NOT_UTF_8),
        case("a close with a reason that is cut", close(1000, b"a\xc3"), b"", NOT_UTF_8),
        case("a text and a close", [text(PING), close(1000, "")].concat(), PONG, BYE),
        case("a ping and a close", [masked(0x89, b"p"), close(1000, "")].concat(), b"\x8a\x01p", BYE),
        case("a text behind a close", [close(1000, ""), text(PING)].concat(), b"", BYE),
        case("a ping behind a close", [close(1000, ""), masked(0x89, b"p")].concat(), b"", BYE),
        case("two closes", [close(1000, ""), close(1001, "")].concat(), b"", BYE),
        case(
            "what breaks the rules behind a close",
            [close(1000, ""), masked(0xF3, b"x")].concat(),
            b"",
            BYE,
        ),
        case("a megabyte behind a close", [close(1000, ""), vec![0; 1 << 20]].concat(), b"", BYE),
        case("half a frame behind a close", [close(1000, ""), vec![0x81]].concat(), b"", BYE),
    ];
    const LONGEST: &[u8; 127] = b"\x88\x7d\x03\xe8rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr";
    cases.push(case(
        "a close with the longest reason",
        close(1000, [b'r'; 123]),
        b"",
        Then::Answers(LONGEST),
    ));
    for code in [0, 1, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(case(format!("a close with code {code}"), close(code, ""), b"", CLOSE_CODE));
    }
    for (code, answer) in [
        (1001, b"\x88\x02\x03\xe9"),
        (1002, b"\x88\x02\x03\xea"),
        (1003, b"\x88\x02\x03\xeb"),
        (1007, b"\x88\x02\x03\xef"),
        (1008, b"\x88\x02\x03\xf0"),
        (1009, b"\x88\x02\x03\xf1"),
        (1010, b"\x88\x02\x03\xf2"),
        (1011, b"\x88\x02\x03\xf3"),
        (1012, b"\x88\x02\x03\xf4"),
        (1013, b"\x88\x02\x03\xf5"),
        (3000, b"\x88\x02\x0b\xb8"),
        (3999, b"\x88\x02\x0f\x9f"),
        (4000, b"\x88\x02\x0f\xa0"),
        (4999, b"\x88\x02\x13\x87"),
    ] {
        cases.push(case(format!("a close with code {code}"), close(code, ""), b"", Then::Answers(answer)));
    }
    cases
}

/// How the bytes of a case come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    InOnePiece,
    ByteByByte,
    GluedToTheHandshake,
}

fn play(server: &Server, case: &Case, way: Way) {
    let Case { name, send, expect, then } = case;
    let what = &format!("{name} ({way:?}), sent {}", show(send));
    let mut raw = if way == Way::GluedToTheHandshake {
        let mut raw = Raw::connect(server.address);
        raw.send([handshake(PATH, "").as_bytes(), send].concat());
        raw.expect_upgraded();
        raw.expect_hello();
        raw
    } else {
        Raw::greeted(server)
    };
    match way {
        Way::InOnePiece => raw.send(send),
        Way::ByteByByte => send.chunks(1).for_each(|byte| raw.send(byte)),
        Way::GluedToTheHandshake => {}
    }
    raw.expect(expect, what);
    match *then {
        Then::Lives => raw.is_alive(what),
        Then::Answers(answer) => raw.expect(answer, what),
        Then::Fails(code, reason) => raw.expect(&closing(code, reason), what),
        Then::Leaves(code, reason) => {
            raw.expect(&closing(code, reason), what);
            raw.send(close(code, ""));
        }
    }
    if !matches!(then, Then::Lives) {
        raw.expect_end(what);
    }
}

#[test]
fn c2_m10_every_frame_is_answered_as_the_rfc_says() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["log"]["level"] = "info".into();
    // Nothing here ends by waiting.
    configuration["limits"] = serde_json::json!({"close_timeout_ms": 60_000});
    let server = Server::start(&configuration);
    let tables = [texts(), fragmented(), controls(), headers(), utf_8(), binary_and_large(), closes()];
    let cases: Vec<Case> = tables.into_iter().flatten().collect();
    assert!(cases.len() >= 200, "{}", cases.len());
    for case in &cases {
        play(&server, case, Way::InOnePiece);
        play(&server, case, Way::GluedToTheHandshake);
        if case.send.len() <= 1024 {
            play(&server, case, Way::ByteByByte);
        }
    }
    wait_until("all connections are gone", || server.metric("connections") == 0);
    assert!(server.log_lines("a mistake in this program").is_empty(), "nothing has panicked");
}
