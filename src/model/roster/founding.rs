//! What the admin of a new network signs, if that network was open before.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    charter::{Admin, Charter, Door, NetworkId, TopicIds},
    introduced::Introduced,
    kept::KeptError,
    pass::{MemberKind, Pass},
    statement::Signed,
    ticket::{Ticket, TicketContact},
};
use crate::model::{Network, NodeId, NodeKey, WallClock};

/// Who was in an open network.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Its nodes, and their names for people. Each becomes a member.
    pub nodes: BTreeMap<NodeId, String>,
    /// Who wrote records and is none of the nodes. What it wrote counts.
    pub writers: BTreeSet<NodeId>,
}

/// A closed network that was open before: its topics keep their ids, and its records count.
pub struct Founding {
    charter: Signed<Charter>,
    door: Door,
    /// Of the nodes.
    passes: BTreeMap<NodeId, Signed<Pass>>,
    introduced: Introduced,
}

impl Founding {
    /// Signs a charter, a pass for each node, and one for each former writer.
    ///
    /// # Errors
    /// When a name is too long, or there are more nodes and writers than a ticket can introduce.
    pub fn sign(
        name: Network,
        (root, admin): (&NodeKey, &NodeKey),
        door: Door,
        known: &Known,
        now: WallClock,
    ) -> Result<Self, KeptError> {
        let admins = vec![Admin { key: admin.node(), scope: ">".parse().expect("a pattern") }];
        let mut charter = Charter::first(name, root.node(), admins, &door);
        charter.topic_ids = TopicIds::ByName;
        let network = charter.network();
        let charter = charter.sign(root)?;
        let pass = |node: NodeId, kind, label: &str| {
            let pass = Pass::new(network, (node, kind), admin.node(), now);
            Pass { label: label.to_owned(), ..pass }.sign(admin)
        };
        let nodes = known.nodes.iter();
        let passes = nodes.map(|(node, label)| Ok((*node, pass(*node, MemberKind::Node, label)?)));
        let passes: BTreeMap<_, _> = passes.collect::<Result<_, KeptError>>()?;
        let former = known.writers.iter();
        let former = former.map(|writer| pass(*writer, MemberKind::Former, &writer.short()));
        let former = former.collect::<Result<Vec<_>, _>>()?;
        let introduced = Introduced::of(passes.values().cloned().chain(former));
        let introduced = introduced.ok_or(KeptError::TooManyIntroduced)?;
        Ok(Self { charter, door, passes, introduced })
    }

    /// The network.
    pub fn network(&self) -> NetworkId {
        self.charter.terms().network()
    }

    /// The ticket of each node, which is of use to it alone.
    pub fn tickets(&self, contacts: &[TicketContact]) -> BTreeMap<NodeId, Ticket> {
        let ticket = |pass: &Signed<Pass>| {
            let (charter, door) = (self.charter.clone(), self.door.clone());
            let mut ticket = Ticket::bound(charter, door, contacts.to_vec(), pass.clone());
            ticket.introduced = self.introduced.clone();
            ticket
        };
        self.passes.iter().map(|(node, pass)| (*node, ticket(pass))).collect()
    }
}

/// Without secrets.
impl fmt::Debug for Founding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Founding")
            .field("network", &self.network())
            .field("nodes", &self.passes.len())
            .finish_non_exhaustive()
    }
}
