//! What a start makes of the segments: where the last whole group ends, and an index that knows
//! all up to there.
//!
//! The frames behind the position of the index are gone through twice: first to find out what is
//! whole ([`Survey`]), then to apply it. An index that is lost begins at no position, which is the
//! same thing over all segments.
//!
//! **The end.** A group was flushed before the next one was written. So of the last closing frame
//! only its own group is in doubt: it was being written when the power failed, or it is whole. A
//! group with a part missing, and anything without a closing frame, is cut off there. Everything
//! before it was durable. What cannot be read there is damage: it is reported, and what follows is
//! used.
//!
//! **A compacted range** replaces what was within it. If a log got batches back after it was
//! dropped, they lie behind the range that it once had, and replace that. It does not matter
//! whether the frame of the drop is read: of what overlaps, the later frame counts. At the end all
//! of it is in the index, with the place of its frame, so this is checked then and not at each
//! batch.
//!
//! **If everything is whole**, frames are applied as they were written, to the index as it was
//! after the group of its position.
//!
//! **If something is missing**, a log claims no more than the batches that exist: it is described
//! from its batches. Its low watermark and its tip come from the newest whole checkpoint and the
//! frames behind that. `checkpoint` has the rules. Which headers of trimmed batches are kept
//! follows from the low watermark and what the log says beside it.

use std::{collections::BTreeMap, ops::Range};

use antiphon::{
    engine::{AddError, Added, HeldSpan, Log, Tip},
    model::{Batch, Compacted, LogId, SignedHeader, TopicId},
};
use bytes::Bytes;

use super::{
    changes::{Applier, Usage},
    files::Files,
    frame::{Found, Frame, Kind, Scan},
    group::Commit,
    headers,
    index::Index,
    record::{OPENING_BYTES, Record},
};
use crate::store::{
    StoreError,
    keys::{Entry, Place, Position, Table, parse_log_key},
};

/// Bytes of a segment that are read. None is so large.
pub(super) const SEGMENT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What was found, and made of it.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The segment of the last whole group and the offset behind it; none where there is no group.
    pub(super) end: Option<(u32, usize)>,
    /// Higher than the number of any frame.
    pub(super) next_number: u64,
    pub(super) checkpoints: [u32; 2],
    pub(super) usage: Usage,
}

/// A checkpoint by the numbers of its frames.
#[derive(Debug, Clone, Copy)]
struct Checkpoint {
    segment: u32,
    first: u64,
    last: u64,
}

/// What stands behind a position.
#[derive(Debug, Default)]
struct Survey {
    end: Option<(u32, usize)>,
    last_number: u64,
    damages: Vec<(u32, Range<usize>)>,
    /// Whether numbers are missing: of segments that were removed, or of what is lost.
    has_gaps: bool,
    checkpoints: Vec<Checkpoint>,
}

/// The last closing frame so far.
struct Closing {
    segment: u32,
    commit: Commit,
    end: usize,
    is_whole: bool,
    /// Whether it was flushed for certain: something was written behind it.
    is_followed: bool,
}

/// Brings an index up to the end of the segments. Without a position the index must be empty.
pub(super) fn recover(
    files: &Files,
    salt: u64,
    index: &Index,
    position: Option<Position>,
) -> Result<Outcome, StoreError> {
    let segments = files.list()?;
    let begin = position.map_or((0, 0), |position| (position.segment, position.offset as usize));
    let behind: Vec<_> = segments.iter().copied().filter(|number| *number >= begin.0).collect();
    let number = position.map_or(0, |position| position.number);
    let survey = survey(files, salt, &behind, begin, number)?;
    for (segment, range) in &survey.damages {
        tracing::warn!(path = %files.path(*segment).display(), from = range.start, to = range.end, "damaged bytes in a segment; what they held is counted as missing");
    }
    let end = survey.end.or_else(|| position.map(|_| begin));
    let mut usage = Usage::new();
    for entry in index.entries(Table::Usage) {
        let (segment, live) = entry?;
        if let (Ok(segment), Ok(live)) = (segment.try_into(), live.try_into()) {
            usage.insert(u32::from_be_bytes(segment), u64::from_be_bytes(live));
        }
    }
    let is_whole = position.is_some() && survey.damages.is_empty() && !survey.has_gaps;
    let checkpoint = survey.checkpoints.last().copied().filter(|_| !is_whole);
    let mut replay = Replay {
        applier: Applier::new(index, &mut usage),
        index,
        is_whole,
        checkpoint,
        is_reached: checkpoint.is_none(),
        has_parts: position.is_some(),
    };
    let mut last = number;
    if let Some(end) = end {
        for (count, segment) in behind.iter().copied().filter(|number| *number <= end.0).enumerate()
        {
            let bytes = Bytes::from(files.read_all(segment, SEGMENT_BYTES_MAX)?);
            let from = if segment == begin.0 { begin.1 } else { OPENING_BYTES };
            let to = if segment == end.0 { end.1.min(bytes.len()) } else { bytes.len() };
            for found in Scan::new(&bytes[..to], salt, segment, from, last) {
                if let Found::Frame(frame) = found {
                    last = frame.head.number;
                    replay.apply(&bytes, &frame)?;
                }
            }
            if position.is_none() && count % 16 == 15 {
                tracing::info!(done = count + 1, of = behind.len(), "rebuilding the index");
            }
        }
    }
    if !is_whole {
        replay.reckon_logs()?;
    }
    let mut checkpoints = position.map_or([0; 2], |position| position.checkpoints);
    for checkpoint in &survey.checkpoints {
        checkpoints = [checkpoint.segment, checkpoints[0]];
    }
    let Replay { applier, .. } = replay;
    let next_number = survey.last_number.max(number) + 1;
    if let Some((segment, offset)) = end {
        let offset = u32::try_from(offset).expect("a segment is smaller than 4 GiB");
        applier.finish(Position { number: next_number - 1, segment, offset, salt, checkpoints })?;
    }
    // Every segment has an account, also one that holds nothing of use.
    usage.retain(|segment, _| segments.contains(segment));
    for segment in segments.iter().filter(|segment| end.is_some_and(|end| **segment <= end.0)) {
        usage.entry(*segment).or_default();
    }
    Ok(Outcome { end, next_number, checkpoints, usage })
}

fn survey(
    files: &Files,
    salt: u64,
    segments: &[u32],
    begin: (u32, usize),
    mut number: u64,
) -> Result<Survey, StoreError> {
    let mut survey = Survey::default();
    let mut closing: Option<Closing> = None;
    // The first number of those that are all there up to now.
    let mut run = number + 1;
    for segment in segments.iter().copied() {
        if files.is_untouched(segment) {
            continue;
        }
        let bytes = files.read_all(segment, SEGMENT_BYTES_MAX)?;
        let from = if segment == begin.0 { begin.1 } else { OPENING_BYTES };
        for found in Scan::new(&bytes, salt, segment, from, number) {
            let frame = match found {
                Found::Damaged(range) => {
                    survey.damages.push((segment, range));
                    run = u64::MAX;
                    continue;
                }
                Found::Frame(frame) => frame,
            };
            if run == u64::MAX || frame.head.number != number + 1 {
                survey.has_gaps |= frame.head.number != number + 1;
                run = frame.head.number;
            }
            number = frame.head.number;
            let commit = (frame.head.kind == Kind::Commit).then(|| Commit::decode(frame.payload));
            if let Some(commit) = commit.flatten() {
                let is_whole = commit.first >= run;
                if is_whole && commit.is_checkpoint {
                    let checkpoint = Checkpoint { segment, first: commit.first, last: number };
                    survey.checkpoints.push(checkpoint);
                }
                let end = frame.end();
                closing = Some(Closing { segment, commit, end, is_whole, is_followed: false });
            } else if let Some(closing) = &mut closing {
                closing.is_followed = true;
            }
        }
    }
    survey.last_number = number;
    survey.end = closing.map(|closing| {
        let is_durable = closing.is_whole || closing.is_followed;
        (closing.segment, if is_durable { closing.end } else { closing.commit.offset as usize })
    });
    let end = survey.end.unwrap_or(begin);
    survey.damages.retain(|(segment, range)| (*segment, range.start) < end);
    // A group that is not whole is no checkpoint, and all others stand before the end.
    Ok(survey)
}

/// Where the last whole group ends, for tests that ask it thousands of times.
#[cfg(test)]
pub(super) fn end_of(files: &Files, salt: u64) -> Option<(u32, usize)> {
    let segments = files.list().expect("a readable directory");
    survey(files, salt, &segments, (0, 0), 0).expect("readable segments").end
}

/// Applies frames to the index.
struct Replay<'a> {
    applier: Applier<'a>,
    index: &'a Index,
    /// Whether nothing is missing behind the position.
    is_whole: bool,
    /// The checkpoint that tells what of the frames before it is still of use.
    checkpoint: Option<Checkpoint>,
    is_reached: bool,
    /// Whether the index may have compacted ranges.
    has_parts: bool,
}

impl Replay<'_> {
    fn apply(&mut self, segment: &Bytes, frame: &Frame<'_>) -> Result<(), StoreError> {
        let Some(record) = Record::decode(frame) else {
            tracing::warn!(
                segment = frame.head.segment,
                offset = frame.offset,
                "a frame is not understood"
            );
            return Ok(());
        };
        let number = frame.head.number;
        if let Some(checkpoint) = self.checkpoint {
            if number == checkpoint.first {
                self.forget_state()?;
            }
            if number == checkpoint.last {
                self.is_reached = true;
                return self.keep_what_is_held();
            }
        }
        let is_in_checkpoint = self
            .checkpoint
            .is_some_and(|checkpoint| (checkpoint.first..checkpoint.last).contains(&number));
        match record {
            Record::Batch { hash, filed, bytes } => {
                match Batch::restore(segment.slice_ref(bytes), hash) {
                    Ok(batch) => return self.insert(&batch.filed(filed), frame),
                    Err(error) => {
                        tracing::warn!(segment = frame.head.segment, offset = frame.offset, %error, "a batch cannot be used");
                    }
                }
            }
            Record::Compacted { topic, part } => return self.compact(topic, &part, frame),
            // Whether it is still kept, what is told of its log says in the end.
            Record::Header { .. } => {
                let header = headers::header_in(segment, frame);
                if let Some(header) = &header {
                    let place = Place::of_header(header);
                    self.applier.insert_header(&place, &header_entry_of(header, frame))?;
                }
            }
            Record::Checkpoint(entries) if is_in_checkpoint => {
                for (key, value) in &entries {
                    self.applier.set(key, value.as_deref())?;
                }
            }
            // Frames of the small state before the checkpoint are in it, as far as they count.
            _ if !self.is_reached => {}
            Record::State(entries) => {
                for (key, value) in &entries {
                    self.applier.set(key, value.as_deref())?;
                }
            }
            Record::Drop { topic, log_id, records, log } => {
                self.applier.set_log(topic, log_id, log.as_ref());
                self.applier.drop_records(topic, log_id, records, log.as_ref())?;
            }
            Record::Quarantine { place, is_removed, log } => {
                if is_removed {
                    self.applier.remove(&place)?;
                }
                self.applier.set_log(place.topic, place.log, Some(&log));
            }
            Record::Checkpoint(_) | Record::Mark => {}
        }
        Ok(())
    }

    fn insert(&mut self, batch: &Batch, frame: &Frame<'_>) -> Result<(), StoreError> {
        let place = Place::of(batch);
        if self.is_reached {
            let mut log = self.applier.log(place.topic, place.log)?.unwrap_or_default();
            let added = log.add(batch);
            if self.is_whole
                && let Err(error) = added
            {
                tracing::warn!(log = ?place.log, at = place.first, %error, "a batch does not fit its log");
                return Ok(());
            }
            self.applier.set_log(place.topic, place.log, Some(&log));
        }
        self.applier.insert(&place, &entry_of(batch, frame))
    }

    fn compact(
        &mut self,
        topic: TopicId,
        part: &Compacted,
        frame: &Frame<'_>,
    ) -> Result<(), StoreError> {
        self.has_parts = true;
        let place = Place::of_part(topic, part);
        if self.is_reached {
            let mut log = self.applier.log(topic, part.log)?.unwrap_or_default();
            let Compacted { first, next, base, head, stamp, .. } = *part;
            // Mostly all of it was held before.
            let added = log.add_part(HeldSpan { first, next, base, head, stamp });
            if self.is_whole
                && let Err(error) = added
            {
                tracing::warn!(log = ?part.log, at = part.first, %error, "a compacted part does not fit its log");
                return Ok(());
            }
            self.applier.set_log(topic, part.log, Some(&log));
        }
        let (segment, length) = (frame.head.segment, frame.head.frame_bytes());
        let entry = Entry::of_part(part, segment, frame.offset, length);
        self.applier.compact(&place, &entry)
    }

    /// Removes all of the small state, which a checkpoint replaces.
    fn forget_state(&mut self) -> Result<(), StoreError> {
        self.applier.write()?;
        for table in Table::STATE {
            for entry in self.index.entries(table) {
                let key = [&[table.tag()], &entry?.0[..]].concat();
                self.applier.set(&key, None)?;
            }
        }
        Ok(())
    }

    fn logs(&self) -> Result<BTreeMap<(TopicId, LogId), Log>, StoreError> {
        let mut logs = BTreeMap::new();
        for entry in self.index.entries(Table::Logs) {
            let (key, value) = entry?;
            if let (Some(id), Ok(log)) = (parse_log_key(&key), minicbor::decode::<Log>(&value)) {
                logs.insert(id, log);
            }
        }
        Ok(logs)
    }

    /// Of the batches before a checkpoint, keeps those that lie in a span of their log, and the
    /// headers of trimmed ones.
    fn keep_what_is_held(&mut self) -> Result<(), StoreError> {
        self.remove_overtaken()?;
        self.applier.write()?;
        let logs = self.logs()?;
        for batch in self.index.all_batches() {
            let (place, entry) = batch?;
            let log = logs.get(&(place.topic, place.log));
            let is_held = log.is_some_and(|log| {
                let part = part_of(&place, &entry, log);
                log.spans.iter().any(|span| span.first <= part.first && part.next <= span.next)
            });
            if !is_held {
                self.applier.let_go(&place, &entry, log)?;
            }
        }
        self.keep_headers(&logs)
    }

    /// Removes headers that their logs do not keep.
    fn keep_headers(&mut self, logs: &BTreeMap<(TopicId, LogId), Log>) -> Result<(), StoreError> {
        for header in self.index.all_headers() {
            let (place, _) = header?;
            let log = logs.get(&(place.topic, place.log));
            if !log.is_some_and(|log| log.keeps_header(place.next)) {
                self.applier.remove_header(&place)?;
            }
        }
        Ok(())
    }

    /// Removes compacted parts that something overlaps that was written later. In the order of
    /// places that needs one part in memory: of what lies within a part all that was written
    /// earlier is gone already.
    fn remove_overtaken(&mut self) -> Result<(), StoreError> {
        if !self.has_parts {
            return Ok(());
        }
        self.applier.write()?;
        let mut last: Option<(Place, Entry)> = None;
        for stored in self.index.all_batches() {
            let (place, entry) = stored?;
            let is_overlapped = |(part, _): &(Place, Entry)| {
                (part.topic, part.log) == (place.topic, place.log) && place.first < part.next
            };
            last = last.filter(is_overlapped);
            if let Some((part, of_part)) = last {
                if of_part.lies_before(&entry) {
                    self.applier.remove(&part)?;
                    last = None;
                } else if entry.is_compacted {
                    self.applier.remove(&place)?;
                    continue;
                }
            }
            if entry.is_compacted {
                last = Some((place, entry));
            }
        }
        Ok(())
    }

    /// Describes each log from its batches.
    fn reckon_logs(&mut self) -> Result<(), StoreError> {
        self.remove_overtaken()?;
        self.applier.write()?;
        let claimed = self.logs()?;
        let mut held: BTreeMap<(TopicId, LogId), Log> = claimed
            .iter()
            .map(|(id, log)| (*id, Log { spans: Vec::new(), ..log.clone() }))
            .collect();
        for batch in self.index.all_batches() {
            let (place, entry) = batch?;
            let log = held.entry((place.topic, place.log)).or_default();
            if log.keeps_header(place.next) {
                // The frame with which it was let go is lost.
                self.applier.let_go(&place, &entry, Some(log))?;
                continue;
            }
            match log.add_part(part_of(&place, &entry, log)) {
                Ok(Added::New) => {}
                // It is counted as missing for now, but it is there.
                Err(AddError::TooManyGaps | AddError::TooManyLogs(_)) => {
                    tracing::warn!(log = ?place.log, at = place.first, "too many gaps to count a batch as held");
                }
                Ok(Added::Held | Added::Taken) | Err(AddError::Fork { .. }) => {
                    tracing::warn!(log = ?place.log, at = place.first, "a batch does not fit its log");
                    self.applier.remove(&place)?;
                }
            }
        }
        self.applier.write()?;
        self.keep_headers(&held)?;
        for ((topic, log_id), mut log) in held {
            let before = claimed.get(&(topic, log_id));
            // A writer must not go back behind what it once held.
            let once = before
                .and_then(end)
                .filter(|once| end(&log).is_none_or(|end| end.next < once.next));
            log.tip = once.or(log.tip);
            if before.is_some_and(|before| before.records() > log.records()) {
                let lost = before.map_or(0, Log::records) - log.records();
                tracing::warn!(%topic, writer = %log_id.writer, lost, "records were lost here");
            }
            self.applier.set_log(topic, log_id, Some(&log));
        }
        Ok(())
    }
}

/// The end of what a log holds or once held.
fn end(log: &Log) -> Option<Tip> {
    let held = log.spans.last();
    let held = held.map(|span| Tip { next: span.next, head: span.head, stamp: span.stamp });
    held.into_iter().chain(log.tip).max_by_key(|tip| tip.next)
}

/// What is held by a batch or a compacted part. Retention may have cut one of these in two, for it
/// cuts where batches ended.
fn part_of(place: &Place, entry: &Entry, log: &Log) -> HeldSpan {
    let is_cut = entry.is_compacted && place.first < log.low && log.low < place.next;
    let (first, base) = if is_cut { (log.low, log.base) } else { (place.first, entry.base) };
    HeldSpan { first, next: place.next, base, head: entry.hash, stamp: place.stamp }
}

fn entry_of(batch: &Batch, frame: &Frame<'_>) -> Entry {
    Entry::of(batch, frame.head.segment, frame.offset, frame.head.frame_bytes())
}

fn header_entry_of(header: &SignedHeader, frame: &Frame<'_>) -> Entry {
    Entry::of_header(header, frame.head.segment, frame.offset, frame.head.frame_bytes())
}
