//! What a question to the server costs: who is on a presence channel.
//!
//! The same question by the extension and over HTTP, so that the difference is what HTTP, its signature and its
//! connection cost.

use serde_json::json;

use super::{Scenario, Stage};
use crate::crowd::{self, Audience, Crowd};
use crate::failure::Failure;
use crate::measurement::{Goal, Line, Samples, Section, Unit};

pub(super) const SCENARIO: Scenario =
    Scenario { name: "ask", about: "µs per Fanfare::members(), by the extension and over HTTP", run };

const MEMBERS: usize = 10;

fn run(stage: &Stage) -> Result<Section, Failure> {
    let rounds = stage.amount(60, 30, 10);
    let mut samples = Samples::default();
    let server = stage.server(&json!({}))?;
    let audience = Audience { presence: true, ..Audience::new(MEMBERS, MEMBERS) };
    let members = Crowd::gather(server.address, audience)?;
    let channel = crowd::channel(0, true);
    stage.repeat("ask", || {
        let url = format!("http://{}", server.address);
        let task = json!({"rounds": rounds, "url": url, "channel": channel, "members": MEMBERS});
        samples.add_answer(&stage.script("ask.php", &server, task)?)
    })?;
    drop(members);
    server.stop()?;
    section(&samples)
}

fn section(samples: &Samples) -> Result<Section, Failure> {
    let single = |what: &str, name: &str| -> Result<Line, Failure> {
        Ok(Line::new(what, Unit::Microseconds, samples.take(name, 1_000.0)?))
    };
    let ratio = |what: &str, a: &str, b: &str| -> Result<Line, Failure> {
        Ok(Line::new(what, Unit::Times, samples.pair(a, b, |a, b| a / b)?))
    };
    let lines = vec![
        single("`$sidecar->ask('GET', '/channels/presence-room-000000/users')`", "ask")?,
        // Well under a millisecond.
        single("`Fanfare::members('presence-room-000000')`, by the extension", "extension")?
            .goal(Goal::AtMost(500.0)),
        single("… over HTTP, by the Unix socket", "unix")?,
        single("… over HTTP, to the port", "url")?,
        ratio("by the extension it is cheaper than by the Unix socket, by", "unix", "extension")?,
        ratio("… than to the port, by", "url", "extension")?,
    ];
    let remarks = vec![format!(
        "{MEMBERS} members are on the channel; their names are asked for and read. The lines take turns in the same \
         process. HTTP connections are kept, and each request is signed. The server sleeps between two questions."
    )];
    Ok(Section {
        name: SCENARIO.name,
        title: "One question to the server",
        lines,
        remarks,
        charts: Vec::new(),
        tables: Vec::new(),
    })
}
