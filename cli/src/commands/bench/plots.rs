//! Figures as pictures: each as SVG and as PNG.

use std::{
    path::{Path, PathBuf},
    sync::Once,
};

use anyhow::anyhow;
use plotters::{
    coord::{
        Shift,
        combinators::{BindKeyPoints, IntoLogRange},
        ranged1d::ValueFormatter,
    },
    prelude::*,
    style::{FontStyle, register_font},
};

use super::measured::{Outcome, STEP};

const WIDTH: u32 = 900;
const HEIGHT: u32 = 480;

/// The name by which the font is known to the drawing library.
const FONT: &str = "sans-serif";

/// Where the pictures go.
#[derive(Debug)]
pub(super) struct Plots(PathBuf);

/// A picture of one line with its points.
struct Chart<'a> {
    file: String,
    title: String,
    x: &'a str,
    y: &'a str,
    points: Vec<(f64, f64)>,
    scale: Scale,
}

/// What the x axis is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// Equal differences are equally far apart.
    Linear,
    /// Equal factors are.
    Logarithmic,
    /// Percentiles, the slowest records apart from each other. A value is one in how many records
    /// is slower: 100 stands for 99 %.
    Percentiles,
}

/// The percentiles at the axis: 50, 90, 99, 99.9 and 99.99 %.
const PERCENTILES: [f64; 5] = [2.0, 10.0, 100.0, 1_000.0, 10_000.0];

/// Points of a line of percentiles.
const PERCENTILE_POINTS: u32 = 60;

impl Plots {
    /// Makes the directory.
    pub(super) fn into_directory(path: &Path) -> anyhow::Result<Self> {
        static FONTS: Once = Once::new();
        // The machine need not have a font of its own.
        FONTS.call_once(|| {
            let font = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
            assert!(font.is_ok(), "the font is well-formed");
        });
        fs_err::create_dir_all(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Latency distribution and throughput over time.
    pub(super) fn outcome(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let (case, latencies) = (outcome.case, &outcome.measured.latencies);
        if !latencies.is_empty() {
            self.draw(&Chart {
                file: format!("{case}-latency"),
                title: format!("{}: latency by percentile", described(outcome)),
                x: "share of records that took no longer",
                y: "milliseconds",
                points: one_in()
                    .map(|one_in| (one_in, milliseconds(latencies.at(1.0 - 1.0 / one_in))))
                    .collect(),
                scale: Scale::Percentiles,
            })?;
        }
        let seconds = STEP.as_secs_f64();
        let steps = outcome.measured.steps.iter().zip(0_u32..);
        let points =
            steps.map(|(count, step)| (f64::from(step) * seconds, number(*count) / seconds));
        self.draw(&Chart {
            file: format!("{case}-throughput"),
            title: format!("{}: throughput over time", described(outcome)),
            x: "seconds",
            y: "per second",
            points: points.collect(),
            scale: Scale::Linear,
        })
    }

    /// Throughput against record size: records, and bytes.
    pub(super) fn by_size(&self, outcomes: &[Outcome]) -> anyhow::Result<()> {
        let size = |outcome: &Outcome| f64::from(outcome.setting.size);
        let chart = varied("size", "record size", "bytes", outcomes, size);
        self.draw(&Chart { scale: Scale::Logarithmic, ..chart })?;
        let bytes = |outcome: &Outcome| outcome.measured.per_second() * size(outcome) / 1e6;
        self.draw(&Chart {
            file: "publish-by-size-bytes".to_owned(),
            title: "publish: megabytes per second against record size".to_owned(),
            x: "bytes",
            y: "MB/s",
            points: outcomes.iter().map(|outcome| (size(outcome), bytes(outcome))).collect(),
            scale: Scale::Logarithmic,
        })
    }

    /// Throughput against records in flight.
    pub(super) fn by_in_flight(&self, outcomes: &[Outcome]) -> anyhow::Result<()> {
        let in_flight = |outcome: &Outcome| f64::from(outcome.setting.in_flight);
        let chart = varied("in-flight", "records in flight", "records", outcomes, in_flight);
        self.draw(&Chart { scale: Scale::Logarithmic, ..chart })
    }

    /// Throughput against the number of nodes.
    pub(super) fn by_nodes(&self, outcomes: &[Outcome]) -> anyhow::Result<()> {
        let nodes = |outcome: &Outcome| number(outcome.setting.nodes as u64);
        self.draw(&varied("nodes", "nodes on this machine", "nodes", outcomes, nodes))
    }

    /// Throughput against the number of replicas.
    pub(super) fn by_replicas(&self, outcomes: &[Outcome]) -> anyhow::Result<()> {
        let replicas = |outcome: &Outcome| f64::from(outcome.setting.replicas);
        self.draw(&varied("replicas", "replicas", "replicas", outcomes, replicas))
    }

    fn draw(&self, chart: &Chart<'_>) -> anyhow::Result<()> {
        if chart.points.is_empty() {
            return Ok(());
        }
        let path = self.0.join(format!("{}.svg", chart.file));
        chart.draw_on(&SVGBackend::new(&path, (WIDTH, HEIGHT)).into_drawing_area())?;
        let path = self.0.join(format!("{}.png", chart.file));
        chart.draw_on(&BitMapBackend::new(&path, (WIDTH, HEIGHT)).into_drawing_area())
    }
}

fn varied<'a>(
    by: &str,
    what: &str,
    unit: &'a str,
    outcomes: &[Outcome],
    at: impl Fn(&Outcome) -> f64,
) -> Chart<'a> {
    let points = outcomes.iter().map(|outcome| (at(outcome), outcome.measured.per_second()));
    Chart {
        file: format!("publish-by-{by}"),
        title: format!("publish: throughput against {what}"),
        x: unit,
        y: "records per second",
        points: points.collect(),
        scale: Scale::Linear,
    }
}

/// From one in two records to one in ten thousand, evenly on a logarithmic axis.
fn one_in() -> impl Iterator<Item = f64> {
    let [first, .., last] = PERCENTILES;
    let factor = (last / first).powf(1.0 / f64::from(PERCENTILE_POINTS));
    (0..=PERCENTILE_POINTS).map(move |step| first * factor.powf(f64::from(step)))
}

/// How a percentile is written: 99 % for one in 100.
fn percent(one_in: f64) -> String {
    format!("{} %", readable(100.0 - 100.0 / one_in))
}

impl Chart<'_> {
    fn draw_on<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> anyhow::Result<()> {
        let (least, most) = self.range(|(x, _)| *x);
        // An axis of one point would have no length.
        let logarithmic = (least..most.max(least * 2.0)).log_scale();
        let result = match self.scale {
            Scale::Linear => self.draw_with(area, least..most.max(least + 1.0), readable),
            Scale::Logarithmic => self.draw_with(area, logarithmic, readable),
            Scale::Percentiles => {
                let axis = logarithmic.with_key_points(PERCENTILES.to_vec());
                self.draw_with(area, axis, percent)
            }
        };
        result.map_err(|error| anyhow!("{} cannot be drawn: {error}", self.file))
    }

    fn range(&self, of: impl Fn(&(f64, f64)) -> f64 + Copy) -> (f64, f64) {
        let values = self.points.iter().map(of);
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max))
    }

    fn draw_with<B: DrawingBackend, X>(
        &self,
        area: &DrawingArea<B, Shift>,
        x: X,
        x_label: fn(f64) -> String,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>
    where
        X: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
    {
        area.fill(&WHITE)?;
        let (_, most) = self.range(|(_, y)| *y);
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(84)
            .build_cartesian_2d(x, 0.0..most.max(1e-3) * 1.1)?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .label_style((FONT, 14))
            .x_label_formatter(&|value| x_label(*value))
            .y_label_formatter(&|value| readable(*value))
            .light_line_style(WHITE)
            .draw()?;
        chart.draw_series(LineSeries::new(self.points.iter().copied(), BLUE.stroke_width(2)))?;
        // Points of a long line would hide it.
        if self.points.len() <= 16 {
            let points = self.points.iter();
            chart.draw_series(points.map(|point| Circle::new(*point, 4, BLUE.filled())))?;
        }
        area.present()
    }
}

/// What was measured, in a few words.
fn described(outcome: &Outcome) -> String {
    let setting = outcome.setting;
    format!(
        "{} ({} nodes, {} replicas, {} bytes, {} in flight)",
        outcome.case, setting.nodes, setting.replicas, setting.size, setting.in_flight
    )
}

fn milliseconds(microseconds: u64) -> f64 {
    number(microseconds) / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "pixels are coarser")]
fn number(value: u64) -> f64 {
    value as f64
}

/// A number at an axis: 250k, 1.5M.
fn readable(value: f64) -> String {
    let (value, unit) = match value.abs() {
        large if large >= 1e6 => (value / 1e6, "M"),
        large if large >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_an_axis_are_short() {
        let texts = [0.0, 0.25, 10.0, 250_000.0, 1_500_000.0].map(readable);
        assert_eq!(texts, ["0", "0.25", "10", "250k", "1.5M"]);
    }

    #[test]
    fn a_picture_is_drawn_twice() {
        let directory = tempfile::tempdir().unwrap();
        let plots = Plots::into_directory(&directory.path().join("plots")).unwrap();
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let name = if scale == Scale::Linear { "linear" } else { "log" };
            let points = vec![(1.0, 5.0), (8.0, 2.0)];
            let (file, title, x, y) = (name.to_owned(), "t".to_owned(), "x", "y");
            plots.draw(&Chart { file, title, x, y, points, scale }).unwrap();
            for kind in ["svg", "png"] {
                let path = directory.path().join(format!("plots/{name}.{kind}"));
                assert!(fs_err::metadata(path).unwrap().len() > 500);
            }
        }
    }

    #[test]
    fn latencies_stand_at_their_percentiles() {
        let directory = tempfile::tempdir().unwrap();
        let plots = Plots::into_directory(directory.path()).unwrap();
        let points = one_in().map(|one_in| (one_in, one_in.ln())).collect();
        let (file, title) = ("latency".to_owned(), "t".to_owned());
        let scale = Scale::Percentiles;
        plots.draw(&Chart { file, title, x: "x", y: "y", points, scale }).unwrap();
        let svg = fs_err::read_to_string(directory.path().join("latency.svg")).unwrap();
        let labels: Vec<_> = svg.lines().filter(|line| line.ends_with(" %")).collect();
        assert_eq!(labels, ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"], "{svg}");
    }
}
