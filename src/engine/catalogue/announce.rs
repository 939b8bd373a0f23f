//! Telling other nodes of terms that this node signed, and waiting until enough of them keep them.
//!
//! All nodes that can be reached are told at once. A node that is not reached learns the terms when
//! it compares what it knows with others.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    engine::{
        core::Core,
        ids::{ChangeId, QuestionId},
        inflight::asks::Purpose,
        numbered::Numbered,
    },
    limits::{ASK_TIMEOUT, PUBLISH_TIMEOUT_DEFAULT, QUESTIONS_MAX, REPLICAS_MAX},
    model::{NodeId, SignedDescriptor, TopicId},
    wire::NodeRequest,
};

/// Pause before nodes that did not answer are told again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What is done to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Change {
    Created,
    Altered,
    Deleted,
}

/// Who waits for what was done to which topic.
pub(super) type Changed = (QuestionId, TopicId, Change);

/// A change of a topic that others are being told of.
#[derive(Debug)]
struct Announcement {
    changed: Changed,
    signed: SignedDescriptor,
    /// The nodes that keep it.
    kept: BTreeSet<NodeId>,
    /// How many of them are enough.
    wanted: usize,
    tell_at: Duration,
    deadline: Duration,
}

/// The changes under way.
#[derive(Debug, Default)]
pub(super) struct Announcements(Numbered<ChangeId, Announcement>);

impl Announcements {
    /// Whether no more changes can be under way.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= QUESTIONS_MAX
    }

    /// Tells all others. Returns the change if it need not wait for anybody.
    pub(super) fn begin(
        &mut self,
        core: &mut Core,
        changed: Changed,
        signed: SignedDescriptor,
    ) -> Option<Changed> {
        let others = core.members.reachable();
        // A majority, this node included.
        let wanted = (1 + others.len()).min(usize::from(REPLICAS_MAX)) / 2;
        let number = self.0.insert(Announcement {
            changed,
            signed,
            kept: BTreeSet::new(),
            wanted,
            tell_at: core.now.elapsed,
            deadline: core.now.elapsed + PUBLISH_TIMEOUT_DEFAULT,
        });
        self.tell(core, number);
        self.end_if_kept(number)
    }

    /// Tells those who are not known to keep it.
    fn tell(&mut self, core: &mut Core, number: ChangeId) {
        let Some(change) = self.0.get_mut(number) else { return };
        change.tell_at = core.now.elapsed + AGAIN_AFTER;
        for node in core.members.reachable() {
            if !change.kept.contains(&node) {
                let request = NodeRequest::Announce(Some(Box::new(change.signed.clone())));
                core.ask(node, request, ASK_TIMEOUT, Purpose::Announce(number));
            }
        }
    }

    fn end_if_kept(&mut self, number: ChangeId) -> Option<Changed> {
        let change = self.0.get(number)?;
        let is_kept = change.kept.len() >= change.wanted;
        is_kept.then(|| self.0.remove(number)).flatten().map(|change| change.changed)
    }

    /// A node keeps the terms, or better ones. Returns the change if that is enough.
    pub(super) fn on_kept(&mut self, number: ChangeId, node: NodeId) -> Option<Changed> {
        // Enough others answered before.
        self.0.get_mut(number)?.kept.insert(node);
        self.end_if_kept(number)
    }

    /// Tells again who did not answer. Returns the changes whose time is over: they hold here, and
    /// others learn them later.
    pub(super) fn on_tick(&mut self, core: &mut Core) -> Vec<Changed> {
        let now = core.now.elapsed;
        let over = self.0.extract(|change| change.deadline <= now);
        for number in self.0.ids() {
            if self.0.get(number).is_some_and(|change| change.tell_at <= now) {
                self.tell(core, number);
            }
        }
        over.into_iter().map(|change| change.changed).collect()
    }

    /// Nobody waits for the answer any more. All were told.
    pub(super) fn on_abandoned(&mut self, question: QuestionId) {
        self.0.retain(|change| change.changed.0 != question);
    }
}
