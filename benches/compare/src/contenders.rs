//! Who is compared, at which settings, and what each guarantees at them.

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    cases::{Case, Measured},
    systems::{antiphon, nats, redis},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    Antiphon,
    NatsDefault,
    NatsDefaultBatch,
    NatsFlushed,
    NatsFlushedBatch,
    RedisFlushed,
    RedisEverysec,
}

/// Where the commands are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) antiphon: PathBuf,
    pub(crate) nats_server: PathBuf,
    pub(crate) redis_server: PathBuf,
}

/// What an acknowledgement says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guarantee {
    pub(crate) flushed: &'static str,
    pub(crate) signed: &'static str,
    pub(crate) copies: &'static str,
    pub(crate) meaning: &'static str,
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Antiphon => "antiphon",
            Self::NatsDefault => "nats-default",
            Self::NatsDefaultBatch => "nats-default-batch",
            Self::NatsFlushed => "nats-flushed",
            Self::NatsFlushedBatch => "nats-flushed-batch",
            Self::RedisFlushed => "redis-flushed",
            Self::RedisEverysec => "redis-everysec",
        }
    }

    /// Whether an acknowledged record is on disk, so that a power cut does not take it.
    pub(crate) fn flushed(self) -> bool {
        matches!(
            self,
            Self::Antiphon | Self::NatsFlushed | Self::NatsFlushedBatch | Self::RedisFlushed
        )
    }

    /// A batch of one is no batch.
    pub(crate) fn takes(self, case: &Case) -> bool {
        !(case.one_at_a_time() && matches!(self, Self::NatsDefaultBatch | Self::NatsFlushedBatch))
    }

    pub(crate) fn guarantee(self) -> Guarantee {
        match self {
            Self::Antiphon => Guarantee {
                flushed: "yes, 2 disks",
                signed: "yes",
                copies: "2 of 3",
                meaning: "verified, written and flushed by 2 of 3 nodes",
            },
            Self::NatsDefault | Self::NatsDefaultBatch => Guarantee {
                flushed: "no",
                signed: "no",
                copies: "2 of 3",
                meaning: "written by 2 of 3 servers, flushed every 2 minutes (sync_interval)",
            },
            Self::NatsFlushed | Self::NatsFlushedBatch => Guarantee {
                flushed: "yes, 2 disks",
                signed: "no",
                copies: "2 of 3",
                meaning: "written and flushed by 2 of 3 servers (sync_interval: always)",
            },
            Self::RedisFlushed => Guarantee {
                flushed: "yes, 2 disks",
                signed: "no",
                copies: "2 of 3",
                meaning: "flushed by the primary and by one replica, of which WAIT promises only that \
                          it received; nobody takes over",
            },
            Self::RedisEverysec => Guarantee {
                flushed: "no",
                signed: "no",
                copies: "2 of 3",
                meaning: "received by the primary and by one replica, flushed every second; \
                          nobody takes over",
            },
        }
    }

    /// About how many records a second it takes on two cores, from which follows how many it
    /// is given.
    fn expected(self, case: &Case) -> usize {
        let [few, many, large, single] = match self {
            Self::Antiphon => [250_000, 400_000, 60_000, 1_200],
            Self::NatsDefault => [80_000, 90_000, 50_000, 2_500],
            Self::NatsDefaultBatch => [150_000, 200_000, 80_000, 0],
            Self::NatsFlushed => [45_000, 70_000, 30_000, 1_300],
            Self::NatsFlushedBatch => [80_000, 110_000, 40_000, 0],
            Self::RedisFlushed => [100_000, 150_000, 45_000, 2_000],
            Self::RedisEverysec => [250_000, 280_000, 110_000, 10_000],
        };
        match (case.in_flight, case.size) {
            (1, _) => single,
            (_, 1024) => large,
            (512, _) => few,
            _ => many,
        }
    }

    /// The records of a run that is to take about so many seconds.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few million at most, and positive"
    )]
    pub(crate) fn messages(self, case: &Case, seconds: f64) -> usize {
        let wanted = (self.expected(case) as f64 * seconds) as usize;
        // Fewer would measure the beginning and the end only.
        wanted.max(case.in_flight * 4).max(100)
    }

    /// Starts it, runs the case, checks what is there, and ends it.
    pub(crate) async fn measure(
        self,
        programs: &Programs,
        directory: &std::path::Path,
        case: &Case,
        messages: usize,
    ) -> Result<Measured> {
        let nats = |flushed, batches| {
            let settings = nats::Settings { flushed, batches };
            nats::measure(&programs.nats_server, directory, settings, case, messages)
        };
        let redis =
            |flushed| redis::measure(&programs.redis_server, directory, flushed, case, messages);
        match self {
            Self::Antiphon => {
                antiphon::measure(&programs.antiphon, directory, case, messages).await
            }
            Self::NatsDefault => nats(false, false).await,
            Self::NatsDefaultBatch => nats(false, true).await,
            Self::NatsFlushed => nats(true, false).await,
            Self::NatsFlushedBatch => nats(true, true).await,
            Self::RedisFlushed => redis(true).await,
            Self::RedisEverysec => redis(false).await,
        }
    }
}
