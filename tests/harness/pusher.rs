//! Real pusher-js clients.

use std::process::Command;

use serde_json::{Value, json};

use crate::{APP_KEY, Lines, Php, Scene, Server};

/// A pusher-js client in node, subscribed.
#[derive(Debug)]
pub struct PusherJs {
    node: Php,
    /// Its socket id.
    pub socket_id: String,
}

impl PusherJs {
    /// Connects to the scene's app and waits until `channel` is subscribed.
    pub fn subscribe(server: &Server, channel: &str) -> Self {
        Self::subscribe_as(APP_KEY, server.port(), channel)
    }

    /// Connects to an app of any server and waits until `channel` is subscribed.
    pub fn subscribe_as(key: &str, port: u16, channel: &str) -> Self {
        let options = json!({"host": "127.0.0.1", "port": port, "key": key, "channels": [channel]});
        let script = Scene::repository().join("tests/browser/subscribe.mjs");
        let node = Php::spawn(Command::new("node").arg(script).arg(options.to_string()));
        let socket_id = node.out.wait("connected", |line| {
            let line = parse(line);
            (line["type"] == "connected").then(|| line["socket_id"].as_str().unwrap().to_owned())
        });
        node.out.wait("subscribed", |line| (parse(line)["type"] == "subscribed").then_some(()));
        Self { node, socket_id }
    }

    /// Everything that it printed.
    pub fn lines(&self) -> &Lines {
        &self.node.out
    }

    /// Waits for the next event at or after line `from`; gives name, data and the line after it.
    pub fn next_event(&self, from: usize) -> (String, Value, usize) {
        let ((event, data), next) = self.lines().wait_from(from, "an event", |line| {
            let mut line = parse(line);
            (line["type"] == "event")
                .then(|| (line["event"].as_str().unwrap().to_owned(), line["data"].take()))
        });
        (event, data, next)
    }

    /// Disconnects; gives all events that it received.
    pub fn quit(mut self) -> Vec<Value> {
        self.node.tell(r#"{"quit": true}"#);
        let lines = self.node.out.all();
        lines.iter().map(|line| parse(line)).filter(|line| line["type"] == "event").collect()
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("pusher-js printed {line:?}: {error}"))
}
