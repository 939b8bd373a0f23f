//! Reading batches as they were signed: for copies of a topic, and for programs that check
//! signatures.

use antiphon::{
    model::{Batch, Compacted, Cursor, TopicName},
    wire::{LogRange, Surveyed},
};

use super::{End, PassedOver, Reader, ReaderOptions, Start};
use crate::client::{Client, RequestError};

/// Some batches of a topic, in the order in which readers get them. A batch has records that one
/// node wrote together, with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPage {
    /// The batches; each was verified here.
    pub batches: Vec<Batch>,
    /// What was passed over before some of them, because no node of the network holds it any more.
    pub lost: Vec<LogRange>,
    /// What was passed over before some of them, because a limit of the topic had it deleted.
    pub trimmed: Vec<LogRange>,
    /// What was compacted right before some of them: newer records of the same keys have taken the
    /// place of all that it held.
    pub compacted: Vec<Compacted>,
}

/// Reads the batches of one topic, to the end of what is stored when it is started.
///
/// Memory is bounded by one page: what is not asked for is not fetched.
#[derive(Debug)]
pub struct BatchReader {
    reader: Reader,
}

impl BatchReader {
    pub(in crate::client) async fn start(
        client: Client,
        topic: TopicName,
        after: Option<Cursor>,
    ) -> Result<Self, RequestError> {
        let start = after.map_or(Start::Beginning, Start::At);
        let options = ReaderOptions { start, end: End::Stored, ..ReaderOptions::default() };
        Ok(Self { reader: Reader::start(client, topic, options).await? })
    }

    /// The state of the topic when the reader started.
    #[doc(hidden)]
    pub fn surveyed(&self) -> &Surveyed {
        self.reader.surveyed()
    }

    /// At the end: what exists and no node gave, see [`PassedOver::withheld`].
    pub fn withheld(&self) -> &[LogRange] {
        &self.reader.passed_over.withheld
    }

    /// The next batches; none at the end. The first of a log may start before the cursor that was
    /// given. Cancel-safe.
    ///
    /// # Errors
    /// When no node that holds the records can be reached; the reader stays where it is and
    /// can be asked again.
    pub async fn next(&mut self) -> Result<Option<BatchPage>, RequestError> {
        loop {
            if !self.reader.ready.is_empty() {
                let batches = self.reader.ready.drain(..).collect();
                let PassedOver { trimmed, lost, .. } = self.reader.take_passed_over();
                let compacted = std::mem::take(&mut self.reader.compacted);
                return Ok(Some(BatchPage { batches, lost, trimmed, compacted }));
            }
            if !self.reader.fetch().await? {
                return Ok(None);
            }
        }
    }
}
