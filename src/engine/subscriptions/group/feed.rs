//! What a group's coordinator reads of the topic.

use std::collections::VecDeque;

use super::Key;
use crate::{
    engine::{
        Engine,
        ids::ReadId,
        read::{For, Job},
    },
    limits::GROUP_RECORDS_MAX,
    model::{SubscriberName, TopicId},
    wire::Page,
};

/// Bytes of batches that are read at a time: some thousand small records.
const PAGE_BYTES: usize = 512 * 1024;

impl Engine {
    /// Looks into what was read, as far as there is room, and reads on.
    pub(super) fn feed_group(&mut self, key: &Key) {
        let now = self.core.now.elapsed;
        let Some(group) = self.subscriptions.groups.groups.get_mut(key) else { return };
        // The replicas are being asked what is known of it.
        let Some(dispatch) = &mut group.dispatch else { return };
        while dispatch.len() < GROUP_RECORDS_MAX
            && let Some(batch) = group.read.pop_front()
        {
            dispatch.push(now, &batch);
        }
        let is_full = dispatch.len() >= GROUP_RECORDS_MAX || !group.read.is_empty();
        // Nobody looks ahead for members that are not there.
        let until = group.waiting.iter().map(|waiting| waiting.deadline).max();
        let Some(deadline) = until.filter(|_| !is_full && group.reading.is_none()) else {
            return;
        };
        let after = dispatch.read().clone();
        let (topic, name) = key.clone();
        self.look_at(topic, true);
        let job = Job::new(For::Group(name), topic, after);
        let job = self.read.jobs.insert(Job { bytes_max: PAGE_BYTES, deadline, ..job });
        if let Some(group) = self.subscriptions.groups.groups.get_mut(key) {
            group.reading = Some(job);
        }
        self.plan_read(job);
    }

    /// A read for a group has ended. Of one that failed the next tick begins another.
    pub(in crate::engine) fn group_read(
        &mut self,
        topic: TopicId,
        name: SubscriberName,
        number: ReadId,
        page: Option<Page>,
    ) {
        let key = (topic, name);
        let Some(group) = self.subscriptions.groups.groups.get_mut(&key) else { return };
        // Of a read from before the group was begun anew, other records follow.
        if group.reading != Some(number) {
            return;
        }
        group.reading = None;
        let found = page.map(|page| VecDeque::from(page.batches)).unwrap_or_default();
        if !found.is_empty() {
            group.read.extend(found);
            self.serve_members(&key);
        }
    }
}
