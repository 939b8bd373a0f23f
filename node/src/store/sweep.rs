//! What the sweeps of all stores have in common.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use antiphon::{
    engine::{Damage, Swept},
    model::LogId,
};

use super::{StoreError, Sweeping};

/// Damaged batches that one sweep tells of: as many as the engine remembers. The others a scrub
/// finds.
const DAMAGES_MAX: usize = 1_024;

/// Why a sweep did not come to its end.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The store is being closed.
    Stopped,
    Failed(StoreError),
}

impl From<StoreError> for Interruption {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// An error once the sweep is to stop.
pub(super) fn go_on(stop: &AtomicBool) -> Result<(), Interruption> {
    if stop.load(Ordering::Relaxed) { Err(Interruption::Stopped) } else { Ok(()) }
}

/// Damaged batches that a sweep came upon. It comes to each of them twice and more.
#[derive(Debug, Default)]
pub(super) struct Damages(BTreeMap<(LogId, u64), Damage>);

impl Damages {
    pub(super) fn add(&mut self, damage: Damage) {
        if self.0.len() < DAMAGES_MAX {
            self.0.insert((damage.log, damage.first), damage);
        }
    }
}

/// What came of a sweep.
pub(super) fn outcome(
    swept: Result<Swept, Interruption>,
    damages: Damages,
) -> Result<Sweeping, StoreError> {
    let swept = match swept {
        Ok(swept) => Some(swept),
        Err(Interruption::Stopped) => None,
        Err(Interruption::Failed(error)) => return Err(error),
    };
    Ok(Sweeping { swept, damages: damages.0.into_values().collect() })
}
