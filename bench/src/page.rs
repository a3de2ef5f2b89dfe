//! The result, as one page of Markdown and as JSON.
//!
//! Owns how figures are written. The JSON holds every sample; the page holds what a person compares.

use std::fmt::Write as _;

use serde::Serialize;

use crate::contestant::Kind;
use crate::failure::Failure;
use crate::machine::{Machine, Noise};
use crate::measurement::{Claim, Goal, Line, Samples, Section, Table, Unit};
use crate::scenario::Size;

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    /// Where.
    pub(crate) machine: Machine,
    /// How quiet it was.
    pub(crate) noise: Noise,
    /// Samples per line.
    pub(crate) repetitions: usize,
    /// How much was measured.
    pub(crate) size: Size,
    /// What.
    pub(crate) sections: Vec<Section>,
    /// What not.
    pub(crate) failures: Vec<Unmeasured>,
}

/// A scenario that could not be measured.
#[derive(Debug, Serialize)]
pub(crate) struct Unmeasured {
    /// Its name.
    pub(crate) name: &'static str,
    /// Why.
    pub(crate) why: String,
}

/// Time given to others from which on a reader has to be warned, in percent of all processors.
const NOISY_PERCENT: f64 = 10.0;

impl Page {
    /// The page as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut page = String::from("# Fanfare, measured\n\n");
        self.write_machine(&mut page);
        write_goals(&mut page, &self.sections, &self.failures);
        for section in &self.sections {
            write_section(&mut page, section);
        }
        self.write_verdict(&mut page);
        page
    }

    fn write_machine(&self, page: &mut String) {
        let Machine {
            cpu,
            cores,
            kernel,
            memory_gib,
            php,
            opcache,
            laravel,
            guzzle,
            extension,
            commit,
            date,
        } = &self.machine;
        let Noise { others_percent, stolen_percent, load_before } = &self.noise;
        let rows = [
            ("machine", format!("{cpu}, {cores} cores, {memory_gib:.0} GiB, {kernel}")),
            ("PHP", format!("{php}, opcache {opcache}, fanfare.so {extension}")),
            ("Laravel", format!("{laravel}, Guzzle {guzzle}")),
            ("commit", commit.clone()),
            ("date", date.clone()),
            (
                "noise",
                format!(
                    "{others_percent:.0} % of the processors' time went to other processes, {stolen_percent:.1} % to other \
                     virtual machines; load {load_before:.2} before the run"
                ),
            ),
            ("figures", format!("median of {} repetitions (smallest – largest)", self.repetitions)),
        ];
        page.push_str("| | |\n|---|---|\n");
        for (name, value) in rows {
            let _ = writeln!(page, "| {name} | {value} |");
        }
        page.push('\n');
        if self.size == Size::Quick {
            page.push_str("**A quick run: less is measured than usual; not for comparison.**\n\n");
        }
        if others_percent.max(*stolen_percent) > NOISY_PERCENT {
            page.push_str("**The machine was not ours alone: others made these figures worse, and the goals are for an idle one.**\n\n");
        }
    }

    fn write_verdict(&self, page: &mut String) {
        let goals = || self.sections.iter().flat_map(|section| &section.lines).filter_map(|line| line.met);
        let met = goals().filter(|met| *met).count();
        let _ = writeln!(page, "{met} of {} goals met.", goals().count());
    }
}

/// One row for each thing that a goal asks for, and what each contestant did.
fn write_goals(page: &mut String, sections: &[Section], failures: &[Unmeasured]) {
    let mut claims: Vec<(&Line, &Claim)> = sections
        .iter()
        .flat_map(|section| &section.lines)
        .filter_map(|line| Some((line, line.claim.as_ref()?)))
        .collect();
    claims.sort_by_key(|(_, claim)| claim.number);
    page.push_str("## The goals\n\n| | | measured | goal | |");
    for kind in Kind::ALL {
        let _ = write!(page, " {} |", kind.name());
    }
    page.push_str("\n|--:|---|--:|--:|---|");
    page.push_str(&"--:|".repeat(Kind::ALL.len()));
    page.push('\n');
    for (line, claim) in claims {
        let Line { what, unit, median, .. } = line;
        let _ = write!(
            page,
            "| {} | {what} | {} | {} | {} |",
            claim.number,
            quantity(*median, *unit),
            line.goal.map_or_else(String::new, |goal| goal_text(goal, *unit)),
            verdict(line.met)
        );
        for kind in Kind::ALL {
            let found = claim.beside.iter().find(|beside| beside.who == kind.name());
            let text = found.map_or_else(|| "–".to_owned(), |beside| quantity(beside.median, beside.unit));
            let _ = write!(page, " {text} |");
        }
        page.push('\n');
    }
    page.push('\n');
    for Unmeasured { name, why } in failures {
        let _ = writeln!(page, "- **`{name}` could not be measured:** {why}");
    }
    if !failures.is_empty() {
        page.push('\n');
    }
}

fn write_section(page: &mut String, section: &Section) {
    let _ = writeln!(page, "## {}\n", section.title);
    page.push_str("| | median | smallest – largest | goal | |\n|---|--:|--:|--:|---|\n");
    for line in &section.lines {
        let Line { what, unit, median, min, max, goal, met, .. } = line;
        let _ = writeln!(
            page,
            "| {what} | {} | {} – {} | {} | {} |",
            quantity(*median, *unit),
            figure(*min),
            figure(*max),
            goal.map_or_else(String::new, |goal| goal_text(goal, *unit)),
            verdict(*met)
        );
    }
    page.push('\n');
    for chart in &section.charts {
        let _ = writeln!(page, "![{}]({})\n", chart.title, chart.file());
    }
    for remark in &section.remarks {
        let _ = writeln!(page, "- {remark}");
    }
    page.push('\n');
    for table in &section.tables {
        write_table(page, table);
    }
}

fn write_table(page: &mut String, Table { title, about, columns, rows }: &Table) {
    let _ = writeln!(page, "### {title}\n\n{about}\n");
    let _ = writeln!(page, "| {} |", columns.join(" | "));
    let _ = writeln!(page, "|---|{}", "--:|".repeat(columns.len().saturating_sub(1)));
    for row in rows {
        let _ = writeln!(page, "| {} |", row.join(" | "));
    }
    page.push('\n');
}

fn goal_text(goal: Goal, unit: Unit) -> String {
    let (sign, bound) = match goal {
        Goal::AtMost(bound) => ('≤', bound),
        Goal::AtLeast(bound) => ('≥', bound),
    };
    format!("{sign} {}", quantity(bound, unit))
}

fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "**not met**",
        None => "",
    }
}

/// Medians by name, with a column for each of `sizes`: `figure` names the samples of a row and a size.
///
/// # Errors
/// When something was not measured.
pub(crate) fn grid(
    (title, about): (&'static str, String),
    by: &str,
    sizes: &[usize],
    rows: &[(&str, &str, (Unit, f64))],
    samples: &Samples,
) -> Result<Table, Failure> {
    let mut columns = vec![by.to_owned()];
    columns.extend(sizes.iter().map(|&size| figure(size as f64)));
    let row = |&(name, what, (unit, divisor)): &(&str, &str, (Unit, f64))| {
        let cell = |size: &usize| {
            let figures = samples.take(&format!("{name} {size}"), divisor)?;
            Ok(quantity(Line::new("", unit, figures).median, unit))
        };
        let cells = sizes.iter().map(cell).collect::<Result<Vec<_>, Failure>>()?;
        Ok([vec![what.to_owned()], cells].concat())
    };
    let rows = rows.iter().map(row).collect::<Result<_, Failure>>()?;
    Ok(Table { title, about, columns, rows })
}

/// A figure with its unit.
fn quantity(value: f64, unit: Unit) -> String {
    format!("{} {}", figure(value), unit.symbol()).trim_end().to_owned()
}

/// Three digits that count, thousands apart.
pub(crate) fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let decimals = match value.abs() {
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    let plain = format!("{value:.decimals$}");
    let (whole, rest) = plain.split_once('.').map_or((plain.as_str(), ""), |(whole, rest)| (whole, rest));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.trim_end_matches('0').is_empty() { grouped } else { format!("{grouped}.{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::Beside;

    #[test]
    fn figures_show_three_digits_that_count() {
        let written: Vec<String> =
            [0.414, 3.0, 27.25, 163.2, 4_000.0, 1_234_567.8, -0.5, f64::NAN].map(figure).into();
        assert_eq!(written, ["0.41", "3", "27.2", "163", "4,000", "1,234,568", "-0.50", "–"]);
    }

    #[test]
    fn a_row_says_whether_its_goal_is_met() {
        let line = |samples| Line::new("x", Unit::Nanoseconds, samples).goal(Goal::AtMost(250.0));
        let section = Section {
            name: "x",
            title: "X",
            lines: vec![line(vec![180.0, 200.0, 300.0]), line(vec![260.0])],
            remarks: vec!["a remark".to_owned()],
            charts: Vec::new(),
            tables: Vec::new(),
        };
        let mut page = String::new();
        write_section(&mut page, &section);
        assert!(page.contains("| x | 200 ns | 180 – 300 | ≤ 250 ns | met |"), "{page}");
        assert!(page.contains("| x | 260 ns | 260 – 260 | ≤ 250 ns | **not met** |"), "{page}");
        assert!(page.contains("\n- a remark\n"), "{page}");
    }

    #[test]
    fn the_first_table_has_a_column_for_each_contestant() {
        let beside = |kind: Kind, median| Beside { who: kind.name(), unit: Unit::Microseconds, median };
        let line = Line::new("CPU", Unit::Times, vec![1.1])
            .goal(Goal::AtMost(1.15))
            .claim(1, vec![beside(Kind::Fanfare, 8.8), beside(Kind::Floor, 8.0)]);
        let section = Section {
            name: "x",
            title: "X",
            lines: vec![Line::new("no goal", Unit::Count, vec![1.0]), line],
            remarks: Vec::new(),
            charts: Vec::new(),
            tables: Vec::new(),
        };
        let failures = [Unmeasured { name: "burst", why: "no port".to_owned() }];
        let mut page = String::new();
        write_goals(&mut page, &[section], &failures);
        assert!(page.contains("| 1 | CPU | 1.10 × | ≤ 1.15 × | met | 8.80 µs | 8 µs | – | – |"), "{page}");
        assert!(!page.contains("no goal"), "{page}");
        assert!(page.contains("- **`burst` could not be measured:** no port"), "{page}");
    }
}
