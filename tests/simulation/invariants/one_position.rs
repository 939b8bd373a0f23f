//! A node never signs two batches for one position of one incarnation, whatever happens to its
//! disk (S6), and no node reports that one did (S7).

use antiphon::{
    engine::AddError,
    model::{Batch, LogId, TopicId},
};

use crate::oracle::Oracle;

pub(crate) const NAME: &str = "one position, one content";

/// A batch that was not seen before.
pub(crate) fn appeared(oracle: &mut Oracle, batch: &Batch) -> Result<(), String> {
    let header = batch.header();
    let (topic, log) = (header.topic, header.log());
    let other = oracle.positions.range((topic, log, 0)..(topic, log, header.next())).next_back();
    let other = other.and_then(|(_, hash)| oracle.batches.get(hash)).map(|known| &known.batch);
    let clash = other.filter(|other| other.header().next() > header.first);
    let result = match clash {
        Some(other) => Err(format!("{batch:?} and {other:?} in one log")),
        None => Ok(()),
    };
    oracle.positions.insert((topic, log, header.first), batch.hash());
    result
}

/// A node says that it has found a fork.
pub(crate) fn reported(topic: TopicId, log: LogId, error: AddError) -> Result<(), String> {
    match error {
        AddError::Fork { at } => Err(format!("{log:?} of {topic:?} is said to fork at {at}")),
        _ => Ok(()),
    }
}
