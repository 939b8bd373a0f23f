//! A closed network for nodes of this machine, with keys of the moment.

use std::path::Path;

use antiphon::model::{
    Network, NodeKey,
    roster::{Invitation, MemberKind, Pass, Ticket},
};
use antiphon_node::{
    draw_invitation_key,
    membership::{self, Membership},
};

use crate::clock;

/// The keys of the network. Nobody needs them once its nodes are members.
#[derive(Debug)]
pub(super) struct Closed {
    root: NodeKey,
    admin: NodeKey,
}

impl Closed {
    pub(super) fn new() -> Self {
        let drawn = || NodeKey::from_secret(&draw_invitation_key());
        Self { root: drawn(), admin: drawn() }
    }

    /// Makes a data directory one of the network, unless it is one. The first node's founds it, and
    /// others join with a ticket of their own.
    pub(super) fn admit(&self, network: &Network, first: &Path, data: &Path) -> anyhow::Result<()> {
        if Membership::load(data).is_ok() {
            return Ok(());
        }
        if first == data {
            let keys = (&self.root, &self.admin);
            membership::found(data, network.clone(), keys, "first")?;
            return Ok(());
        }
        let founder = Membership::load(first)?;
        let (kept, secret) = (founder.kept(), draw_invitation_key());
        let subject = (NodeKey::from_secret(&secret).node(), MemberKind::Invite);
        let mut pass = Pass::new(kept.network(), subject, self.admin.node(), clock::now());
        pass.invitation = Some(Invitation { admits: MemberKind::Node, uses: 1, until: None });
        let pass = (pass.sign(&self.admin)?, *secret);
        let (charter, door) = (kept.charter.clone(), kept.door.clone());
        let ticket = Ticket::invitation(charter, door, Vec::new(), pass);
        membership::join(data, &ticket.to_string(), "other")?;
        Ok(())
    }
}
