//! Servers that PHP cannot or may not use: of another version, of another kind, or of another opinion.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use fanfare_tests::{Broadcasts, Php, Scene};
use fanfare_wire::attach::{Message, RefusalCode};
use fanfare_wire::record::PublicationLimits;

/// Answers one connection of PHP in its own way.
fn stranger(scene: &Scene, answer: impl FnOnce(UnixStream) + Send + 'static) {
    let listener = UnixListener::bind(scene.socket()).unwrap();
    std::thread::spawn(move || {
        answer(listener.accept().unwrap().0);
        // Whoever comes later waits in vain for a listener that is gone.
    });
}

fn say(stream: &mut UnixStream, message: &Message<'_>) {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    stream.write_all(&bytes).unwrap();
}

/// Reads one message of PHP's; what it says does not matter here.
fn hear(stream: &mut UnixStream) {
    let mut header = [0; 8];
    stream.read_exact(&mut header).unwrap();
    let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    stream.read_exact(&mut vec![0; len as usize]).unwrap();
}

fn refusal_of(php: Php) -> String {
    let (status, out, _) = php.wait();
    assert_eq!(status.code(), Some(3), "{out:?}");
    out.last().unwrap().clone()
}

#[test]
fn a_server_of_another_version_is_rejected_in_its_own_words() {
    let scene = Scene::new();
    stranger(&scene, |mut stream| {
        hear(&mut stream);
        let message = "expected protocol version 7, but found 1; install 7";
        let mut bytes = Vec::new();
        Message::Refused { code: RefusalCode::Version, message }.encode(&mut bytes);
        bytes[2] = 7;
        stream.write_all(&bytes).unwrap();
    });
    let refusal = refusal_of(Broadcasts::new(&scene, "php", 1).start());
    assert!(refusal.starts_with("refused Fanfare\\Rejected "), "{refusal}");
    assert!(refusal.ends_with("expected protocol version 7, but found 1; install 7"), "{refusal}");
}

#[test]
fn a_server_of_another_kind_is_rejected() {
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", "\u{7f}ELF garbage", "-ERR unknown command\r\n"] {
        let scene = Scene::new();
        stranger(&scene, |mut stream| {
            hear(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let refusal = refusal_of(Broadcasts::new(&scene, "php", 1).start());
        assert!(refusal.starts_with("refused Fanfare\\Rejected expected a Fanfare server"), "{refusal}");
    }
}

/// A server that finds the ring or a message unsound says so and closes: PHP hears it, says it, and counts what may
/// be lost.
#[test]
fn an_attachment_that_the_server_ends_is_rejected_in_its_words() {
    for transport in ["ring", "socket"] {
        let scene = Scene::new();
        stranger(&scene, |mut stream| {
            hear(&mut stream);
            say(&mut stream, &Message::Challenge { nonce: [1; 32] });
            hear(&mut stream);
            let limits =
                PublicationLimits { data_bytes_max: 1000, channel_bytes_max: 200, event_bytes_max: 200 };
            say(&mut stream, &Message::Attached { limits, server: "stranger" });
            say(&mut stream, &Message::Refused { code: RefusalCode::Ring, message: "I do not like it" });
            // Read until PHP is gone, so that it is not the end of the connection that it notices.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let php = Broadcasts::new(&scene, "php", usize::MAX >> 1)
            .option("transport", transport)
            .with("quiet", true);
        let refusal = refusal_of(php.start());
        assert!(refusal.starts_with("refused Fanfare\\Rejected "), "{transport}: {refusal}");
        assert!(refusal.contains("has ended this attachment: I do not like it"), "{transport}: {refusal}");
        assert!(refusal.contains("accepted before it and may be lost"), "{transport}: {refusal}");
    }
}

/// Each secret is another attachment: what was refused, or is held by nobody, is given back.
#[test]
fn attachments_that_nobody_uses_do_not_pile_up() {
    let scene = Scene::new();
    let server = fanfare_tests::Server::start(&scene);
    let argument = serde_json::json!({
        "socket": scene.socket(), "key": fanfare_tests::APP_KEY, "secret": fanfare_tests::APP_SECRET,
    });
    let out = Php::run("many-attachments.php", &argument).succeed();
    let numbers: Vec<usize> = out.iter().map(|line| line.parse().unwrap()).collect();
    let [before, after_refusals, after_many] = numbers[..] else { panic!("{out:?}") };
    assert!(after_refusals <= before + 3, "{before} descriptors before, {after_refusals} after 300 refusals");
    // At most 32 are kept, of three descriptors each.
    assert!(after_many <= before + 3 * 33, "{before} descriptors before, {after_many} after 200 option sets");
    server.stop();
}
