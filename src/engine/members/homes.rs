//! Which nodes hold a topic, as the member table has it.

use std::time::Duration;

use super::Members;
use crate::{
    engine::holdings::{placement::Placement, topic::Topic},
    limits::{FRONTIER_LOGS_MAX, STRANGER_LOGS_MAX},
    model::{LogId, NodeId, SignedDescriptor, SubscriberName},
    wire::{Acks, Held, MemberState, Proofs},
};

impl Members {
    /// The replicas of a topic that stands at `place` and wants `replicas` of them. All others ask
    /// the topic ([`Topic::placement`]), which may have other rules.
    pub(super) fn placement(&self, place: &[u8; 32], replicas: usize) -> Placement {
        let (mut home, mut acting, mut alive) = (Vec::new(), Vec::new(), 0);
        let settled = self.settled.nearest_first(*place);
        for node in settled.chain(self.newcomers.nearest_first(*place)) {
            let Some((state, is_able)) = self.as_replica(&node) else { continue };
            if home.len() < replicas {
                home.push(node);
            }
            if alive < replicas && state <= MemberState::Suspect {
                alive += usize::from(state == MemberState::Alive && is_able);
                acting.push(node);
            }
            if home.len() >= replicas && alive >= replicas {
                break;
            }
        }
        if self.settled.len() > 0 && home.iter().chain(&acting).any(|node| self.is_newcomer(node)) {
            // Whether a node is new decides who is chosen, and not in which order.
            let distance = |node: &NodeId| -> [u8; 32] {
                let own = node.place();
                std::array::from_fn(|at| place[at] ^ own[at])
            };
            home.sort_by_cached_key(distance);
            acting.sort_by_cached_key(distance);
        }
        let size = acting.len().min(replicas);
        Placement { home, acting, size }
    }

    /// The state of a node that may hold topics, and whether its disk is; none for one that may
    /// not.
    fn as_replica(&self, node: &NodeId) -> Option<(MemberState, bool)> {
        if *node == self.me {
            return (!self.me_leaves).then_some((MemberState::Alive, true));
        }
        let member = self.known.get(node)?;
        let may = member.state != MemberState::Gone && member.leaving_until.is_none();
        may.then_some((member.state, member.able && !member.is_unproven()))
    }
}

impl Topic {
    /// Floor of copies.
    pub(in crate::engine) fn min_copies(&self, members: &Members) -> u16 {
        let descriptor = self.descriptor.as_ref().map(SignedDescriptor::descriptor);
        descriptor.map_or(1, |terms| terms.floor(members.belonging()))
    }

    /// Its replicas, as the member table has them now. Nothing else says who holds a topic.
    pub(in crate::engine) fn placement(&mut self, members: &Members) -> &Placement {
        if self.placed_at() != members.version() {
            let mut placement = members.placement(self.place(), usize::from(self.replicas()));
            if !self.is_understood() {
                placement = placement.without(&members.me);
            }
            self.place_at(members.version(), placement);
        }
        self.last_placement()
    }

    /// Whether a node should hold all of it.
    pub(in crate::engine) fn belongs_to(&mut self, members: &Members, node: &NodeId) -> bool {
        self.is_known() && self.placement(members).is_home(node)
    }

    /// Whether what a node brings may be of a writer that is not known here. A home replica brings
    /// all that the topic has. An acquainted node took it when it knew the writer.
    pub(in crate::engine) fn vouches(
        &mut self,
        members: &Members,
        now: Duration,
        node: &NodeId,
    ) -> bool {
        self.belongs_to(members, node) || members.is_acquainted(now, node)
    }

    /// Whether a log may begin here, where its writer is no node that is known. All such logs share
    /// a part of the topic's, so that made-up keys leave room for nodes.
    pub(in crate::engine) fn has_room_for_stranger(
        &mut self,
        log: &LogId,
        members: &Members,
    ) -> bool {
        self.logs.len() < STRANGER_LOGS_MAX
            || self.logs.contains_key(log)
            || members.is_node(&log.writer)
            || self.strangers(members.version(), |id| members.is_node(id)) < STRANGER_LOGS_MAX
    }

    /// Copies that an acknowledgement needs now. Nothing else says how many a majority are, but for
    /// [`quorum`](Self::quorum).
    pub(in crate::engine) fn wanted(&mut self, members: &Members, acks: Acks) -> usize {
        let size = self.placement(members).size;
        let copies = match acks {
            Acks::One => 1,
            Acks::Quorum => size / 2 + 1,
            Acks::All => size,
        };
        copies.max(usize::from(self.min_copies(members)))
    }

    /// How many home replicas hold what was acknowledged while they were these: a majority, and at
    /// least `min_copies`, but no more than there are.
    pub(in crate::engine) fn quorum(&mut self, members: &Members) -> usize {
        let homes = self.placement(members).home.len();
        (homes / 2 + 1).max(usize::from(self.min_copies(members))).min(homes)
    }

    /// What is held, and where one subscription stands.
    pub(in crate::engine) fn held(
        &mut self,
        subscriber: Option<&SubscriberName>,
        members: &mut Members,
        me: &NodeId,
    ) -> Held {
        let keeps = self.belongs_to(members, me);
        let position = subscriber.and_then(|name| self.subscriptions.get(name)).cloned();
        let forks = Proofs::of(self.forks.proofs());
        let early = self.early().take(FRONTIER_LOGS_MAX).collect();
        let members = members.digest();
        let frontier = self.frontier();
        Held { frontier, position, members, forks, keeps, early, heads: Vec::new() }
    }
}
