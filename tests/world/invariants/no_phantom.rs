//! Nothing is read that was not published: the name, the topic and the bytes are a publisher's
//! (S3, S12).

use antiphon::model::{Record, RecordId};

use crate::world::oracle::Oracle;

pub(crate) const NAME: &str = "no phantom";

pub(crate) fn read(
    oracle: &Oracle,
    topic: usize,
    id: RecordId,
    record: Option<&Record>,
) -> Result<(), String> {
    let Some(published) = oracle.published.get(&id) else {
        return Err(format!("{id:?} was never published"));
    };
    let same = record.is_some_and(|record| *record.payload == *published.payload);
    if published.topic != topic || !same {
        return Err(format!("{id:?} is not what was published"));
    }
    Ok(())
}
