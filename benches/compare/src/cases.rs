//! What is measured of each contender.

use anyhow::{Result, ensure};

/// One load, the same for every contender.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Bytes of a record.
    pub(crate) size: usize,
    /// Records sent and not yet acknowledged, at most.
    pub(crate) in_flight: usize,
    pub(crate) metrics: &'static [Metric],
}

/// A figure of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Acknowledged records a second.
    Throughput,
    /// Microseconds from the call to the acknowledgement, the median.
    Median,
    /// The same, of the slowest of a hundred.
    Percentile99,
}

pub(crate) const CASES: [Case; 4] = [
    Case {
        name: "128 B, 512 in flight",
        size: 128,
        in_flight: 512,
        metrics: &[Metric::Throughput],
    },
    Case {
        name: "128 B, 8192 in flight",
        size: 128,
        in_flight: 8192,
        metrics: &[Metric::Throughput],
    },
    Case {
        name: "1 KiB, 512 in flight",
        size: 1024,
        in_flight: 512,
        metrics: &[Metric::Throughput],
    },
    Case {
        name: "128 B, one at a time",
        size: 128,
        in_flight: 1,
        metrics: &[Metric::Median, Metric::Percentile99],
    },
];

impl Case {
    /// Whether records are sent one at a time, and the time of each is taken.
    pub(crate) fn one_at_a_time(&self) -> bool {
        self.in_flight == 1
    }
}

impl Metric {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Throughput => "msgs_per_s",
            Self::Median => "p50_us",
            Self::Percentile99 => "p99_us",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Throughput => "acknowledged records/s (more is better)",
            Self::Median => "p50, microseconds (less is better)",
            Self::Percentile99 => "p99, microseconds (less is better)",
        }
    }

    pub(crate) fn more_is_better(self) -> bool {
        self == Self::Throughput
    }
}

/// What one run of one contender showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) messages: usize,
    pub(crate) per_second: f64,
    /// Median and 99th percentile in microseconds, where records were sent one at a time.
    pub(crate) latency: Option<(f64, f64)>,
}

impl Measured {
    /// The figures of `messages` records that took `seconds`.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 records")]
    pub(crate) fn throughput(messages: usize, seconds: f64) -> Self {
        Self { messages, per_second: messages as f64 / seconds, latency: None }
    }

    /// The figures of records that were sent one at a time and took so many microseconds each.
    pub(crate) fn one_at_a_time(mut microseconds: Vec<f64>) -> Result<Self> {
        ensure!(!microseconds.is_empty(), "no record was sent");
        microseconds.sort_by(f64::total_cmp);
        let seconds = microseconds.iter().sum::<f64>() / 1e6;
        let latency = (percentile(&microseconds, 50), percentile(&microseconds, 99));
        Ok(Self { latency: Some(latency), ..Self::throughput(microseconds.len(), seconds) })
    }

    /// Of payload, without what each adds to it.
    #[expect(clippy::cast_precision_loss, reason = "a size of a record")]
    pub(crate) fn megabytes_per_second(&self, case: &Case) -> f64 {
        (self.per_second * case.size as f64 / 1e3).round() / 1e3
    }

    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Throughput => Some(self.per_second),
            Metric::Median => self.latency.map(|(median, _)| median),
            Metric::Percentile99 => self.latency.map(|(_, percentile)| percentile),
        }
    }
}

/// The value below which `percent` of the sorted values are.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.saturating_sub(1)]
}

/// Minimum, median and maximum of some rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { min, median, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_of_rounds() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 3.0]).expect("values");
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert!(Spread::of(Vec::new()).is_none());
    }

    #[test]
    fn percentiles_of_a_hundred() {
        let measured = Measured::one_at_a_time((1..=100).map(f64::from).collect()).expect("some");
        assert_eq!(measured.latency, Some((50.0, 99.0)));
    }
}
