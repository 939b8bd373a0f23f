//! What a writer has under way in one topic: queued, sealed and pending records.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use crate::{
    engine::ids::{QuestionId, WriteNumber},
    limits::{BATCH_BODY_BYTES_TARGET, BATCH_RECORDS_MAX, BATCH_RUNS_MAX},
    model::{Batch, Incarnation, LogId, NodeId, Previous, Run},
    wire::Acks,
};

/// Bytes of records of one topic that were told to be pending and whose batches are kept in memory,
/// so that their replicas are sent them at once when they are back.
const PENDING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long they are kept there.
const PENDING_AGE_MAX: Duration = Duration::from_secs(30);

/// How often the replicas are asked whether they hold by now what was told to be pending.
pub(in crate::engine) const BEHIND_SURVEY_INTERVAL: Duration = Duration::from_millis(500);

/// Records that are not sealed yet.
#[derive(Debug)]
pub(in crate::engine) struct Queued {
    /// Of one producer, but for what was sealed before and is sealed again.
    pub(in crate::engine) runs: Vec<Run>,
    pub(in crate::engine) records: Bytes,
    pub(in crate::engine) waiting: Vec<Waiting>,
}

/// A publisher that waits, for how many copies and until when.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Waiting {
    pub(in crate::engine) question: QuestionId,
    pub(in crate::engine) acks: Acks,
    pub(in crate::engine) deadline: Duration,
    /// Whether somebody else published the same before.
    pub(in crate::engine) duplicate: bool,
}

/// A sealed batch that a quorum does not hold yet, or that stands behind one.
#[derive(Debug)]
pub(in crate::engine) struct Unacknowledged {
    pub(in crate::engine) batch: Batch,
    /// Of its records as they were queued: what it counts for where memory is bounded.
    pub(in crate::engine) bytes: usize,
    pub(in crate::engine) sealed: Duration,
    pub(in crate::engine) receipts: BTreeSet<NodeId>,
    /// The write that stores it here; none where this node's disk has lost it since.
    pub(in crate::engine) written: Option<WriteNumber>,
    pub(in crate::engine) waiting: Vec<Waiting>,
    /// Whether a publisher was told that it is pending.
    pub(in crate::engine) is_pending: bool,
}

/// Records that were told to be pending and are no longer kept in memory.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Behind {
    pub(in crate::engine) log: LogId,
    pub(in crate::engine) first: u64,
    pub(in crate::engine) next: u64,
    /// When the replicas are asked next whether they hold them.
    pub(in crate::engine) survey_at: Duration,
}

/// What this node writes to one topic.
#[derive(Debug)]
pub(in crate::engine) struct Outgoing {
    /// The incarnation that it writes in, until its log forks.
    pub(in crate::engine) incarnation: Incarnation,
    /// The log forked: until when to wait for the end of the own branch to be known.
    pub(in crate::engine) parted: Option<Parted>,
    /// The old incarnation of which the others are being asked whether it can be continued.
    pub(in crate::engine) confirming: Option<Incarnation>,
    pub(in crate::engine) previous: Option<Previous>,
    pub(in crate::engine) next: u64,
    pub(in crate::engine) queued: VecDeque<Queued>,
    /// Before all that is unacknowledged.
    pub(in crate::engine) behind: Option<Behind>,
    pub(in crate::engine) unacknowledged: VecDeque<Unacknowledged>,
}

/// The end of the own chain in a log that has forked.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Parted {
    pub(in crate::engine) of: LogId,
    pub(in crate::engine) until: Duration,
}

impl Outgoing {
    /// Takes the next batch's worth off the queue.
    pub(in crate::engine) fn take_body(&mut self) -> (Vec<Run>, Bytes, Vec<Waiting>) {
        let mut runs: Vec<Run> = Vec::new();
        let mut parts: Vec<Bytes> = Vec::new();
        let mut waiting = Vec::new();
        let (mut bytes, mut count) = (0, 0);
        while let Some(next) = self.queued.front() {
            let more: u32 = next.runs.iter().map(|run| run.count).sum();
            let fits = bytes + next.records.len() <= BATCH_BODY_BYTES_TARGET
                && count + more <= BATCH_RECORDS_MAX
                && runs.len() + next.runs.len() <= BATCH_RUNS_MAX;
            if !parts.is_empty() && !fits {
                break;
            }
            let Some(next) = self.queued.pop_front() else {
                break;
            };
            bytes += next.records.len();
            count += more;
            for run in next.runs {
                match runs.last_mut() {
                    Some(last)
                        if last.producer == run.producer
                            && last.first + u64::from(last.count) == run.first =>
                    {
                        last.count += run.count;
                    }
                    Some(_) | None => runs.push(run),
                }
            }
            parts.push(next.records);
            waiting.extend(next.waiting);
        }
        let body = match parts.as_slice() {
            [one] => one.clone(),
            many => {
                let mut body = BytesMut::with_capacity(bytes);
                for part in many {
                    body.extend_from_slice(part);
                }
                body.freeze()
            }
        };
        (runs, body, waiting)
    }

    /// Goes on in another incarnation, which begins with the next batch.
    pub(in crate::engine) fn begin_anew(&mut self, random: &mut fastrand::Rng) {
        self.incarnation = Incarnation(random.u64(..));
        self.next = 0;
    }

    /// Records a batch that was made of what [`Self::take_body`] took.
    pub(in crate::engine) fn sealed(&mut self, batch: &Batch) {
        let header = batch.header();
        self.next = header.next();
        self.previous = Some(Previous {
            incarnation: header.incarnation,
            next: header.next(),
            hash: batch.hash(),
        });
    }

    /// Drops the oldest batches for which nobody waits from memory, if they are too many or too
    /// old; repair and handover then bring them to the replicas. If all topics together have too
    /// much, any such batch is dropped.
    pub(in crate::engine) fn leave_behind(&mut self, now: Duration, too_much: bool) {
        let bytes_max = if too_much { 0 } else { PENDING_BYTES_MAX };
        let mut bytes: usize = self.unacknowledged.iter().map(|sealed| sealed.bytes).sum();
        while let Some(oldest) = self.unacknowledged.pop_front_if(|oldest| {
            let old = now.saturating_sub(oldest.sealed) > PENDING_AGE_MAX;
            // What is behind of one log is confirmed before that of the next.
            let log = oldest.batch.header().log();
            let follows = self.behind.is_none_or(|behind| behind.log == log);
            follows && oldest.waiting.is_empty() && (old || bytes > bytes_max)
        }) {
            bytes -= oldest.bytes;
            let header = oldest.batch.header();
            let behind = self.behind.get_or_insert_with(|| Behind {
                log: header.log(),
                first: header.first,
                next: header.next(),
                survey_at: now + BEHIND_SURVEY_INTERVAL,
            });
            behind.next = header.next();
        }
    }

    /// Whether any publisher waits.
    pub(in crate::engine) fn is_waited_for(&self) -> bool {
        let waits = |sealed: &Unacknowledged| !sealed.waiting.is_empty();
        !self.queued.is_empty() || self.unacknowledged.iter().any(waits)
    }

    /// Whether nothing is under way.
    pub(in crate::engine) fn is_idle(&self) -> bool {
        self.unacknowledged.is_empty() && self.queued.is_empty() && self.behind.is_none()
    }

    /// Bytes that this topic has queued and unacknowledged.
    pub(in crate::engine) fn bytes(&self) -> usize {
        let queued: usize = self.queued.iter().map(|queued| queued.records.len()).sum();
        queued + self.unacknowledged.iter().map(|sealed| sealed.bytes).sum::<usize>()
    }
}
