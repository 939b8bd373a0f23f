//! Which nodes hold a topic, as the member table has it.

use super::Members;
use crate::{
    engine::holdings::{placement::Placement, topic::Topic},
    limits::FRONTIER_LOGS_MAX,
    model::{NodeId, SignedDescriptor, SubscriberName},
    wire::{Acks, Held, Proofs},
};

impl Topic {
    /// Floor of copies.
    pub(in crate::engine) fn min_copies(&self, members: &Members) -> u16 {
        let descriptor = self.descriptor.as_ref().map(SignedDescriptor::descriptor);
        descriptor.map_or(1, |terms| terms.floor(members.belonging()))
    }

    /// Its replicas, as the member table has them now.
    pub(in crate::engine) fn placement(&mut self, members: &Members) -> &Placement {
        if self.placed_at() != members.version() {
            let placement = members.placement(self.place(), usize::from(self.replicas()));
            self.place_at(members.version(), placement);
        }
        self.last_placement()
    }

    /// Whether a node should hold all of it.
    pub(in crate::engine) fn belongs_to(&mut self, members: &Members, node: &NodeId) -> bool {
        let everywhere = self.is_catalogue() && !members.is_leaving(node);
        everywhere || (self.is_known() && self.placement(members).is_home(node))
    }

    /// Copies that an acknowledgement needs.
    pub(in crate::engine) fn wanted(&mut self, members: &Members, acks: Acks) -> usize {
        let size = self.placement(members).size;
        let copies = match acks {
            Acks::One => 1,
            Acks::Quorum => size / 2 + 1,
            Acks::All => size,
        };
        copies.max(usize::from(self.min_copies(members)))
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
        Held { frontier: self.frontier(), position, members, forks, keeps, early }
    }
}
