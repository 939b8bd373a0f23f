//! A node never signs two batches for one position of one incarnation, whatever happens to its
//! disk (S6), and a fork is reported only where somebody else did, with its key (S7).

use antiphon::model::{Batch, Hash, LogId, TopicId};

use crate::oracle::Oracle;

pub(crate) const NAME: &str = "one position, one content";

/// A batch that was not seen before.
pub(crate) fn appeared(oracle: &mut Oracle, batch: &Batch) -> Result<(), String> {
    let header = batch.header();
    let (topic, log) = (header.topic, header.log());
    let (from, to) = (Hash([0; 32]), Hash([0; 32]));
    let others = oracle.positions.range((topic, log, 0, from)..(topic, log, header.next(), to));
    let mut honest = others.rev().filter(|(.., hash)| !oracle.twins.contains(hash));
    let other = honest.next().and_then(|(.., hash)| oracle.batches.get(hash));
    let clash = other.map(|known| &known.batch).filter(|other| {
        other.header().next() > header.first && !oracle.twins.contains(&batch.hash())
    });
    let result = match clash {
        Some(other) => Err(format!("{batch:?} and {other:?} in one log")),
        None => Ok(()),
    };
    oracle.positions.insert((topic, log, header.first, batch.hash()));
    result
}

/// A node says that it has found a fork.
pub(crate) fn reported(oracle: &Oracle, topic: TopicId, log: LogId) -> Result<(), String> {
    if oracle.forked.contains(&(topic, log)) {
        return Ok(());
    }
    Err(format!("{log:?} of {topic:?} is said to have forked"))
}
