//! Lines in a coordinate system, as SVG.
//!
//! Our own: a chart crate would bring a dozen crates, fonts among them, for what is a hundred lines of text here.

use std::fmt::Write as _;

use serde::Serialize;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 52.0;
/// Told apart also by those who do not see all colours.
const COLOURS: [&str; 6] = ["#0072b2", "#555555", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

/// How an axis runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scale {
    /// From zero, evenly.
    Even,
    /// By powers of ten; everything has to be above zero.
    Log,
}

/// One axis.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Axis {
    /// What it counts, with the unit.
    pub(crate) label: &'static str,
    /// How it runs.
    pub(crate) scale: Scale,
}

/// One line.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Series {
    /// Whose it is.
    pub(crate) name: String,
    /// From left to right.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A picture.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Chart {
    /// The file's name, without its ending.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) title: &'static str,
    /// From left to right.
    pub(crate) x: Axis,
    /// From bottom to top.
    pub(crate) y: Axis,
    /// The lines.
    pub(crate) series: Vec<Series>,
}

/// Where values are on an axis.
struct Placement {
    scale: Scale,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Placement {
    fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite() && (scale == Scale::Even || *value > 0.0))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low.is_finite() { (low, high) } else { (1.0, 10.0) };
        match scale {
            Scale::Even => {
                let step = step(high.max(f64::MIN_POSITIVE) / 5.0);
                let steps = (high / step).ceil().max(1.0);
                let ticks = (0..=steps as u32).map(|tick| f64::from(tick) * step).collect();
                Self { scale, low: 0.0, high: steps * step, ticks }
            }
            Scale::Log => {
                let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
                let last = last.max(first + 1);
                let ticks = (first..=last).map(|power| 10_f64.powi(power)).collect();
                Self { scale, low: 10_f64.powi(first), high: 10_f64.powi(last), ticks }
            }
        }
    }

    /// 0 is the beginning of the axis, 1 its end.
    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Even => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).log10() / (self.high / self.low).log10(),
        }
    }
}

/// 1, 2 or 5 times a power of ten, at least `at_least`.
fn step(at_least: f64) -> f64 {
    let power = 10_f64.powf(at_least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|step| *step >= at_least * 0.999)
        .unwrap_or(power)
}

impl Chart {
    /// The name of its file.
    pub(crate) fn file(&self) -> String {
        format!("{}.svg", self.name)
    }

    /// The picture as a file.
    pub(crate) fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Placement::of(self.x.scale, points().map(|point| point.0));
        let y = Placement::of(self.y.scale, points().map(|point| point.1));
        let across = |value: f64| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
        let up = |value: f64| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{}</text>\n",
            escaped(self.title)
        );
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for &tick in &x.ticks {
            let at = across(tick);
            let _ = writeln!(svg, "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#e4e4e4\"/>");
            let _ = writeln!(
                svg,
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                number(tick)
            );
        }
        for &tick in &y.ticks {
            let at = up(tick);
            let _ = writeln!(svg, "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#e4e4e4\"/>");
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                at + 4.0,
                number(tick)
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n<text x=\"16\" y=\"{:.1}\" text-anchor=\"middle\" \
             transform=\"rotate(-90 16 {:.1})\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 12.0,
            escaped(self.x.label),
            f64::midpoint(TOP, bottom),
            f64::midpoint(TOP, bottom),
            escaped(self.y.label)
        );
        for (index, series) in self.series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let line: String =
                series.points.iter().map(|&(x, y)| format!("{:.1},{:.1} ", across(x), up(y))).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.trim_end()
            );
            for &(x, y) in series.points.iter().filter(|_| series.points.len() <= 12) {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                    across(x),
                    up(y)
                );
            }
            let at = LEFT + index as f64 * 150.0;
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} 46h20\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{:.1}\" y=\"50\">{}</text>",
                at + 26.0,
                escaped(&series.name)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn number(value: f64) -> String {
    if value >= 1_000_000.0 {
        format!("{}M", value / 1_000_000.0)
    } else if value >= 10_000.0 {
        format!("{}k", value / 1_000.0)
    } else {
        format!("{}", (value * 1_000_000.0).round() / 1_000_000.0)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_holds_all_values_between_round_figures() {
        let even = Placement::of(Scale::Even, [3.0, 17.0].into_iter());
        assert_eq!((even.low, even.high, even.place(10.0)), (0.0, 20.0, 0.5));
        assert_eq!(even.ticks, [0.0, 5.0, 10.0, 15.0, 20.0]);
        let log = Placement::of(Scale::Log, [12.0, 15_000.0].into_iter());
        assert_eq!((log.low, log.high), (10.0, 100_000.0));
        assert!((log.place(1_000.0) - 0.5).abs() < 1e-9);
        assert_eq!(Placement::of(Scale::Log, std::iter::empty()).ticks, [1.0, 10.0]);
    }

    #[test]
    fn a_chart_has_a_line_and_a_name_for_each_series() {
        let axis = |scale| Axis { label: "a < b", scale };
        let series = |name: &str| Series { name: name.to_owned(), points: vec![(10.0, 1.0), (100.0, 2.0)] };
        let chart = Chart {
            name: "x",
            title: "X",
            x: axis(Scale::Log),
            y: axis(Scale::Even),
            series: vec![series("Fanfare"), series("floor")],
        };
        let svg = chart.svg();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("a &lt; b") && svg.contains(">floor<"), "{svg}");
    }
}
