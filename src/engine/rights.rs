//! Who may ask what of this node.
//!
//! | request | program, operator | client | node |
//! |---|---|---|---|
//! | `Leave` | yes | no | no |
//! | `Forget` | yes | no | about a node that is dead here |
//! | `Verify` that repairs | yes | no | no |
//! | `Alter`, `Delete` | yes | if `open_admin` | if `open_admin` |
//! | all others | yes | yes | yes |
//!
//! In a closed network the grants of a member decide, for clients and nodes alike:
//!
//! | request | needs, in each of its topics |
//! |---|---|
//! | `Create` | create |
//! | `Publish`, `Await` | write |
//! | `Import` | write and manage |
//! | `Alter`, `Delete`, `Verify` | manage |
//! | `Read`, `ReadMany`, `Survey`, `Describe` | read |
//! | `Position`, `Commit`, `Subscriptions`, `Take`, `Settle` | read, with the subscription |
//! | `Topics`, `Names`, `Outbox` | nothing: of topics without any right the names are left out |
//! | `Peers` | nothing |
//! | `Leave`, `Forget`, `Verify` that repairs | as above |
//! | `Frontier`, `Fetch`, `Find` | hold anywhere, or read |
//! | `CompareRoster` | nothing |
//! | what else nodes ask each other | hold anywhere |
//!
//! A node that may hold topics passes on what clients asked it.
//!
//! A client is the operator if it holds the operator's key; its address counts for nothing. A node
//! that is no connected member is a client.
//!
//! `Forget` of a node is what that node's operator said there, and nothing proves that. So it only
//! shortens the time until a node that is away counts as gone. A node that lies can do no more than
//! that, until operators sign what they say.

use super::{input::Asker, roster::lacks};
use crate::{
    model::{
        SubscriberName, TopicName,
        roster::{Grant, Membership, Rights},
    },
    wire::{ClientRequest, NodeRequest, Refusal, Right},
};

/// Refuses a request that the asker has no right to.
pub(super) fn check(
    asker: Asker,
    request: &ClientRequest,
    open_admin: bool,
) -> Result<(), Refusal> {
    let (right, text) = match request {
        ClientRequest::Leave(_) => {
            (Right::Operate, "only its operator may make a node leave".to_owned())
        }
        ClientRequest::Forget(_) => {
            (Right::Operate, "only the operator of a node may declare another one lost".to_owned())
        }
        ClientRequest::Verify(topic, _, true) => {
            (Right::Operate, format!("only the operator of the node may repair topic `{topic}`"))
        }
        ClientRequest::Alter(alter) => {
            let topic = &alter.name;
            (Right::Manage, format!("only the operator of the node may alter topic `{topic}`"))
        }
        ClientRequest::Delete(topic) => {
            (Right::Manage, format!("only the operator of the node may delete topic `{topic}`"))
        }
        _ => return Ok(()),
    };
    let is_allowed = match asker {
        Asker::Program | Asker::Operator => true,
        // What it says of a node that is not dead here changes nothing.
        Asker::Node(_) if matches!(request, ClientRequest::Forget(_)) => true,
        Asker::Client(_) | Asker::Node(_) => right == Right::Manage && open_admin,
    };
    if is_allowed { Ok(()) } else { Err(Refusal::NotAllowed { text, right }) }
}

/// What a member needs for a request: rights in its topics, with a subscription if it names one.
struct Needed<'a> {
    rights: &'static [(Rights, Right)],
    topics: Vec<&'a TopicName>,
    subscription: Option<&'a SubscriberName>,
}

/// What a request needs; nothing if any member may ask it.
fn needed(request: &ClientRequest) -> Option<Needed<'_>> {
    use ClientRequest as R;
    const READ: &[(Rights, Right)] = &[(Rights::READ, Right::Read)];
    const WRITE: &[(Rights, Right)] = &[(Rights::WRITE, Right::Write)];
    const CREATE: &[(Rights, Right)] = &[(Rights::CREATE, Right::Create)];
    const MANAGE: &[(Rights, Right)] = &[(Rights::MANAGE, Right::Manage)];
    const IMPORT: &[(Rights, Right)] =
        &[(Rights::WRITE, Right::Write), (Rights::MANAGE, Right::Manage)];
    let (rights, subscription) = match request {
        R::Create(_) => (CREATE, None),
        R::Publish(_) | R::Await(_) => (WRITE, None),
        R::Import(_) => (IMPORT, None),
        R::Alter(_) | R::Delete(_) | R::Verify(..) => (MANAGE, None),
        R::Read(_) | R::ReadMany(_) | R::Survey(_) | R::Subscriptions(..) => (READ, None),
        R::Position(_, name) | R::Commit(_, name, ..) => (READ, Some(name)),
        R::Take(take) => (READ, Some(&take.membership.group)),
        R::Settle(settle) => (READ, Some(&settle.membership.group)),
        R::Describe(topic) => {
            return Some(Needed { rights: READ, topics: vec![topic], subscription: None });
        }
        R::Topics(_) | R::Names(_) | R::Peers | R::Outbox(_) | R::Leave(_) | R::Forget(_) => {
            return None;
        }
    };
    Some(Needed { rights, topics: request.topics().collect(), subscription })
}

/// Refuses a request that a member of a closed network has no right to.
pub(super) fn check_member(
    asker: Asker,
    member: &Membership,
    request: &ClientRequest,
) -> Result<(), Refusal> {
    use ClientRequest as R;
    let is_passed_on = matches!(request, R::Describe(_) | R::Import(_) | R::Take(_) | R::Settle(_));
    if matches!(request, R::Leave(_) | R::Forget(_) | R::Verify(_, _, true)) {
        return check(asker, request, false);
    }
    if asker.node().is_some() && is_passed_on && holds(member) {
        return Ok(());
    }
    let Some(needed) = needed(request) else { return Ok(()) };
    for topic in needed.topics {
        for (rights, right) in needed.rights {
            let gives = |grant: &Grant| match needed.subscription {
                Some(name) => grant.gives_with(*rights, topic, name),
                None => grant.gives(*rights, topic),
            };
            if !member.grants.iter().any(gives) {
                let with = needed.subscription.map(|name| format!(" with `{name}`"));
                let place = format!("{topic}{}", with.unwrap_or_default());
                return Err(lacks(member, *rights, *right, &place));
            }
        }
    }
    Ok(())
}

/// Refuses a request between nodes that a member has no right to. The topic is that of the request,
/// if it is known.
pub(super) fn check_member_node(
    member: &Membership,
    request: &NodeRequest,
    topic: Option<&TopicName>,
) -> Result<(), Refusal> {
    use NodeRequest as R;
    // A client learns who belongs, and tells nobody: what it has to say was in its hello.
    if holds(member) || matches!(request, R::CompareRoster(_)) {
        return Ok(());
    }
    match (request, topic) {
        (R::Frontier(..) | R::Fetch(..) | R::Find(..), Some(topic)) => {
            let reads = member.grants.iter().any(|grant| grant.gives(Rights::READ, topic));
            let refusal = || lacks(member, Rights::READ, Right::Read, topic.as_str());
            if reads { Ok(()) } else { Err(refusal()) }
        }
        _ => Err(lacks(member, Rights::HOLD, Right::Hold, ">")),
    }
}

/// Whether a member may hold any topics.
fn holds(member: &Membership) -> bool {
    member.grants.iter().any(|grant| grant.rights.has(Rights::HOLD))
}
