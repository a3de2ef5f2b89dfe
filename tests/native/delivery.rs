//! What pusher-js receives.

use fanfare_tests::{Broadcasts, PusherJs, Scene, Server};

/// 10,000 broadcasts of 0 to 20 KB, as fast as the client takes them.
#[test]
fn ten_thousand_broadcasts_arrive_in_order_and_intact() {
    for transport in ["ring", "socket"] {
        let scene = Scene::new();
        let server = Server::start(&scene);
        let client = PusherJs::subscribe(&server, "numbers");
        let (count, window) = (10_000, 100);
        let mut php = Broadcasts::new(&scene, "sender", count)
            .option("transport", transport)
            .with("pad_bytes_max", 20_000)
            .with("window", window)
            .with("quiet", true)
            .start();

        let mut line = 0;
        for n in 0..count {
            let (event, data, next) = client.next_event(line);
            line = next;
            assert_eq!(event, "number");
            assert_eq!(data["n"], n, "{transport}: out of order");
            let letter = (b'a' + (n % 26) as u8) as char;
            let pad = data["pad"].as_str().unwrap();
            assert_eq!(pad.len(), n * 7919 % 20_000, "{transport}: the length of {n}");
            assert!(pad.chars().all(|c| c == letter), "{transport}: the padding of {n}");
            if (n + 1) % window == 0 {
                php.tell("go on");
            }
        }
        php.succeed();
        assert_eq!(client.quit().len(), count);
        server.stop();
    }
}

/// A client's connection ends with the server and comes back with its successor, without help.
#[test]
fn pusher_js_comes_back_to_the_successor() {
    let scene = Scene::new();
    let server = Server::start(&scene);
    let client = PusherJs::subscribe(&server, "numbers");
    Broadcasts::new(&scene, "before", 1).start().succeed();
    let (_, data, line) = client.next_event(0);
    assert_eq!(data["worker"], "before");

    let address = server.address().to_owned();
    server.kill();
    let server = Server::start_with(&scene.configuration(&address));
    client.lines().wait_from(line, "the subscription to the successor", |line| {
        line.contains(r#""type":"subscribed""#).then_some(())
    });
    Broadcasts::new(&scene, "after", 1).start().succeed();
    assert_eq!(client.next_event(line).1["worker"], "after");
    client.quit();
    server.stop();
}
