//! The scenarios. Each is a file here and a row in [`ALL`]: it sets its stage, measures, and hands back a
//! [`Section`].
//!
//! Every scenario measures after a warm-up that is not counted, and hands back one sample per repetition and line. All
//! its lines come from the same repetitions; where contestants are compared ([`field`]) they take turns within each.

mod ask;
mod attached;
mod burst;
mod calculation;
mod call;
mod channels;
mod connect;
mod deflate;
mod fanout;
mod field;
mod fleet;
mod growth;
mod laravel;
mod latency;
mod memory;
mod presence;

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use crate::contestant::{Kind, Places};
use crate::failure::Failure;
use crate::measurement::Section;
use crate::php::Php;
use crate::progress;
use crate::server::{APP, KEY, SECRET, Server};

/// One subject that is measured.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// What `--only` takes.
    pub(crate) name: &'static str,
    /// What is measured, for `--help` and progress.
    pub(crate) about: &'static str,
    /// Measures it.
    pub(crate) run: fn(&Stage) -> Result<Section, Failure>,
}

/// All scenarios, in the order of the page.
pub(crate) const ALL: &[Scenario] = &[
    fanout::SCENARIO,
    burst::SCENARIO,
    channels::SCENARIO,
    memory::SCENARIO,
    connect::SCENARIO,
    latency::SCENARIO,
    call::SCENARIO,
    attached::SCENARIO,
    growth::SCENARIO,
    deflate::SCENARIO,
    laravel::SCENARIO,
    ask::SCENARIO,
    fleet::SCENARIO,
    presence::SCENARIO,
];

/// What every scenario is given.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Where the contestants are.
    pub(crate) places: Places,
    /// PHP and its scripts.
    pub(crate) php: Php,
    /// Samples per line.
    pub(crate) repetitions: usize,
    /// How much of everything.
    pub(crate) size: Size,
    /// Of whom it was said already that it takes no part.
    pub(crate) excused: RefCell<BTreeSet<Kind>>,
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Size {
    /// As little as tries everything.
    Quick,
    /// Some fifteen minutes.
    Short,
    /// As much as makes figures quiet.
    Full,
}

impl Stage {
    /// Starts a server with its defaults but for `limits`.
    fn server(&self, limits: &Value) -> Result<Server, Failure> {
        let Places { server, scratch, .. } = &self.places;
        Server::start(server, scratch, limits)
    }

    /// Runs a PHP script against `server`; `more` is added to what every script is told.
    fn script(
        &self,
        script: &str,
        server: &Server,
        more: Value,
    ) -> Result<serde_json::Map<String, Value>, Failure> {
        let mut task = json!({
            "socket": server.socket,
            "app": APP,
            "key": KEY,
            "secret": SECRET,
            "server_pid": server.pid(),
            "application": self.php.application,
        });
        if let (Some(task), Value::Object(mut more)) = (task.as_object_mut(), more) {
            task.append(&mut more);
        }
        self.php.run(script, &task).map_err(|failure| {
            Failure::new(format!("{failure}\nthe end of the server's log:{}", server.log()))
        })
    }

    /// Calls `measure` for each repetition.
    fn repeat(&self, what: &str, mut measure: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
        for repetition in 1..=self.repetitions {
            progress(&format!("{what}: repetition {repetition} of {}", self.repetitions));
            measure()?;
        }
        Ok(())
    }

    /// How many there have to be of something, by how much is measured.
    fn amount(&self, full: usize, short: usize, quick: usize) -> usize {
        match self.size {
            Size::Quick => quick,
            Size::Short => short,
            Size::Full => full,
        }
    }
}
