//! Who does not belong to a closed network, or not any more, is out.
//!
//! Its connections are closed. It is no home of any topic, and no node that is known. What others
//! say of it does not bring it back.

use crate::{
    engine::{Engine, input::Asker, members::Change, output::Output},
    limits::ROSTER_UNKNOWN_MAX,
    model::{
        NodeId,
        roster::{Excluded, MemberKind, Membership, Statement},
    },
    wire::{NodeRequest, Refusal, Request, Right},
};

impl Engine {
    /// Whether somebody is out of this closed network. Of whom the roster knows nothing it may yet
    /// learn.
    pub(in crate::engine) fn is_put_out(&self, node: &NodeId) -> bool {
        let member = self.roster.member(&self.core, node);
        matches!(member, Some(Err(why)) if why != Excluded::Unknown)
    }

    /// Puts out the nodes that do not belong to this network.
    pub(super) fn put_out_excluded(&mut self) {
        let elapsed = self.core.now.elapsed;
        let Some(known) = &mut self.roster.0 else { return };
        let now = known.now(&self.core);
        let members = &self.core.members;
        known.unknown.retain(|node, _| members.get(node).is_some());
        let mut out = Vec::new();
        for (node, _) in members.iter() {
            let is_out = match known.roster.member(node, now) {
                Ok(member) if member.kind == MemberKind::Node => {
                    known.unknown.remove(node);
                    false
                }
                Err(Excluded::Unknown) => {
                    let since = *known.unknown.entry(*node).or_insert(elapsed);
                    elapsed.saturating_sub(since) >= ROSTER_UNKNOWN_MAX
                }
                Ok(_) | Err(_) => true,
            };
            out.extend(is_out.then_some(*node));
        }
        for node in out {
            self.put_out(node);
        }
    }

    /// Closes the connections of those that were removed just now. Clients are no nodes that are
    /// known.
    pub(super) fn disconnect_removed(&mut self, news: &[Statement]) {
        for statement in news {
            if let Statement::Revocation(revocation) = statement
                && let subject = revocation.terms().subject
                && self.core.members.get(&subject).is_none()
                && self.is_put_out(&subject)
            {
                self.core.output(Output::Disconnect(subject));
            }
        }
    }

    /// A node is out.
    pub(in crate::engine) fn put_out(&mut self, node: NodeId) {
        self.core.output(Output::Disconnect(node));
        if self.core.members.put_out(&node) {
            self.changed(Some(Change::Forgotten(node)));
        }
        self.asks_lost(node);
    }

    /// What an asker is in this closed network; nothing in an open one, and nothing of the program
    /// and the operator, who may do all that the node may.
    pub(in crate::engine) fn membership_of(&self, asker: Asker) -> Option<Membership> {
        match asker {
            Asker::Client(Some(node)) | Asker::Node(node) => {
                self.roster.member(&self.core, &node)?.ok()
            }
            Asker::Program | Asker::Operator | Asker::Client(None) => None,
        }
    }

    /// Refuses what is asked by somebody who does not belong to this closed network.
    pub(in crate::engine) fn check_membership(
        &self,
        asker: Asker,
        request: &Request,
    ) -> Result<(), Refusal> {
        let right = match request {
            // What admits a node may come this way.
            Request::Node(NodeRequest::CompareRoster(_) | NodeRequest::TellRoster(_))
                if asker.node().is_some_and(|node| !self.is_put_out(&node)) =>
            {
                return Ok(());
            }
            Request::Client(_) => Right::Read,
            Request::Node(_) => Right::Hold,
        };
        self.check_belongs(asker, right)
    }

    /// Refuses somebody who does not belong to this closed network.
    pub(in crate::engine) fn check_belongs(
        &self,
        asker: Asker,
        right: Right,
    ) -> Result<(), Refusal> {
        let text = match asker {
            Asker::Client(Some(node)) | Asker::Node(node) => {
                let Some(Err(why)) = self.roster.member(&self.core, &node) else { return Ok(()) };
                format!("`{node}` does not belong to this network: {why}; an admin can admit it")
            }
            Asker::Client(None) if self.roster.is_closed() => {
                "a client without a key does not belong to this network".to_owned()
            }
            Asker::Program | Asker::Operator | Asker::Client(None) => return Ok(()),
        };
        Err(Refusal::NotAllowed { text, right })
    }
}
