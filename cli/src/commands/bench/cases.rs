//! The cases: what each measures, and with how much work where the command line does not say.

mod catch_up;
mod create;
mod failover;
mod fanout;
mod fetch;
mod join;
mod latency;
mod publish;
mod restart;
mod topics;
mod vary;

use indicatif::ProgressBar;

use super::{
    bed::Bed,
    load::Load,
    measured::{Outcome, Setting},
    payloads::Payloads,
};
use crate::{
    arguments::{Bench, BenchCase},
    printer::Printer,
};

/// Records under way where the command line names no number.
const IN_FLIGHT_DEFAULT: u32 = 512;

/// Payload where the command line names no size.
const SIZE_DEFAULT: u32 = 128;

/// The same where it is about much data.
const LARGE_SIZE_DEFAULT: u32 = 1_024;

/// How much that is.
const LARGE_BYTES: u64 = 1_000_000_000;

/// How much less is done with `--short`.
const SHORT: u64 = 100;

/// One case at work.
pub(super) struct Run<'a> {
    pub(super) bed: &'a mut Bed,
    pub(super) arguments: &'a Bench,
    pub(super) printer: &'a Printer,
    pub(super) payloads: &'a Payloads,
}

impl Run<'_> {
    /// Records, or what else the case counts.
    fn messages(&self, default: u64) -> u64 {
        self.arguments.records.unwrap_or_else(|| self.scaled(default))
    }

    /// Seconds of a paced load.
    fn seconds(&self, default: u32) -> u32 {
        let default = if self.arguments.short { 1 } else { default };
        self.arguments.seconds.unwrap_or(default)
    }

    fn scaled(&self, amount: u64) -> u64 {
        if self.arguments.short { (amount / SHORT).max(1) } else { amount }
    }

    fn in_flight(&self) -> u32 {
        self.arguments.in_flight.unwrap_or(IN_FLIGHT_DEFAULT)
    }

    fn setting(&self, in_flight: u32) -> Setting {
        Setting {
            nodes: self.bed.nodes(),
            replicas: self.arguments.replicas,
            size: self.arguments.size.unwrap_or(SIZE_DEFAULT),
            in_flight,
        }
    }

    /// The setting of a case about much data, and as many records as that takes.
    fn large(&self) -> (Setting, u64) {
        let size = self.arguments.size.unwrap_or(LARGE_SIZE_DEFAULT);
        let setting = Setting { size, ..self.setting(self.in_flight()) };
        (setting, self.messages(LARGE_BYTES / u64::from(size)))
    }

    /// As fast as it goes.
    fn load(&self, size: u32, in_flight: u32, messages: u64) -> Load {
        let payloads = self.payloads.clone();
        Load { payloads, size, in_flight, messages, rate: None, stop: None }
    }

    fn progress(&self, case: &'static str, total: u64) -> ProgressBar {
        self.printer.progress_of(case, total)
    }
}

impl BenchCase {
    /// The cases that `all` stands for, in their order.
    pub(super) const EACH: [Self; 10] = [
        Self::Create,
        Self::Publish,
        Self::Latency,
        Self::Fetch,
        Self::Fanout,
        Self::Failover,
        Self::CatchUp,
        Self::Topics,
        Self::Join,
        Self::Restart,
    ];

    /// Nodes that it starts where the command line names no number.
    pub(super) fn nodes_default(self, is_short: bool) -> u16 {
        match self {
            Self::Join if is_short => 8,
            Self::Join => 50,
            // One to kill, one to publish through, and all replicas are there all the same.
            Self::Failover => 4,
            _ => 3,
        }
    }

    /// Whether it needs nodes that are its own.
    pub(super) fn is_disruptive(self) -> bool {
        matches!(self, Self::Failover | Self::CatchUp | Self::Join | Self::Restart)
    }

    /// Measures it once.
    pub(super) async fn measure(self, run: &mut Run<'_>) -> anyhow::Result<Vec<Outcome>> {
        match self {
            Self::Create => create::measure(run).await,
            Self::Publish => publish::measure(run).await,
            Self::Latency => Box::pin(latency::measure(run)).await,
            Self::Fetch => Box::pin(fetch::measure(run)).await,
            Self::Fanout => Box::pin(fanout::measure(run)).await,
            Self::Failover => Box::pin(failover::measure(run)).await,
            Self::CatchUp => Box::pin(catch_up::measure(run)).await,
            Self::Topics => Box::pin(topics::measure(run)).await,
            Self::Join => Box::pin(join::measure(run)).await,
            Self::Restart => Box::pin(restart::measure(run)).await,
            Self::All => unreachable!("it stands for the others"),
        }
    }
}
