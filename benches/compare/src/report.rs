//! What was measured, as tables and as JSON lines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    cases::{CASES, Case, Measured, Metric, Spread},
    contenders::Contender,
};

/// One run of one contender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) round: usize,
    pub(crate) case: &'static Case,
    pub(crate) contender: Contender,
    pub(crate) measured: Measured,
}

/// All runs.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) runs: Vec<Run>,
}

/// The figures of one contender in one metric of one case.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) contender: Contender,
    pub(crate) spread: Spread,
    /// Antiphon's figure divided by this one's, round by round.
    pub(crate) ratio: Option<Spread>,
}

impl Report {
    /// The cases of which something is known, each with its metrics.
    pub(crate) fn sections(&self) -> impl Iterator<Item = (&'static Case, Metric, Vec<Row>)> {
        CASES
            .iter()
            .flat_map(|case| case.metrics.iter().map(move |metric| (case, *metric)))
            .map(|(case, metric)| (case, metric, self.rows(case, metric)))
            .filter(|(_, _, rows)| !rows.is_empty())
    }

    fn rows(&self, case: &Case, metric: Metric) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for run in self.runs.iter().filter(|run| run.case.name == case.name) {
            if rows.iter().any(|row| row.contender == run.contender) {
                continue;
            }
            let rounds = self.rounds(case, metric, run.contender);
            let values = rounds.iter().map(|(_, value)| *value).collect();
            let Some(spread) = Spread::of(values) else { continue };
            let ratio = self.ratio(case, metric, &rounds, run.contender);
            rows.push(Row { contender: run.contender, spread, ratio });
        }
        rows
    }

    fn rounds(&self, case: &Case, metric: Metric, contender: Contender) -> Vec<(usize, f64)> {
        self.runs
            .iter()
            .filter(|run| run.case.name == case.name && run.contender == contender)
            .filter_map(|run| Some((run.round, run.measured.value(metric)?)))
            .collect()
    }

    fn ratio(
        &self,
        case: &Case,
        metric: Metric,
        rounds: &[(usize, f64)],
        contender: Contender,
    ) -> Option<Spread> {
        if contender == Contender::Antiphon {
            return None;
        }
        let ours = self.rounds(case, metric, Contender::Antiphon);
        let of_round = |round| ours.iter().find(|(ours, _)| *ours == round).map(|(_, value)| value);
        Spread::of(
            rounds.iter().filter_map(|(round, value)| Some(of_round(*round)? / value)).collect(),
        )
    }

    /// A table per case and metric.
    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        for (case, metric, rows) in self.sections() {
            let _ = writeln!(text, "\n{}: {}", case.name, metric.title());
            let _ = writeln!(
                text,
                "  {:<20}{:>8}{:>11}{:>11}{:>11}   antiphon / this: min, median, max",
                "", "flushed", "min", "median", "max"
            );
            for Row { contender, spread, ratio } in rows {
                let ratio = ratio.map_or_else(String::new, |ratio| {
                    format!("{:>8.2}{:>8.2}{:>8.2}", ratio.min, ratio.median, ratio.max)
                });
                let _ = writeln!(
                    text,
                    "  {:<20}{:>8}{:>11.0}{:>11.0}{:>11.0}   {ratio}",
                    contender.name(),
                    if contender.flushed() { "yes" } else { "no" },
                    spread.min,
                    spread.median,
                    spread.max,
                );
            }
        }
        text
    }

    /// A line per run, per contender and metric, and per contender what it guarantees.
    pub(crate) fn lines(&self, contenders: &[Contender]) -> Vec<Value> {
        let runs = self.runs.iter().map(Run::line);
        let summaries = self.sections().flat_map(|(case, metric, rows)| {
            rows.into_iter().map(move |row| {
                json!({
                    "kind": "summary", "case": case.name, "contender": row.contender.name(),
                    "flushed": row.contender.flushed(), "metric": metric.name(),
                    "more_is_better": metric.more_is_better(),
                    "min": row.spread.min, "median": row.spread.median, "max": row.spread.max,
                    "antiphon_ratio_min": row.ratio.map(|ratio| ratio.min),
                    "antiphon_ratio_median": row.ratio.map(|ratio| ratio.median),
                    "antiphon_ratio_max": row.ratio.map(|ratio| ratio.max),
                })
            })
        });
        let guarantees = contenders.iter().map(|contender| {
            let guarantee = contender.guarantee();
            json!({
                "kind": "guarantee", "contender": contender.name(), "flushed": guarantee.flushed,
                "signed": guarantee.signed, "copies": guarantee.copies,
                "meaning": guarantee.meaning,
            })
        });
        guarantees.chain(runs).chain(summaries).collect()
    }
}

impl Run {
    fn line(&self) -> Value {
        json!({
            "kind": "run", "round": self.round, "case": self.case.name,
            "contender": self.contender.name(), "size": self.case.size,
            "in_flight": self.case.in_flight, "messages": self.measured.messages,
            "msgs_per_s": self.measured.per_second.round(),
            "mb_per_s": self.measured.megabytes_per_second(self.case),
            "p50_us": self.measured.value(Metric::Median),
            "p99_us": self.measured.value(Metric::Percentile99),
        })
    }

    /// For whoever watches.
    pub(crate) fn progress(&self) -> String {
        let figures = match self.measured.latency {
            Some((median, percentile)) => format!("p50 {median:.0} us, p99 {percentile:.0} us"),
            None => format!("{:.0} records/s", self.measured.per_second),
        };
        format!("round {}, {}: {:<20}{figures}", self.round, self.case.name, self.contender.name())
    }
}

/// What an acknowledgement says, contender by contender.
pub(crate) fn guarantees(contenders: &[Contender]) -> String {
    let mut text = format!(
        "What an acknowledgement guarantees\n  {:<20}{:<14}{:<8}{:<8}\n",
        "", "flushed", "signed", "copies"
    );
    for contender in contenders {
        let guarantee = contender.guarantee();
        let _ = writeln!(
            text,
            "  {:<20}{:<14}{:<8}{:<8}{}",
            contender.name(),
            guarantee.flushed,
            guarantee.signed,
            guarantee.copies,
            guarantee.meaning
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_pair_the_rounds() {
        let run = |round, contender, per_second| Run {
            round,
            case: &CASES[0],
            contender,
            measured: Measured { messages: 1, per_second, latency: None },
        };
        let report = Report {
            runs: vec![
                run(1, Contender::Antiphon, 100.0),
                run(1, Contender::NatsFlushed, 50.0),
                run(2, Contender::Antiphon, 300.0),
                run(2, Contender::NatsFlushed, 100.0),
                run(3, Contender::NatsFlushed, 1.0),
            ],
        };
        let rows = report.rows(&CASES[0], Metric::Throughput);
        let ratio = rows[1].ratio.expect("a ratio");
        assert_eq!((ratio.min, ratio.median, ratio.max), (2.0, 2.5, 3.0));
        assert!(rows[0].ratio.is_none());
        assert_eq!(report.sections().count(), 1);
    }
}
