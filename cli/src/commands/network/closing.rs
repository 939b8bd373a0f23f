//! Closing: an admin says where the logs of those who are out end.
//!
//! The node surveys each topic. What any node holds of their logs then counts, and nothing that
//! comes later. If a node is away, it may hold more than the others know of. So the logs stay as
//! they are until it is back, or until the operator does not want to wait.

use std::collections::{BTreeMap, BTreeSet};

use antiphon::{
    model::{
        Incarnation, NodeId, TopicName,
        roster::{Closure, Cut, MemberKind, Roster, Signed, Statement},
    },
    wire::{MemberState, Role, Surveyed},
};
use antiphon_node::{Refusal, RequestError};
use serde_json::{Value, json};

use super::{admin::Admin, files::failed};
use crate::{context::Context, exit::Status, words::counted};

/// What became of the logs of those who are out.
#[derive(Debug, Default)]
pub(super) struct Closed {
    /// The topics in which they were closed now.
    topics: BTreeSet<TopicName>,
    /// The topics in which they go on to count as they are, and the nodes that are waited for.
    frozen: BTreeMap<TopicName, BTreeSet<NodeId>>,
}

/// Closes the logs of writers who do not belong to the network any more.
pub(super) async fn close(
    context: &mut Context,
    admin: &mut Admin,
    out: &[NodeId],
    at_once: bool,
) -> anyhow::Result<Closed> {
    let writers = out.iter().filter(|node| !is_client(&admin.roster, node));
    let writers: BTreeMap<NodeId, u32> =
        writers.map(|node| (*node, last_turn(&admin.roster, node))).collect();
    let mut closed = Closed::default();
    if writers.is_empty() {
        return Ok(closed);
    }
    let client = admin.client().clone();
    let peers = client.peers().await.map_err(|error| admin.explain(error))?;
    let is_away = |state| state != MemberState::Alive;
    let away = peers.iter().filter(|peer| is_away(peer.state)).map(|peer| peer.node);
    let away: BTreeSet<NodeId> = away.filter(|_| !at_once).collect();
    let topics = client.summaries().await.map_err(|error| admin.explain(error))?;
    let bar = context.printer.progress_of("looked at", topics.len() as u64);
    let mut statements = Vec::new();
    for topic in topics {
        bar.inc(1);
        let surveyed = match client.survey(&topic.name).await {
            Ok(surveyed) => surveyed,
            // It was deleted meanwhile.
            Err(RequestError::Refused(Refusal::UnknownTopic { .. })) => continue,
            Err(error) => return Err(admin.explain(error)),
        };
        let Some(cuts) = cuts_of(&admin.roster, &surveyed, &writers) else {
            // Where a log ends is not known, though all of it was trimmed.
            closed.frozen.insert(topic.name, away.clone());
            continue;
        };
        if cuts.is_empty() {
            continue;
        }
        let silent = silent_homes(&surveyed).filter(|_| !at_once || !surveyed.complete);
        let waits: BTreeSet<_> = silent.chain(away.iter().copied()).collect();
        if !surveyed.complete || !waits.is_empty() {
            closed.frozen.insert(topic.name, waits);
            continue;
        }
        for (writer, cuts) in cuts {
            let (place, turn) = ((surveyed.end.topic, writer), writers[&writer]);
            let (network, by) = (admin.roster.network(), admin.key.node());
            let closure: Signed<Closure> =
                Closure::new(network, place, turn, cuts, by).sign(&admin.key).map_err(failed)?;
            statements.push(Statement::Closure(closure));
        }
        closed.topics.insert(topic.name);
    }
    bar.finish_and_clear();
    admin.tell(statements).await?;
    Ok(closed)
}

/// Where the logs of writers end by what was surveyed, those that are closed already left out. None
/// if the end of one is not known.
fn cuts_of(
    roster: &Roster,
    surveyed: &Surveyed,
    writers: &BTreeMap<NodeId, u32>,
) -> Option<BTreeMap<NodeId, BTreeMap<Incarnation, Cut>>> {
    let mut cuts: BTreeMap<NodeId, BTreeMap<Incarnation, Cut>> = BTreeMap::new();
    let end = &surveyed.end;
    for (log, position) in end.logs.iter().filter(|(log, _)| writers.contains_key(&log.writer)) {
        if position.next == 0 || roster.cut(&end.topic, log).is_some() {
            continue;
        }
        let cut = Cut { next: position.next, head: Some(position.head?) };
        cuts.entry(log.writer).or_default().insert(log.incarnation, cut);
    }
    Some(cuts)
}

/// The home replicas that did not say what they hold.
fn silent_homes(surveyed: &Surveyed) -> impl Iterator<Item = NodeId> + '_ {
    let homes = surveyed.replicas.iter().filter(|replica| replica.role == Role::Home);
    homes.filter(|replica| replica.records.is_none()).map(|replica| replica.node)
}

/// Whether somebody was a client: clients sign no batches.
fn is_client(roster: &Roster, node: &NodeId) -> bool {
    let by_ticket = || {
        roster.statements().find_map(|statement| match statement {
            Statement::Claim(claim) if claim.terms().subject == *node => {
                roster.invitation(&claim.terms().invite).map(|(_, invitation)| invitation.admits)
            }
            _ => None,
        })
    };
    let kind = roster.pass(node).map(|pass| pass.terms().kind).or_else(by_ticket);
    kind == Some(MemberKind::Client)
}

/// The last turn of somebody that has ended.
fn last_turn(roster: &Roster, node: &NodeId) -> u32 {
    let revoked = roster.statements().filter_map(|statement| match statement {
        Statement::Revocation(it) if it.terms().subject == *node => Some(it.terms().turn),
        _ => None,
    });
    let passed = roster.pass(node).map(|pass| pass.terms().turn);
    revoked.chain(passed).max().unwrap_or(0)
}

impl Closed {
    /// Says what became of the logs, and what the exit status is.
    pub(super) fn print(&self, context: &mut Context, again: &str) -> anyhow::Result<Status> {
        let printer = &mut context.printer;
        if printer.is_json() {
            printer.object(&self.object())?;
        } else if !self.topics.is_empty() {
            let topics = counted(self.topics.len() as u64, "topic");
            printer.note(format_args!("logs closed in {topics}: what comes later is void"));
        } else if self.frozen.is_empty() {
            printer.note("no logs are left to close");
        }
        if self.frozen.is_empty() {
            return Ok(Status::Done);
        }
        let topics: Vec<_> = self.frozen.keys().map(|topic| format!("`{topic}`")).collect();
        let nodes: BTreeSet<_> = self.frozen.values().flatten().map(ToString::to_string).collect();
        let waits = match nodes.into_iter().collect::<Vec<_>>().join(", ") {
            nodes if nodes.is_empty() => "too few replicas have answered".to_owned(),
            nodes => format!("waiting for {nodes}"),
        };
        let text = format!("logs are not closed yet in {}: {waits}", topics.join(", "));
        let hint = format!(
            "`antiphon network revoke {again}` goes on when they are back; `--now` does not wait, \
             and then records that only they hold are void"
        );
        printer.warning(text, &hint);
        Ok(Status::Pending)
    }

    fn object(&self) -> Value {
        let frozen = self.frozen.iter().map(|(topic, nodes)| {
            let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
            json!({ "topic": topic.as_str(), "waiting_for": nodes })
        });
        json!({
            "status": if self.frozen.is_empty() { "closed" } else { "frozen" },
            "closed": self.topics.iter().map(TopicName::as_str).collect::<Vec<_>>(),
            "frozen": frozen.collect::<Vec<_>>(),
        })
    }
}
