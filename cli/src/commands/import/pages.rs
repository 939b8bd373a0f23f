//! The batches of an archive, as many at a time as one request takes.

use std::{collections::BTreeMap, io::Read};

use antiphon::{
    model::{Batch, Compacted, LogId, TopicName},
    wire::{
        self, LogRange, Outcome, Proofs, Refusal, Replicate, Surveyed,
        archive::{Contents, Section},
    },
};

use crate::archive::{ArchiveReader, ReadError};

/// Bytes of batches in one request, but for a larger batch. A page as large as nodes take would be
/// no faster on a LAN, and takes a slow link more time than a request has.
const REQUEST_BYTES: usize = 1024 * 1024;

/// Reads an archive that was verified, page by page.
pub(super) struct Pages<R> {
    reader: ArchiveReader<R>,
    topic: TopicName,
    forks: Option<Proofs>,
    /// The topic before the import.
    before: Surveyed,
    /// The batch that did not fit into the last page.
    next: Option<Batch>,
    /// What retention had trimmed before the next batch of each log.
    trimmed: BTreeMap<LogId, LogRange>,
    /// What compaction took away before it.
    compacted: BTreeMap<LogId, Compacted>,
}

/// Batches of one request.
pub(super) struct Page {
    topic: TopicName,
    batches: Vec<Batch>,
    forks: Option<Proofs>,
    trimmed: Vec<LogRange>,
    compacted: Vec<Compacted>,
}

impl<R: Read> Pages<R> {
    /// The pages of an archive that has these contents, for a topic.
    pub(super) fn new(
        reader: ArchiveReader<R>,
        contents: &Contents,
        topic: TopicName,
        before: Surveyed,
    ) -> Self {
        let forks = Proofs::of(contents.forks().iter());
        let (trimmed, compacted) = (BTreeMap::new(), BTreeMap::new());
        Self { reader, topic, forks, before, next: None, trimmed, compacted }
    }

    /// The next page; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Page>, ReadError> {
        let mut page = Page {
            topic: self.topic.clone(),
            batches: Vec::new(),
            forks: None,
            trimmed: Vec::new(),
            compacted: Vec::new(),
        };
        let mut bytes = 0;
        while let Some(batch) = self.next_batch()? {
            bytes += batch.bytes().len();
            if bytes > REQUEST_BYTES && !page.batches.is_empty() {
                self.next = Some(batch);
                break;
            }
            page.trimmed.extend(self.trimmed.remove(&batch.log()));
            page.compacted.extend(self.compacted.remove(&batch.log()));
            if batch.is_of_branch() {
                page.forks.clone_from(&self.forks);
            }
            page.batches.push(batch);
        }
        Ok(Some(page).filter(|page| !page.batches.is_empty()))
    }

    /// Whether the topic had nothing of these records either: else they are not to be given up.
    fn lacks(&self, range: &LogRange) -> bool {
        let (low, end) = (self.before.low.next(&range.log), self.before.end.next(&range.log));
        end == 0 || low >= range.to
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, ReadError> {
        if let Some(batch) = self.next.take() {
            return Ok(Some(batch));
        }
        while let Some(section) = self.reader.next()? {
            match section {
                Section::Batch(batch) => return Ok(Some(batch)),
                Section::Passed(passed) if passed.trimmed && self.lacks(&passed.range) => {
                    self.trimmed.insert(passed.range.log, passed.range);
                }
                Section::Compacted(part) => {
                    self.compacted.insert(part.log, part);
                }
                Section::Passed(_) | Section::Opening(_) | Section::Fork(_) | Section::End(_) => {}
            }
        }
        Ok(None)
    }
}

impl Page {
    /// The request that stores it.
    pub(super) fn to_request(&self) -> wire::Import {
        let replicate = Replicate {
            batches: self.batches.clone(),
            forks: self.forks.clone(),
            compacted: self.compacted.clone(),
            ..Replicate::default()
        };
        let (topic, trimmed) = (self.topic.clone(), self.trimmed.clone());
        wire::Import { topic, replicate, trimmed }
    }

    /// What becomes of each batch where the whole request is refused.
    pub(super) fn all_refused(&self, refusal: &Refusal) -> Vec<Outcome> {
        vec![Outcome::Refused(refusal.clone()); self.batches.len()]
    }

    /// Leaves what was refused in the page, and tells of each batch what became of it and how many
    /// records it has; the most serious refusal.
    pub(super) fn keep_refused(
        &mut self,
        outcomes: &[Outcome],
        mut tell: impl FnMut(&Outcome, u64),
    ) -> Option<Refusal> {
        let mut first = None;
        let mut outcomes = outcomes.iter();
        self.batches.retain(|batch| {
            let Some(outcome) = outcomes.next() else {
                return true;
            };
            tell(outcome, u64::from(batch.header().count));
            if let Outcome::Refused(refusal) = outcome {
                let is_silent = |known: &Refusal| *known == Refusal::Unreachable;
                if first.as_ref().is_none_or(is_silent) {
                    first = Some(refusal.clone());
                }
                return true;
            }
            false
        });
        first
    }
}
