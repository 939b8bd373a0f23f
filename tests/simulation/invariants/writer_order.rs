//! A reader is shown the records of one writer in the order written, also across restarts: the
//! first batch of a new log comes after the batch of the old log that it names (design 2).

use antiphon::model::{Batch, Cursor, LogId};

pub(crate) const NAME: &str = "order of one writer";

/// What a batch names as the one before it was shown before it.
pub(crate) fn continues(cursor: &Cursor, batch: &Batch) -> Result<(), String> {
    let header = batch.header();
    let Some(previous) = header.previous.filter(|named| named.incarnation != header.incarnation)
    else {
        return Ok(());
    };
    let log = LogId { writer: header.writer, incarnation: previous.incarnation };
    if header.first == 0 && cursor.next(&header.log()) == 0 && cursor.next(&log) < previous.next {
        let shown = cursor.next(&log);
        return Err(format!(
            "{batch:?} is shown after {shown} of {log:?}, and {} came before it",
            previous.next
        ));
    }
    Ok(())
}
