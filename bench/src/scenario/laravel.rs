//! What a broadcast costs in Laravel, beside the null driver and beside an HTTP request.
//!
//! The null driver is Laravel's own share: the difference to it is Fanfare's.

use serde_json::json;

use super::{Scenario, Stage};
use crate::contestant::{Contestant, Kind};
use crate::failure::Failure;
use crate::measurement::{Goal, Line, Samples, Section, Unit};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "laravel",
    about: "µs per broadcast in Laravel, next to the null driver and to HTTP",
    run,
};

fn run(stage: &Stage) -> Result<Section, Failure> {
    let rounds = stage.amount(60, 20, 10);
    let floor = Contestant::start(Kind::Floor, &stage.places, &json!({}))?;
    let post_url = format!("http://{}", floor.address());
    let mut samples = Samples::default();
    let server = stage.server(&json!({}))?;
    stage.repeat("laravel", || {
        let task = json!({"rounds": rounds, "post_url": post_url});
        samples.add_answer(&stage.script("laravel.php", &server, task)?)
    })?;
    server.stop()?;
    floor.stop()?;
    section(&samples)
}

fn section(samples: &Samples) -> Result<Section, Failure> {
    let single = |what: &str, name: &str| -> Result<Line, Failure> {
        Ok(Line::new(what, Unit::Microseconds, samples.take(name, 1_000.0)?))
    };
    let difference = |what: &str, a: &str, b: &str| -> Result<Line, Failure> {
        Ok(Line::new(what, Unit::Microseconds, samples.pair(a, b, |a, b| (a - b) / 1_000.0)?))
    };
    let ratio = |what: &str, a: &str, b: &str| -> Result<Line, Failure> {
        Ok(Line::new(what, Unit::Times, samples.pair(a, b, |a, b| a / b)?))
    };
    let lines = vec![
        single("`$sidecar->broadcast(…)`", "sidecar")?,
        single("`Broadcast::connection('null')->broadcast(…)`", "null_driver")?,
        single("`Broadcast::connection('fanfare')->broadcast(…)`", "fanfare_driver")?,
        difference("… the fanfare driver's own share", "fanfare_driver", "null_driver")?
            .goal(Goal::AtMost(3.0)),
        single("`broadcast(new OrderShipped)`, null driver", "null_event")?,
        single("`broadcast(new OrderShipped)`, fanfare driver", "fanfare_event")?,
        difference("… the fanfare driver's own share", "fanfare_event", "null_event")?,
        single("Guzzle POST to a trivial local server, connection kept", "guzzle_post")?,
        ratio("`$sidecar->broadcast(…)` is cheaper than the POST by", "guzzle_post", "sidecar")?
            .goal(Goal::AtLeast(300.0)),
        ratio("the driver call is cheaper than the POST by", "guzzle_post", "fanfare_driver")?,
    ];
    let bytes = samples.take("data_bytes", 1.0)?.first().copied().unwrap_or(f64::NAN);
    let remarks = vec![
        format!(
            "The event is `ShouldBroadcastNow`, on one channel, its payload {bytes:.0} B of JSON. The lines take turns in \
             the same process; nobody is subscribed. Driver calls come so fast that the server stays awake; between \
             events it may have fallen asleep, since Laravel itself takes about as long as the server's `look_again_us`, \
             and then the call wakes it."
        ),
        "The POST carries the same event as Laravel's Pusher driver would send it, without signing it, to a server that \
         reads it and answers `{}`."
            .to_owned(),
    ];
    Ok(Section {
        name: SCENARIO.name,
        title: "One broadcast in Laravel",
        lines,
        remarks,
        charts: Vec::new(),
        tables: Vec::new(),
    })
}
