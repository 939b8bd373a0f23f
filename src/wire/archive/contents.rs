//! What an archive contains, and the rules by which it grows.

use super::{ArchiveError, End, Opening, Passed, Section};
use crate::{
    limits::{FORKS_MAX, FRONTIER_LOGS_MAX, SEQUENCE_MAX},
    model::{Batch, Compacted, Cursor, ForkProof, LogId, Position, TopicId},
};

/// What an archive contains up to a section.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    begun: Option<Begun>,
    forks: Vec<ForkProof>,
    batches: u64,
    records: u64,
    finished: bool,
}

#[derive(Debug, Clone)]
struct Begun {
    opening: Opening,
    topic: TopicId,
    cursor: Cursor,
}

impl Contents {
    /// Whose records they are; none before the first section.
    pub fn opening(&self) -> Option<&Opening> {
        self.begun.as_ref().map(|begun| &begun.opening)
    }

    /// Up to where the topic is in the archive.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.begun.as_ref().map(|begun| &begun.cursor)
    }

    /// The forks that are proven.
    pub fn forks(&self) -> &[ForkProof] {
        &self.forks
    }

    /// Number of batches.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Number of records.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Whether the end mark was there.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether a batch belongs to a branch whose proof is missing.
    pub fn lacks_proof_of(&self, batch: &Batch) -> bool {
        let log = batch.log();
        let proven = |proof: &ForkProof| proof.branches().contains(&log);
        batch.is_of_branch() && !self.forks.iter().any(proven)
    }

    /// The end mark that fits; none before the first section.
    pub(super) fn end(&self) -> Option<End> {
        let cursor = self.cursor()?.clone();
        Some(End { cursor, batches: self.batches, records: self.records })
    }

    /// The same without an end mark.
    pub(super) fn reopened(self) -> Self {
        Self { finished: false, ..self }
    }

    /// Adds the next section.
    pub(super) fn take(&mut self, section: &Section) -> Result<(), ArchiveError> {
        if self.finished {
            return Err(ArchiveError::Misplaced);
        }
        match (section, &mut self.begun) {
            (Section::Opening(opening), begun @ None) => {
                let topic = opening.topic();
                let cursor = Cursor::start(topic);
                *begun = Some(Begun { opening: Opening::clone(opening), topic, cursor });
                Ok(())
            }
            (Section::Opening(_), Some(_)) | (_, None) => Err(ArchiveError::Misplaced),
            (Section::Batch(batch), Some(_)) => self.take_batch(batch),
            (Section::Fork(proof), Some(_)) => self.take_fork(proof),
            (Section::Passed(passed), Some(begun)) => begun.take_passed(passed),
            (Section::Compacted(part), Some(begun)) => begun.take_compacted(part),
            (Section::End(end), Some(_)) => {
                if self.end().as_ref() != Some(end) {
                    return Err(ArchiveError::End);
                }
                self.finished = true;
                Ok(())
            }
        }
    }

    fn take_batch(&mut self, batch: &Batch) -> Result<(), ArchiveError> {
        let unproven = self.lacks_proof_of(batch);
        let begun = self.begun.as_mut().ok_or(ArchiveError::Misplaced)?;
        if batch.header().topic != begun.topic {
            return Err(ArchiveError::Foreign);
        }
        if unproven {
            return Err(ArchiveError::Unproven);
        }
        let forked =
            |proof: &ForkProof| proof.log() == batch.log() && proof.at() < batch.header().next();
        if self.forks.iter().any(forked) {
            return Err(ArchiveError::BeyondFork);
        }
        begun.check_room(&batch.log())?;
        begun.check_order(batch)?;
        begun.cursor.advance(batch);
        self.batches += 1;
        self.records += u64::from(batch.header().count);
        Ok(())
    }

    fn take_fork(&mut self, proof: &ForkProof) -> Result<(), ArchiveError> {
        let begun = self.begun.as_ref().ok_or(ArchiveError::Misplaced)?;
        if proof.topic() != begun.topic {
            return Err(ArchiveError::Foreign);
        }
        if begun.cursor.next(&proof.log()) > proof.at() {
            return Err(ArchiveError::BeyondFork);
        }
        if self.forks.len() >= FORKS_MAX {
            return Err(ArchiveError::TooMany);
        }
        self.forks.push(proof.clone());
        Ok(())
    }
}

impl Begun {
    /// Checks that a batch follows its log, by number and by hash.
    fn check_order(&self, batch: &Batch) -> Result<(), ArchiveError> {
        let header = batch.header();
        let follows = match self.cursor.logs.get(&batch.log()) {
            // A branch begins where it parts.
            None => header.first == 0 || batch.is_root(),
            Some(position) => {
                let before = header.previous.map(|previous| previous.hash);
                header.first == position.next
                    && position.head.is_none_or(|head| before == Some(head))
            }
        };
        if follows { Ok(()) } else { Err(ArchiveError::Order) }
    }

    fn check_room(&self, log: &LogId) -> Result<(), ArchiveError> {
        let logs = &self.cursor.logs;
        if logs.len() >= FRONTIER_LOGS_MAX && !logs.contains_key(log) {
            return Err(ArchiveError::TooMany);
        }
        Ok(())
    }

    fn take_compacted(&mut self, part: &Compacted) -> Result<(), ArchiveError> {
        let next = self.cursor.next(&part.log);
        if part.first != next || part.next <= part.first || part.next > SEQUENCE_MAX {
            return Err(ArchiveError::Order);
        }
        self.check_room(&part.log)?;
        // The batch before it is not known where the end of the log was passed over.
        let before = self.cursor.logs.get(&part.log).and_then(|position| position.head);
        if before.is_some_and(|head| part.base != Some(head)) {
            return Err(ArchiveError::Order);
        }
        self.cursor.advance_to(part.log, Position { next: part.next, head: Some(part.head) });
        Ok(())
    }

    fn take_passed(&mut self, passed: &Passed) -> Result<(), ArchiveError> {
        let range = passed.range;
        let next = self.cursor.next(&range.log);
        if range.from != next || range.to <= range.from || range.to > SEQUENCE_MAX {
            return Err(ArchiveError::Order);
        }
        self.check_room(&range.log)?;
        self.cursor.advance_to(range.log, Position { next: range.to, head: None });
        Ok(())
    }
}
