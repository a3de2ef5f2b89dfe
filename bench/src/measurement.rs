//! What a scenario hands back: lines with one sample per repetition, goals, and remarks.
//!
//! Owns medians, spread and verdicts. Leaves to the page how they look, and to the scenarios what they mean.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::chart::Chart;
use crate::failure::Failure;

/// What a line's figures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Microseconds.
    #[serde(rename = "µs")]
    Microseconds,
    /// How many times.
    #[serde(rename = "×")]
    Times,
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
    /// How many in a second.
    #[serde(rename = "/s")]
    PerSecond,
    /// Bytes in a second.
    #[serde(rename = "B/s")]
    BytesPerSecond,
    /// Hundredths.
    #[serde(rename = "%")]
    Percent,
    /// How many.
    #[serde(rename = "")]
    Count,
}

impl Unit {
    /// As it is written behind a figure.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "µs",
            Self::Times => "×",
            Self::Bytes => "B",
            Self::PerSecond => "/s",
            Self::BytesPerSecond => "B/s",
            Self::Percent => "%",
            Self::Count => "",
        }
    }
}

/// What a median is held against.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// Met by this and everything below.
    AtMost(f64),
    /// Met by this and everything above.
    AtLeast(f64),
}

impl Goal {
    fn is_met_by(self, median: f64) -> bool {
        match self {
            Self::AtMost(bound) => median <= bound,
            Self::AtLeast(bound) => median >= bound,
        }
    }
}

/// One row of the page: what was measured in every repetition.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) what: String,
    /// What the figures count.
    pub(crate) unit: Unit,
    /// The median of the samples.
    pub(crate) median: f64,
    /// The smallest sample.
    pub(crate) min: f64,
    /// The largest sample.
    pub(crate) max: f64,
    /// One figure per repetition, in the order of the repetitions.
    pub(crate) samples: Vec<f64>,
    /// What the median is held against, if it is.
    pub(crate) goal: Option<Goal>,
    /// Whether it holds.
    pub(crate) met: Option<bool>,
    /// Which of the nine goals it decides, if it does.
    pub(crate) claim: Option<Claim>,
}

/// What the first table of the page says of a line.
#[derive(Debug, Serialize)]
pub(crate) struct Claim {
    /// The goal's number.
    pub(crate) number: u8,
    /// What the contestants did, by name.
    pub(crate) beside: Vec<Beside>,
}

/// The figure of one contestant.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Beside {
    /// Who.
    pub(crate) who: &'static str,
    /// What its figure counts.
    pub(crate) unit: Unit,
    /// The median of its samples.
    pub(crate) median: f64,
}

impl Line {
    /// A line of `samples`; there has to be at least one.
    pub(crate) fn new(what: impl Into<String>, unit: Unit, samples: Vec<f64>) -> Self {
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        Self {
            what: what.into(),
            unit,
            median: f64::midpoint(at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2)),
            min: at(0),
            max: at(sorted.len().saturating_sub(1)),
            samples,
            goal: None,
            met: None,
            claim: None,
        }
    }

    /// The same line, held against `goal`.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.met = Some(goal.is_met_by(self.median));
        self.goal = Some(goal);
        self
    }

    /// The same line, as the verdict on goal `number`, beside what each contestant did.
    pub(crate) fn claim(mut self, number: u8, beside: Vec<Beside>) -> Self {
        self.claim = Some(Claim { number, beside });
        self
    }
}

/// What one scenario found.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    /// The scenario's name, as `--only` takes it.
    pub(crate) name: &'static str,
    /// The heading.
    pub(crate) title: &'static str,
    /// The rows.
    pub(crate) lines: Vec<Line>,
    /// How it was measured, and what a reader has to know to use the figures.
    pub(crate) remarks: Vec<String>,
    /// What is drawn.
    pub(crate) charts: Vec<Chart>,
    /// What is calculated from the rows.
    pub(crate) tables: Vec<Table>,
}

/// Figures that are read across and down.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    /// What it shows; a heading.
    pub(crate) title: &'static str,
    /// What a reader has to know, above it.
    pub(crate) about: String,
    /// The heads of the columns.
    pub(crate) columns: Vec<String>,
    /// The rows, as they are shown.
    pub(crate) rows: Vec<Vec<String>>,
}

/// Figures by name, one per repetition: what the PHP scripts answer, put together.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
    /// Adds one figure to `name`.
    pub(crate) fn add(&mut self, name: &str, figure: f64) {
        self.0.entry(name.to_owned()).or_default().push(figure);
    }

    /// Adds all figures of a script's answer.
    ///
    /// # Errors
    /// When the answer holds something else than figures.
    pub(crate) fn add_answer(
        &mut self,
        answer: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), Failure> {
        for (name, value) in answer {
            let figure = value.as_f64().ok_or_else(|| {
                Failure::new(format!("expected a figure for {name} from a PHP script, but found {value}"))
            })?;
            self.add(name, figure);
        }
        Ok(())
    }

    /// Whether something was measured under that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Forgets the figures whose names begin with `prefix`: of somebody who did not get to the end.
    pub(crate) fn forget(&mut self, prefix: &str) {
        self.0.retain(|name, _| !name.starts_with(prefix));
    }

    /// The figures of `name`, each divided by `divisor`.
    ///
    /// # Errors
    /// When nothing was measured under that name.
    pub(crate) fn take(&self, name: &str, divisor: f64) -> Result<Vec<f64>, Failure> {
        let figures = self.0.get(name).ok_or_else(|| {
            Failure::new(format!(
                "expected figures named {name}, but found none; bring what measures and what shows in line"
            ))
        })?;
        Ok(figures.iter().map(|figure| figure / divisor).collect())
    }

    /// What `combine` makes of the figures of two names, repetition by repetition.
    ///
    /// # Errors
    /// When nothing was measured under one of the names.
    pub(crate) fn pair(
        &self,
        a: &str,
        b: &str,
        combine: impl Fn(f64, f64) -> f64,
    ) -> Result<Vec<f64>, Failure> {
        Ok(self.take(a, 1.0)?.into_iter().zip(self.take(b, 1.0)?).map(|(a, b)| combine(a, b)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_knows_its_median_and_its_spread() {
        let odd = Line::new("odd", Unit::Nanoseconds, vec![5.0, 1.0, 3.0]);
        assert_eq!((odd.median, odd.min, odd.max), (3.0, 1.0, 5.0));
        assert_eq!(odd.samples, [5.0, 1.0, 3.0]);
        let even = Line::new("even", Unit::Nanoseconds, vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!((even.median, even.min, even.max), (2.5, 1.0, 4.0));
    }

    #[test]
    fn a_goal_is_held_against_the_median() {
        let line = |goal| Line::new("x", Unit::Nanoseconds, vec![100.0, 250.0, 900.0]).goal(goal).met;
        assert_eq!(line(Goal::AtMost(250.0)), Some(true));
        assert_eq!(line(Goal::AtMost(249.0)), Some(false));
        assert_eq!(line(Goal::AtLeast(250.0)), Some(true));
        assert_eq!(line(Goal::AtLeast(251.0)), Some(false));
    }

    #[test]
    fn a_name_that_nobody_measured_is_a_failure() {
        let mut samples = Samples::default();
        samples.add("a", 2_000.0);
        samples.add("b", 500.0);
        assert_eq!(samples.take("a", 1_000.0).unwrap(), [2.0]);
        assert_eq!(samples.pair("a", "b", |a, b| a / b).unwrap(), [4.0]);
        assert!(samples.take("c", 1.0).unwrap_err().to_string().contains("named c"));
    }
}
