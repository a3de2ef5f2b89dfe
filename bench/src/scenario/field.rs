//! Those who take part in a comparison, and what a comparison makes of their figures.
//!
//! Owns the turns: within a repetition every contestant is measured once, and every other repetition goes through them
//! backwards, so that what disturbs the machine disturbs all of them. Owns also what happens when a rival cannot go on:
//! it leaves the scenario, with the reason on the page. Fanfare and the floor have to go on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Stage;
use crate::accounting::{Meter, Used, quiet};
use crate::contestant::{Contestant, Kind};
use crate::crowd::{Audience, Crowd, Receipt};
use crate::failure::Failure;
use crate::measurement::{Beside, Goal, Line, Samples, Unit};
use crate::publisher::{Filling, Job, Publisher, publish_all};

/// Share of a processor from which on whoever holds the connections is said to have been the bottleneck.
const BUSY_SHARE: f64 = 0.9;

/// A contestant with what a scenario has prepared for it.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) contestant: Contestant,
    pub(super) crowd: Crowd,
    pub(super) publishers: Vec<Publisher>,
}

/// All who take part.
#[derive(Debug)]
pub(super) struct Field {
    sides: Vec<Side>,
    /// Who does not, and why.
    absent: BTreeMap<Kind, String>,
    /// The largest share of a processor that a process of the crowd took while its contestant was measured.
    crowd_share: BTreeMap<Kind, f64>,
    /// Who took part in an earlier run.
    took_part: BTreeSet<Kind>,
    pub(super) samples: Samples,
}

impl Field {
    /// Starts those of `kinds` that can be, each with `publishers` publishers and a crowd without connections.
    ///
    /// # Errors
    /// When Fanfare or the floor cannot be started.
    pub(super) fn start(
        stage: &Stage,
        kinds: &[Kind],
        limits: &Value,
        publishers: usize,
    ) -> Result<Self, Failure> {
        let mut field = Self {
            sides: Vec::new(),
            absent: BTreeMap::new(),
            crowd_share: BTreeMap::new(),
            took_part: BTreeSet::new(),
            samples: Samples::default(),
        };
        for &kind in kinds {
            let side = Contestant::start(kind, &stage.places, limits).and_then(|contestant| {
                let publisher = |_| Publisher::new(&stage.php, &contestant);
                let publishers = (0..publishers).map(publisher).collect::<Result<_, _>>()?;
                Ok(Side { crowd: Crowd::start()?, publishers, contestant })
            });
            match side {
                Ok(side) => field.sides.push(side),
                Err(failure) => {
                    let told = !stage.excused.borrow_mut().insert(kind);
                    field.excuse(kind, failure, told)?;
                }
            }
        }
        Ok(field)
    }

    /// Does something with each of them, before the repetitions.
    ///
    /// # Errors
    /// When it fails for Fanfare or the floor.
    pub(super) fn each(
        &mut self,
        mut what: impl FnMut(&mut Side, &mut Samples) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.turn(false, &mut what)
    }

    /// Measures each of them once for every repetition.
    ///
    /// # Errors
    /// When it fails for Fanfare or the floor.
    pub(super) fn compete(
        &mut self,
        stage: &Stage,
        what: &str,
        mut measure: impl FnMut(&mut Side, &mut Samples) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut backwards = false;
        stage.repeat(what, || {
            backwards = !backwards;
            self.turn(!backwards, &mut measure)
        })
    }

    fn turn(
        &mut self,
        backwards: bool,
        what: &mut impl FnMut(&mut Side, &mut Samples) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut kinds = self.kinds();
        if backwards {
            kinds.reverse();
        }
        for kind in kinds {
            let Some(index) = self.sides.iter().position(|side| side.contestant.kind == kind) else {
                continue;
            };
            let crowd = self.sides[index].crowd.processes();
            let meters = crowd.iter().map(|&pid| Meter::start(&[pid])).collect::<Result<Vec<_>, _>>()?;
            if let Err(failure) = what(&mut self.sides[index], &mut self.samples) {
                let side = self.sides.swap_remove(index);
                self.samples.forget(&kind.of(""));
                self.excuse(
                    kind,
                    Failure::new(format!("{failure}; it said:{}", side.contestant.said())),
                    false,
                )?;
                continue;
            }
            for used in meters.iter().filter_map(|meter| meter.read().ok()) {
                let share = self.crowd_share.entry(kind).or_default();
                *share = share.max(used.share);
            }
        }
        Ok(())
    }

    /// A rival may fail.
    fn excuse(&mut self, kind: Kind, failure: Failure, told: bool) -> Result<(), Failure> {
        if !kind.is_rival() {
            return Err(Failure::new(format!("{}: {failure}", kind.name())));
        }
        if !told {
            crate::progress(&format!("{} takes no part: {failure}", kind.name()));
        }
        // In one line, for the list on the page.
        let why: Vec<String> = failure.to_string().split_whitespace().map(str::to_owned).collect();
        self.absent.insert(kind, why.join(" "));
        Ok(())
    }

    /// Who takes part, in the order of the page.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.sides.iter().map(|side| side.contestant.kind).collect();
        kinds.sort_unstable();
        kinds
    }

    /// Takes over what an earlier run of the same field found.
    pub(super) fn carry_on(&mut self, earlier: Figures) {
        self.samples = earlier.samples;
        self.took_part.extend(earlier.kinds);
        self.absent.extend(earlier.absent);
        for (kind, share) in earlier.crowd_share {
            let ours = self.crowd_share.entry(kind).or_default();
            *ours = ours.max(share);
        }
    }

    /// Ends all of them, and gives their figures for the page.
    ///
    /// # Errors
    /// When our server does not leave in good order.
    pub(super) fn finish(self) -> Result<Figures, Failure> {
        let mut kinds = self.took_part.clone();
        kinds.extend(self.kinds());
        let kinds = kinds.into_iter().filter(|kind| !self.absent.contains_key(kind)).collect();
        for Side { contestant, crowd, publishers } in self.sides {
            drop((crowd, publishers));
            contestant.stop()?;
        }
        Ok(Figures { kinds, absent: self.absent, crowd_share: self.crowd_share, samples: self.samples })
    }
}

impl Side {
    /// A figure of this contestant.
    pub(super) fn add(&self, samples: &mut Samples, figure: &str, value: f64) {
        samples.add(&self.contestant.kind.of(figure), value);
    }

    /// Has an audience join, publishes nothing.
    ///
    /// # Errors
    /// As [`Crowd::join`].
    pub(super) fn join(&mut self, audience: Audience) -> Result<crate::crowd::Joined, Failure> {
        self.crowd.join(self.contestant.address(), audience)
    }

    /// Has everybody leave but the first `keep`, and waits until the contestant has done with it.
    ///
    /// # Errors
    /// When the contestant is gone.
    pub(super) fn leave(&mut self, keep: usize) -> Result<(), Failure> {
        self.crowd.leave(keep)?;
        quiet(self.contestant.pid())
    }

    /// Publishes `job`, shared out among the publishers by channels, and waits until everything has been received.
    /// Gives what was received, and what the contestant used for it.
    ///
    /// # Errors
    /// When a publication is not accepted.
    pub(super) fn deliver(&mut self, job: &Job) -> Result<(Receipt, Used), Failure> {
        let jobs = shared_out(job, self.publishers.len());
        self.crowd.watch(job.events / job.channels)?;
        let meter = Meter::start(&[self.contestant.pid()])?;
        publish_all(&mut self.publishers, &jobs)?;
        let receipt = self.crowd.receive()?;
        let used = meter.read()?;
        Ok((receipt, used))
    }
}

/// Each publisher owns its channels: the numbers of events on a channel are in order.
fn shared_out(job: &Job, publishers: usize) -> Vec<Job> {
    let bounds = |part: usize| job.channels * part / publishers;
    let part = |part: usize| {
        let channels = bounds(part + 1) - bounds(part);
        Job {
            first: job.first + bounds(part),
            channels,
            events: job.events / job.channels * channels,
            ..job.clone()
        }
    };
    (0..publishers.min(job.channels)).map(part).collect()
}

/// `events` events of 200 bytes, in turns on all channels of `audience`.
pub(super) fn events(audience: Audience, events: usize, interval_ns: u64) -> Job {
    Job {
        first: audience.first / audience.per_channel,
        channels: audience.channels(),
        events,
        interval_ns,
        filling: Filling::plain(200),
    }
}

/// The figures of a comparison.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) kinds: Vec<Kind>,
    absent: BTreeMap<Kind, String>,
    crowd_share: BTreeMap<Kind, f64>,
    pub(super) samples: Samples,
}

impl Figures {
    /// The line of one contestant.
    ///
    /// # Errors
    /// When it was not measured.
    pub(super) fn line(
        &self,
        kind: Kind,
        what: &str,
        figure: &str,
        unit: Unit,
        divisor: f64,
    ) -> Result<Line, Failure> {
        Ok(Line::new(format!("{what}: {}", kind.name()), unit, self.samples.take(&kind.of(figure), divisor)?))
    }

    /// A line for each contestant that has the figure.
    ///
    /// # Errors
    /// When nobody has.
    pub(super) fn lines(
        &self,
        what: &str,
        figure: &str,
        unit: Unit,
        divisor: f64,
    ) -> Result<Vec<Line>, Failure> {
        let kinds = self.kinds.iter().filter(|kind| self.samples.has(&kind.of(figure)));
        kinds.map(|&kind| self.line(kind, what, figure, unit, divisor)).collect()
    }

    /// The medians, to stand beside a verdict.
    ///
    /// # Errors
    /// As [`Figures::line`].
    pub(super) fn beside(&self, figure: &str, unit: Unit, divisor: f64) -> Result<Vec<Beside>, Failure> {
        let kinds = self.kinds.iter().filter(|kind| self.samples.has(&kind.of(figure)));
        let beside = |&kind: &Kind| {
            let median = self.line(kind, "", figure, unit, divisor)?.median;
            Ok(Beside { who: kind.name(), unit, median })
        };
        kinds.map(beside).collect()
    }

    /// Fanfare's figure divided by the floor's, held against `goal` as a verdict on goal `number`.
    ///
    /// # Errors
    /// When one of the two was not measured.
    pub(super) fn against_floor(
        &self,
        number: u8,
        what: &str,
        figure: &str,
        (unit, divisor): (Unit, f64),
        goal: Goal,
    ) -> Result<Line, Failure> {
        let ratio =
            self.samples
                .pair(&Kind::Fanfare.of(figure), &Kind::Floor.of(figure), |ours, floor| ours / floor)?;
        let what = format!("{what}: Fanfare ÷ floor");
        Ok(Line::new(what, Unit::Times, ratio).goal(goal).claim(number, self.beside(figure, unit, divisor)?))
    }

    /// Who took no part, and who was held up by those who hold the connections.
    pub(super) fn remarks(&self) -> Vec<String> {
        let absent = self.absent.iter().map(|(kind, why)| format!("{}: not measured: {why}", kind.name()));
        let busy = self.crowd_share.iter().filter(|(_, share)| **share >= BUSY_SHARE).map(|(kind, share)| {
            format!(
                "**{}: the process that holds the connections was the bottleneck: it took {:.0} % of a processor.**",
                kind.name(),
                share * 100.0
            )
        });
        absent.chain(busy).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_share_channels_and_events() {
        let job = events(Audience::new(10_000, 2), 10_000, 1);
        let jobs = shared_out(&job, 10);
        assert_eq!(jobs.len(), 10);
        assert!(jobs.iter().all(|job| (job.channels, job.events) == (500, 1_000)));
        assert_eq!((jobs[0].first, jobs[9].first), (0, 4_500));
        assert_eq!(shared_out(&events(Audience::new(1_000, 1_000), 7, 1), 3).len(), 1);
    }
}
