//! What a log claims to hold must be there.
//!
//! A receipt, a frontier and the decision to delete a copy elsewhere rest on the logs, and the
//! logs on this: each commit changes batches and logs together. fjall keeps that promise through
//! crashes. It does not when its journal is damaged, for it goes on with the part before the
//! damage, while one keyspace may have been moved to its own files further than another.
//!
//! So every commit leaves its number in both keyspaces. As long as the numbers agree, so do the
//! keyspaces. If not, each log is compared with the keys of its batches, and one that claims too
//! much is told anew from the batches themselves. Repair brings what is missing.

use antiphon::{
    engine::{HeldSpan, Log, Tip},
    model::{LogId, TopicId},
};

use super::{FjallStore, Group, Table, values::encode};
use crate::store::{StoreError, keys};

impl FjallStore {
    /// Brings the logs back in line with the batches, where a damaged journal set them apart.
    pub(super) fn check_claims(&self) -> Result<(), StoreError> {
        let [batches, logs] =
            [self.tables.commits(Table::Batches)?, self.tables.commits(Table::Logs)?];
        if batches == logs {
            return Ok(());
        }
        tracing::warn!(batches, logs, "the journal was damaged; checking what is still held");
        let mut group = Group::default();
        for (topic, logs) in self.recover_logs()? {
            for (log_id, log) in logs {
                if !self.is_held(topic, log_id, &log)? {
                    let held = self.held(topic, log_id, &log)?;
                    let (before, now) = (log.records(), held.records());
                    tracing::warn!(%topic, log = ?log_id, before, now, "records were lost here");
                    group.put(Table::Logs, keys::log_key(topic, log_id), encode(&held));
                }
            }
        }
        group.number(batches.max(logs));
        self.latching(|| self.flush(group))
    }

    /// Whether there are batches for all that a log claims.
    fn is_held(&self, topic: TopicId, log_id: LogId, log: &Log) -> Result<bool, StoreError> {
        for span in &log.spans {
            let mut at = span.first;
            for place in self.tables.batches_from(topic, log_id, span.first) {
                let place = place?;
                if place.first != at || at >= span.next {
                    break;
                }
                at = place.next;
            }
            if at != span.next {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A log as its batches tell it.
    fn held(&self, topic: TopicId, log_id: LogId, claimed: &Log) -> Result<Log, StoreError> {
        let end = |span: &HeldSpan| Tip { next: span.next, head: span.head, stamp: span.stamp };
        let tip = claimed.spans.last().map(end).or(claimed.tip);
        let mut held = Log { low: claimed.low, spans: Vec::new(), tip };
        for place in self.tables.batches_from(topic, log_id, 0) {
            let place = place?;
            let added = match self.tables.load(&place) {
                Ok(batch) => batch.map(|batch| held.add(&batch)),
                Err(StoreError::Damaged { .. }) => None,
                Err(error) => return Err(error),
            };
            if let None | Some(Err(_)) = added {
                tracing::warn!(log = ?log_id, at = place.first, "a batch cannot be used");
            }
        }
        Ok(held)
    }
}
