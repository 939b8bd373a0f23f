//! What was measured, and how several rounds of it become one.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::clock;

/// Length of one step of the throughput over time.
pub(super) const STEP: Duration = Duration::from_millis(100);

/// Steps that are kept: an hour. What comes later is counted into the last one.
const STEPS_MAX: usize = 36_000;

/// Latencies above this are told as this.
const LATENCY_MAX: Duration = Duration::from_mins(10);

/// The quantiles that are told, by name.
pub(super) const QUANTILES: [(&str, f64); 4] =
    [("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999)];

/// Times in microseconds, to three digits.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Self {
        let most = u64::try_from(LATENCY_MAX.as_micros()).expect("minutes fit");
        Self(Histogram::new_with_max(most, 3).expect("the bounds are well-formed"))
    }

    pub(super) fn record(&mut self, latency: Duration) {
        // The shortest time that can be told is a microsecond.
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    pub(super) fn at(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    pub(super) fn max(&self) -> u64 {
        self.0.max()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Counts and times of one measurement.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) messages: u64,
    pub(super) elapsed: Duration,
    pub(super) latencies: Latencies,
    /// What was done in each [`STEP`].
    pub(super) steps: Vec<u64>,
    started: Instant,
}

impl Measured {
    /// Begins now.
    pub(super) fn begin() -> Self {
        Self::begin_at(clock::instant())
    }

    /// Began then; several that began at the same time can be added up.
    pub(super) fn begin_at(started: Instant) -> Self {
        let (latencies, steps) = (Latencies::new(), Vec::new());
        Self { messages: 0, elapsed: Duration::ZERO, latencies, steps, started }
    }

    /// When it began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// One more is done, which took so long.
    pub(super) fn done(&mut self, now: Instant, latency: Duration) {
        self.latencies.record(latency);
        self.counted(now, 1);
    }

    /// Counts messages that are done, without their times.
    pub(super) fn counted(&mut self, now: Instant, count: u64) {
        self.messages += count;
        self.elapsed = now.duration_since(self.started);
        let step = usize::try_from(self.elapsed.as_nanos() / STEP.as_nanos()).unwrap_or(STEPS_MAX);
        let step = step.min(STEPS_MAX - 1);
        if self.steps.len() <= step {
            self.steps.resize(step + 1, 0);
        }
        self.steps[step] += count;
    }

    /// Adds what somebody else did at the same time.
    pub(super) fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.latencies.add(&other.latencies);
        self.steps.resize(self.steps.len().max(other.steps.len()), 0);
        for (sum, step) in self.steps.iter_mut().zip(&other.steps) {
            *sum += step;
        }
    }

    /// The throughput within a part of the work, from one share of it to another: whether it
    /// changes as the work grows. None where that took less than a few steps.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(super) fn rate_within(&self, from: f64, to: f64) -> Option<f64> {
        let (from, to) = (self.messages as f64 * from, self.messages as f64 * to);
        let (mut before, mut counted, mut steps) = (0.0, 0.0, 0_u32);
        for count in &self.steps {
            let count = *count as f64;
            // A step that is partly within counts as within: they are many.
            if before + count > from && before < to {
                counted += count;
                steps += 1;
            }
            before += count;
        }
        (steps >= 5).then(|| counted / (f64::from(steps) * STEP.as_secs_f64()))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(super) fn per_second(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// What a case was measured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) nodes: usize,
    pub(super) replicas: u16,
    pub(super) size: u32,
    pub(super) in_flight: u32,
}

/// A case, measured once or, as the median, several times.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) case: &'static str,
    pub(super) setting: Setting,
    pub(super) measured: Measured,
    /// Further results: names with their units, and values.
    pub(super) also: Vec<(&'static str, f64)>,
    spread: Option<Spread>,
    is_of_latency: bool,
}

/// The least and the most of several rounds.
#[derive(Debug, Clone, Copy)]
struct Spread {
    rounds: usize,
    per_second: (f64, f64),
    p50: (u64, u64),
    p99: (u64, u64),
}

impl Outcome {
    pub(super) fn new(case: &'static str, setting: Setting, measured: Measured) -> Self {
        Self { case, setting, measured, also: Vec::new(), spread: None, is_of_latency: false }
    }

    /// The latency is the point of it: its throughput was given, or is that of one at a time.
    pub(super) fn of_latency(self) -> Self {
        Self { is_of_latency: true, ..self }
    }

    /// With one more figure.
    pub(super) fn with(mut self, name: &'static str, value: f64) -> Self {
        self.also.push((name, value));
        self
    }

    /// The median of rounds: by throughput, or by the median latency where that is the point.
    pub(super) fn median(mut rounds: Vec<Self>) -> Self {
        let range = |of: &dyn Fn(&Self) -> u64| {
            let values = rounds.iter().map(of);
            (values.clone().min().unwrap_or(0), values.max().unwrap_or(0))
        };
        let rates = rounds.iter().map(|round| round.measured.per_second());
        let spread = Spread {
            rounds: rounds.len(),
            per_second: (
                rates.clone().fold(f64::INFINITY, f64::min),
                rates.fold(0.0_f64, f64::max),
            ),
            p50: range(&|round| round.measured.latencies.at(0.5)),
            p99: range(&|round| round.measured.latencies.at(0.99)),
        };
        if rounds.first().is_some_and(|round| round.is_of_latency) {
            rounds.sort_by_key(|round| round.measured.latencies.at(0.5));
        } else {
            rounds.sort_by(|one, other| {
                one.measured.per_second().total_cmp(&other.measured.per_second())
            });
        }
        let middle = rounds.len() / 2;
        let mut median = rounds.swap_remove(middle);
        median.spread = Some(spread);
        median
    }

    fn megabytes_per_second(&self) -> f64 {
        self.measured.per_second() * f64::from(self.setting.size) / 1e6
    }

    /// The object of `--json`: the same names in every case, null where there is nothing to tell.
    pub(super) fn to_json(&self) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("case", self.case.into());
        put("nodes", self.setting.nodes.into());
        put("replicas_wanted", self.setting.replicas.into());
        put("size", self.setting.size.into());
        put("in_flight", self.setting.in_flight.into());
        put("records", self.measured.messages.into());
        put("records_per_s", rounded(self.measured.per_second(), 1.0));
        put("mb_per_s", rounded(self.megabytes_per_second(), 1_000.0));
        let latencies = &self.measured.latencies;
        let told = |value: u64| if latencies.is_empty() { Value::Null } else { value.into() };
        for (name, quantile) in QUANTILES {
            put(name, told(latencies.at(quantile)));
        }
        put("max_us", told(latencies.max()));
        let spread = self.spread;
        put("rounds", spread.map_or(1, |spread| spread.rounds).into());
        let rate = |rate: Option<f64>| rate.map_or(Value::Null, |rate| rounded(rate, 1.0));
        put("records_per_s_min", rate(spread.map(|spread| spread.per_second.0)));
        put("records_per_s_max", rate(spread.map(|spread| spread.per_second.1)));
        let time = |time: Option<u64>| time.map_or(Value::Null, told);
        put("p50_us_min", time(spread.map(|spread| spread.p50.0)));
        put("p50_us_max", time(spread.map(|spread| spread.p50.1)));
        put("p99_us_min", time(spread.map(|spread| spread.p99.0)));
        put("p99_us_max", time(spread.map(|spread| spread.p99.1)));
        let also = self.also.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
        put("also", also.collect::<Map<_, _>>().into());
        object.into()
    }

    /// The row of the table: times in milliseconds.
    pub(super) fn to_row(&self) -> Vec<String> {
        let latencies = &self.measured.latencies;
        let time = |value: u64| match (latencies.is_empty(), u32::try_from(value)) {
            (true, _) => "-".to_owned(),
            (false, Ok(value)) => format!("{:.2}", f64::from(value) / 1e3),
            (false, Err(_)) => "much".to_owned(),
        };
        let mut row = vec![
            self.case.to_owned(),
            self.measured.messages.to_string(),
            format!("{:.0}", self.measured.per_second()),
            format!("{:.1}", self.megabytes_per_second()),
        ];
        row.extend(QUANTILES.map(|(_, quantile)| time(latencies.at(quantile))));
        row.push(time(latencies.max()));
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        row.extend([or_none(self.range()), or_none(self.other_figures())]);
        row
    }

    /// What a person is told below the table: a line for each case that has more to say.
    pub(super) fn remark(&self) -> Option<String> {
        let range = self.range().map(|range| format!("{range} records/s"));
        let parts: Vec<_> = range.into_iter().chain(self.other_figures()).collect();
        (!parts.is_empty()).then(|| format!("{}: {}", self.case, parts.join(", ")))
    }

    /// The least and the most records per second of several rounds.
    fn range(&self) -> Option<String> {
        let spread = self.spread.filter(|spread| spread.rounds > 1)?;
        Some(format!("{:.0}-{:.0}", spread.per_second.0, spread.per_second.1))
    }

    fn other_figures(&self) -> Option<String> {
        let also = self.also.iter().map(|(name, value)| format!("{name} {value}"));
        let also: Vec<_> = also.collect();
        (!also.is_empty()).then(|| also.join(", "))
    }
}

/// The columns of [`Outcome::to_row`] that a person is shown; what the others say is below.
pub(super) const BRIEF: [usize; 8] = [0, 1, 2, 3, 4, 6, 7, 8];

/// The columns of [`Outcome::to_row`].
pub(super) const COLUMNS: [&str; 11] = [
    "CASE", "RECORDS", "PER S", "MB/S", "P50 MS", "P90 MS", "P99 MS", "P99.9 MS", "MAX MS",
    "RANGE", "ALSO",
];

fn rounded(value: f64, precision: f64) -> Value {
    json!((value * precision).round() / precision)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: Setting = Setting { nodes: 3, replicas: 3, size: 100, in_flight: 1 };

    fn measured(count: u64, latency: Duration) -> Measured {
        let mut measured = Measured::begin();
        let end = measured.started() + Duration::from_secs(1);
        (0..count).for_each(|_| measured.done(end, latency));
        measured
    }

    #[test]
    fn the_object_has_the_contracts_keys_in_every_case() {
        let with = Outcome::new("publish", SETTING, measured(1_000, Duration::from_millis(2)));
        let without = Outcome::new("fetch", SETTING, Measured::begin());
        let keys = |outcome: &Outcome| -> Vec<String> {
            outcome.to_json().as_object().unwrap().keys().cloned().collect()
        };
        let first = [
            "case",
            "nodes",
            "replicas_wanted",
            "size",
            "in_flight",
            "records",
            "records_per_s",
            "mb_per_s",
            "p50_us",
            "p90_us",
            "p99_us",
            "p999_us",
            "max_us",
        ];
        assert_eq!(keys(&with)[..first.len()], first);
        assert_eq!(keys(&with), keys(&without));
        let object = with.to_json();
        assert_eq!(object["records_per_s"], 1_000.0);
        assert_eq!(object["mb_per_s"], 0.1);
        let p50 = object["p50_us"].as_u64().unwrap();
        assert!((2_000..=2_002).contains(&p50), "three digits: {p50}");
        assert_eq!(without.to_json()["p50_us"], Value::Null);
    }

    #[test]
    fn the_table_of_a_person_fits_80_columns() {
        let slow = measured(1_000_000, Duration::from_secs(9));
        let outcome = Outcome::new("fanout-nodes", SETTING, slow).with("subscribers", 20.0);
        let row = outcome.to_row();
        let mut table = crate::table::Table::new(&BRIEF.map(|at| COLUMNS[at]));
        table.push(BRIEF.map(|at| row[at].clone()).to_vec());
        assert!(table.lines(true).iter().all(|line| line.len() <= 80), "{:?}", table.lines(true));
        assert_eq!(outcome.remark().unwrap(), "fanout-nodes: subscribers 20");
    }

    #[test]
    fn the_median_round_is_told_with_its_spread() {
        let round = |count| Outcome::new("p", SETTING, measured(count, Duration::from_millis(1)));
        let median = Outcome::median(vec![round(30), round(10), round(20)]).to_json();
        assert_eq!(median["records_per_s"], 20.0);
        assert_eq!(
            (&median["records_per_s_min"], &median["records_per_s_max"]),
            (&json!(10.0), &json!(30.0))
        );
        assert_eq!(median["rounds"], 3);
    }

    #[test]
    fn the_throughput_of_a_part_of_the_work_is_told() {
        let mut measured = Measured::begin();
        let started = measured.started();
        // Ten a step at first, and then five.
        for (step, count) in (0..10).map(|step| (step, 10)).chain((10..30).map(|step| (step, 5))) {
            measured.counted(started + STEP * step, count);
        }
        assert_eq!(measured.rate_within(0.0, 0.5), Some(100.0));
        assert_eq!(measured.rate_within(0.5, 1.0), Some(50.0));
        assert_eq!(measured.rate_within(0.0, 0.1), None, "two steps say nothing");
    }

    #[test]
    fn what_was_done_at_the_same_time_is_added_up() {
        let mut sum = measured(10, Duration::from_millis(1));
        sum.add(&measured(20, Duration::from_millis(3)));
        assert_eq!((sum.messages, sum.steps[10]), (30, 30));
        assert!(sum.latencies.max() >= 3_000);
    }
}
