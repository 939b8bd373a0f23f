//! A node never signs two batches for one position of one incarnation, whatever happens to its
//! disk (S6), and a fork is reported only where somebody else did, with its key (S7).

use antiphon::model::{Batch, Hash, LogId, TopicId};

use crate::world::oracle::Oracle;

pub(crate) const NAME: &str = "one position, one content";

/// How many batches before another one may overlap with it.
const LOOKED_AT: usize = 64;

/// A batch that was not seen before.
pub(crate) fn appeared(oracle: &mut Oracle, batch: &Batch) -> Result<(), String> {
    let header = batch.header();
    let (topic, log) = (header.topic, header.log());
    let (from, to) = (Hash([0; 32]), Hash([0; 32]));
    let others = oracle.positions.range((topic, log, 0, from)..(topic, log, header.next(), to));
    let others: Vec<Hash> = others.rev().take(LOOKED_AT).map(|(.., hash)| *hash).collect();
    let overlaps = |hash: &&Hash| {
        let other = oracle.batches.get(*hash);
        other.is_some_and(|other| other.batch.header().next() > header.first)
    };
    let is_twin = |hash: &Hash| oracle.twins.contains(hash);
    let mut overlapping = others.iter().filter(overlaps);
    let clash = overlapping.clone().find(|hash| !is_twin(hash) && !is_twin(&batch.hash()));
    let clash = clash.and_then(|hash| oracle.batches.get(hash)).map(|known| &known.batch);
    let has_forked = overlapping.next().is_some() && clash.is_none();
    let result = match clash {
        Some(other) => Err(format!("{batch:?} and {other:?} in one log")),
        None => Ok(()),
    };
    oracle.positions.insert((topic, log, header.first, batch.hash()));
    if has_forked {
        oracle.forked.insert((topic, log));
    }
    result
}

/// A node says that it has found a fork.
pub(crate) fn reported(oracle: &Oracle, topic: TopicId, log: LogId) -> Result<(), String> {
    if oracle.forked.contains(&(topic, log)) {
        return Ok(());
    }
    Err(format!("{log:?} of {topic:?} is said to have forked"))
}
