//! What nodes tell each other, and users, of the nodes that there are.

use super::{ACQUAINT_INTERVAL, Change, Engine, Purpose, QuestionId};
use crate::{
    limits,
    model::NodeId,
    wire::{MemberState, Peer, Request, Response},
};

impl Engine {
    pub(super) fn acquaint(&mut self) {
        if self.now.elapsed < self.next_acquaint {
            return;
        }
        self.next_acquaint = self.now.elapsed + ACQUAINT_INTERVAL;
        let reachable = self.members.reachable();
        if let Some(node) = self.random.choice(reachable) {
            self.ask(node, Request::Peers, limits::ASK_TIMEOUT, Purpose::Acquaint);
        }
    }

    /// An operator says that a node is gone for good.
    pub(super) fn forget(&mut self, question: QuestionId, from: Option<NodeId>, node: NodeId) {
        let known = self.members.forget(&node);
        if known {
            self.changed(Some(Change::Forgotten(node)));
            self.asks_lost(node);
        }
        if from.is_none() {
            for other in self.members.reachable() {
                self.ask(other, Request::Forget(node), limits::ASK_TIMEOUT, Purpose::Tell);
            }
        }
        self.answer(question, Response::Forgotten(known));
    }

    pub(super) fn list_peers(&mut self, question: QuestionId) {
        let me = Peer {
            node: self.me,
            state: MemberState::Alive,
            round_trip_us: None,
            addresses: self.addresses.clone(),
        };
        let others = self.members.iter().map(|(node, member)| Peer {
            node: *node,
            state: member.state,
            round_trip_us: member
                .round_trip
                .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            addresses: member.addresses.clone(),
        });
        let peers = std::iter::once(me).chain(others).collect();
        self.answer(question, Response::Peers(peers));
    }
}
