//! Who is out of a closed network stays out: a node that knows it closes its connections, dials it no
//! more, answers it nothing, and counts it as no home replica.

use std::time::Duration;

use antiphon::{
    limits::{ROSTER_CHECK_INTERVAL, ROSTER_UNKNOWN_MAX, SURVEY_TIMEOUT},
    model::NodeId,
    wire::{Refusal, Response, Role, Surveyed},
};

use crate::world::World;

pub(crate) const NAME: &str = "who is out stays out";

/// A node looks once in [`ROSTER_CHECK_INTERVAL`], at a tick.
const WITHIN: Duration = ROSTER_CHECK_INTERVAL.saturating_mul(2);

/// No node has a connection to one that does not belong, for longer than it may take to find out.
pub(crate) fn disconnected(world: &World) -> Result<(), String> {
    for index in world.running() {
        let node = &world.nodes[index];
        let Some(admission) = &node.admission else { continue };
        for (other, connection) in &node.connected {
            let id = world.nodes[*other].id;
            let (out, unknown) = (admission.out.get(&id), admission.unknown.get(&id));
            let out = out.map(|since| (*since, WITHIN));
            let unknown = unknown.map(|since| (*since, WITHIN + ROSTER_UNKNOWN_MAX));
            for (since, within) in out.into_iter().chain(unknown) {
                // It looks at nothing while it is paused.
                let since = since.max(connection.since).max(node.paused_until);
                if world.now.saturating_sub(since) > within {
                    return Err(format!(
                        "node {index} is connected with {other}, which is out since {since:?}"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// A node dials another one.
pub(crate) fn dialled(world: &World, index: usize, other: usize) -> Result<(), String> {
    match world.knows_out(index, other) {
        Some(since) => Err(format!("node {index} dials {other}, which is out since {since:?}")),
        None => Ok(()),
    }
}

/// Somebody asked a node who is known there to be out, or is no member.
pub(crate) fn refused(
    node: usize,
    asker: &NodeId,
    answer: Option<&Response>,
) -> Result<(), String> {
    match answer {
        Some(Response::Refused(Refusal::NotAllowed { .. } | Refusal::Busy)) => Ok(()),
        answer => Err(format!("node {node} answers {asker}, which is out, with {answer:?}")),
    }
}

/// A node has said who the home replicas of a topic are.
pub(crate) fn surveyed(world: &World, index: usize, told: &Surveyed) -> Result<(), String> {
    let homes = told.replicas.iter().filter(|replica| replica.role == Role::Home);
    for home in homes {
        let other = world.index(&home.node);
        let other = other.filter(|other| *other != index);
        let since = other.and_then(|other| world.knows_out(index, other));
        let is_long = |since: &Duration| {
            world.now.saturating_sub(*since) > WITHIN + SURVEY_TIMEOUT.saturating_mul(2)
        };
        if let Some(since) = since.filter(is_long) {
            return Err(format!(
                "{} is a home at node {index}, and out since {since:?}",
                home.node
            ));
        }
    }
    Ok(())
}
