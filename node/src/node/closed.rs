//! The closed network of a data directory, if it belongs to one.

use std::path::Path;

use antiphon::model::{
    Network, NodeId, Realm, TopicName,
    roster::{Kept, MemberKind, Roster, Statement, TopicIds},
};
use libp2p::Multiaddr;

use super::{NodeConfig, data_error, with_peer};
use crate::{
    error::StartError,
    network::{Closed, Gate},
    store::{DataDirectory, SegmentStore, Store, StoreError, network_path},
};

/// The fact that holds the name of the network.
const NETWORK_FACT: &str = "network";

/// The fact that holds the id of the closed network; an open one has none.
const NETWORK_ID_FACT: &str = "network id";

/// The network that a node belongs to: its directory's, or else the one that is wanted.
pub(super) fn realm_of(
    config: &NodeConfig,
    kept: Option<&Kept>,
    node: NodeId,
) -> Result<Realm, StartError> {
    let Some(kept) = kept else { return Ok(Realm::open(config.network.clone())) };
    let unusable =
        |reason: String| Err(StartError::NetworkFile { path: network_path(&config.data), reason });
    if kept.own.subject() != node {
        return unusable(format!("it is of {}, and this is {node}", kept.own.subject()));
    }
    let pass = kept.own.pass().terms();
    if pass.invitation.map_or(pass.kind, |invitation| invitation.admits) != MemberKind::Node {
        return unusable("it makes a client a member, and no node".to_owned());
    }
    let name = &kept.charter.terms().name;
    if config.network != Network::default() && config.network != *name {
        let (path, network) = (config.data.clone(), name.to_string());
        return Err(StartError::OtherNetwork { path, network });
    }
    Ok(Realm::of(kept.charter.terms()))
}

/// What a store has of its network.
struct Facts {
    name: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
}

/// Checks that what is stored is of this network, and keeps of which network it is.
pub(super) fn check_network(
    store: &SegmentStore,
    data: &Path,
    network: &Network,
    kept: Option<&Kept>,
) -> Result<(), StartError> {
    let facts = checked(store, data, network, kept)?;
    let keep = |fact, bytes: &[u8]| match store.put_fact(fact, bytes) {
        // The next start keeps it.
        Err(error) if error.passes() => Ok(()),
        outcome => outcome.map_err(|error| data_error(data, &error)),
    };
    // The id comes first: a name without an id is that of an open network.
    if let (Some(kept), None) = (kept, facts.id) {
        keep(NETWORK_ID_FACT, kept.network().as_bytes())?;
    }
    match facts.name {
        Some(_) => Ok(()),
        None => keep(NETWORK_FACT, network.as_str().as_bytes()),
    }
}

/// Checks that a directory with records may become one of this closed network. Nothing changes.
/// Blocks.
pub(crate) fn check_may_join(directory: &DataDirectory, kept: &Kept) -> Result<(), StartError> {
    let (data, realm) = (directory.path(), Realm::of(kept.charter.terms()));
    let catalogue = realm.topic(&TopicName::catalogue());
    let store = SegmentStore::open(&directory.store(), catalogue, None);
    let store = store.map_err(|error| data_error(data, &error))?;
    checked(&store, data, realm.name(), Some(kept)).map(|_facts| ())
}

/// What a store has of its network, if it is this one.
fn checked(
    store: &SegmentStore,
    data: &Path,
    network: &Network,
    kept: Option<&Kept>,
) -> Result<Facts, StartError> {
    let in_store = |error: StoreError| data_error(data, &error);
    let namesake = |which: &'static str| {
        let (path, network) = (data.to_owned(), network.to_string());
        Err(StartError::Namesake { path, network, which })
    };
    let (name, id) = (store.fact(NETWORK_FACT), store.fact(NETWORK_ID_FACT));
    let (name, held) = (name.map_err(in_store)?, id.map_err(in_store)?);
    let id = kept.map(|kept| kept.network().as_bytes().to_vec());
    // A network that was open keeps its topics when it is closed, and nothing else does.
    let was_open = name.is_some() && held.is_none();
    let keeps_topics = kept.is_none_or(|kept| kept.charter.terms().topic_ids == TopicIds::ByName);
    match &name {
        Some(name) if name != network.as_str().as_bytes() => {
            let network = String::from_utf8_lossy(name).into_owned();
            return Err(StartError::OtherNetwork { path: data.to_owned(), network });
        }
        Some(_) if held.is_some() && id.is_none() => {
            return namesake("it is closed, and the file `network` is missing");
        }
        Some(_) if held.is_some() && held != id => return namesake("it has another root"),
        Some(_) if was_open && !keeps_topics => return namesake("it is open"),
        Some(_) | None => {}
    }
    Ok(Facts { name, id: held })
}

/// What the engine has of it: what admits this node, and whom its ticket introduced.
pub(super) fn of_engine(kept: &Kept, stored: &[Statement]) -> antiphon::engine::Closed {
    let own = kept.own.statements();
    let roster = roster_of(kept, stored.iter().chain(&own));
    let own = own.into_iter().chain(kept.introduced.news_to(&roster)).collect();
    antiphon::engine::Closed { charter: kept.charter.clone(), own }
}

/// Who belongs to it as far as the store and the file know, as the engine begins with it. The judge
/// of new connections must know it before the node listens.
pub(super) fn roster_of<'a>(
    kept: &Kept,
    statements: impl IntoIterator<Item = &'a Statement>,
) -> Roster {
    let mut roster = Roster::new(kept.charter.clone());
    for statement in statements {
        // What an older charter allowed may be forbidden now.
        let _refused = roster.insert(statement.clone());
    }
    roster
}

/// What the node's network needs of its closed network.
pub(super) fn way_in(kept: &Kept, gate: Option<&Gate>) -> Box<Closed> {
    Box::new(Closed {
        charter: kept.charter.clone(),
        door: kept.door.clone(),
        own: Some(kept.own.clone()),
        node: gate.cloned(),
    })
}

/// The nodes that a ticket named.
pub(crate) fn contacts(kept: &Kept) -> Vec<Multiaddr> {
    let whole = |node: NodeId, address: &str| {
        let address = address.parse().ok()?;
        with_peer(&[address], node).pop()
    };
    kept.contacts.iter().filter_map(|contact| whole(contact.node, &contact.address)).collect()
}

#[cfg(test)]
mod tests {
    use antiphon::model::{
        NodeKey, WallClock,
        roster::{Door, Invitation, Pass, Ticket, TicketRefused},
    };

    use super::*;

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_secret(&[seed; 32])
    }

    #[test]
    fn a_ticket_that_was_used_before_is_used_up_when_the_node_starts() {
        let (admin, invite) = (key(2), key(4));
        let name = "lab".parse().unwrap();
        let (door, first) = (Door::from_bytes([9; 32]), (key(3).node(), "first"));
        let kept = Kept::found(name, (&key(1), &admin), door, first, WallClock(5)).unwrap();
        let subject = (invite.node(), MemberKind::Invite);
        let mut pass = Pass::new(kept.network(), subject, admin.node(), WallClock(6));
        pass.invitation = Some(Invitation { admits: MemberKind::Node, uses: 1, until: None });
        let pass = (pass.sign(&admin).unwrap(), [4; 32]);
        let (charter, door) = (kept.charter.clone(), kept.door.clone());
        let ticket = Ticket::invitation(charter, door, vec![], pass);
        let stored = Kept::join(&ticket, &key(5), "second").unwrap().own.statements();
        let roster = roster_of(&kept, stored.iter().chain(&kept.own.statements()));
        assert!(roster.member(&key(3).node(), WallClock(7)).is_ok(), "the node itself");
        let claim = ticket.claim(&key(6), "third").unwrap();
        let refused = roster.may_claim(claim.terms(), WallClock(7)).unwrap_err();
        assert_eq!(refused, TicketRefused::UsedUp("second".to_owned()));
    }
}
