//! All members of a closed network agree who belongs to it, once everything is healed, and that is
//! what its admins have signed.

use antiphon::{
    engine::Write,
    model::roster::{Roster, Statement},
};

use super::statements;
use crate::world::World;

pub(crate) const NAME: &str = "rosters converge";

/// A node that is a member for certain.
pub(crate) fn witness(world: &World) -> Option<usize> {
    let closed = world.closed.as_ref()?;
    let honest = || world.running().into_iter().filter(|it| !world.is_deceiver(*it));
    let by_pass = honest().find(|it| closed.has_pass(&world.nodes[*it].id));
    by_pass.or_else(|| honest().find(|it| closed.is_member(&world.nodes[*it].id)))
}

fn roster(world: &World, index: usize) -> Option<&Roster> {
    world.nodes[index].admission.as_ref()?.roster.as_deref()
}

/// The nodes that run and belong, as one of them knows it, and those that do not.
fn members(world: &World) -> Option<(Vec<usize>, Vec<usize>)> {
    let roster = roster(world, witness(world)?)?;
    let is_member = |index: &usize| {
        let node = &world.nodes[*index];
        roster.member(&node.id, node.wall(world.now)).is_ok()
    };
    Some(world.running().into_iter().partition(is_member))
}

/// Nodes that run and do not belong.
pub(crate) fn outsiders(world: &World) -> Vec<usize> {
    members(world).map(|(_, out)| out).unwrap_or_default()
}

/// All members have the same roster, in memory and on their disks.
pub(crate) fn converged(world: &World) -> Result<(), String> {
    let Some((members, _)) = members(world) else { return Ok(()) };
    let mut first = None;
    // What one that deceives has nobody else need have.
    for index in members.into_iter().filter(|index| !world.is_deceiver(*index)) {
        let Some(roster) = roster(world, index) else {
            return Err(format!("node {index} has no roster"));
        };
        let is_of_roster = |write: &Write| matches!(write, Write::Statement { .. });
        if world.nodes[index].disk.pending.iter().any(|(_, write)| is_of_roster(write)) {
            return Err(format!("node {index} is writing"));
        }
        let disk = statements::on_disk(world, index);
        if disk.as_ref().map(Roster::digest) != Some(roster.digest()) {
            return Err(format!("node {index} keeps another roster than it tells"));
        }
        match first {
            None => first = Some((index, roster)),
            Some((other, theirs)) if theirs.digest() != roster.digest() => {
                let lacks = |one: &Roster, two: &Roster| {
                    let lacking = one.statements().filter(|statement| !two.has(statement));
                    lacking.collect::<Vec<_>>()
                };
                return Err(format!(
                    "{index} lacks {:?} that {other} has, and {other} lacks {:?}",
                    lacks(theirs, roster),
                    lacks(roster, theirs)
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// All members have the same, that is all that was noted, and it says what was signed.
pub(crate) fn settled(world: &World) -> Result<(), String> {
    converged(world)?;
    match lacking(world).first() {
        Some((index, statement)) => Err(format!("{statement:?}, which {index} noted, is nowhere")),
        None => agrees(world),
    }
}

/// What some node has noted, and no member has, with the node.
pub(crate) fn lacking(world: &World) -> Vec<(usize, Statement)> {
    let Some(closed) = &world.closed else { return Vec::new() };
    let Some(roster) = witness(world).and_then(|index| roster(world, index)) else {
        return Vec::new();
    };
    let mut known = roster.clone();
    let _is_news = known.insert(Statement::Charter(closed.charter.clone()));
    // What was signed by an admin of a charter that is lacking is lacking, too.
    let is_lacking = |statement: &Statement| {
        let known = if matches!(statement, Statement::Charter(_)) { roster } else { &known };
        !statements::covers(known, statement)
    };
    closed.told.iter().filter(|(_, statement)| is_lacking(statement)).cloned().collect()
}

/// Who belongs by the rosters is who belongs by what was signed.
pub(crate) fn agrees(world: &World) -> Result<(), String> {
    let (Some(closed), Some((members, out))) = (&world.closed, members(world)) else {
        return Ok(());
    };
    if let Some(index) = members.iter().find(|index| world.is_out(**index)) {
        return Err(format!("node {index} was removed, and belongs to the network"));
    }
    let has_pass = |index: &&usize| closed.has_pass(&world.nodes[**index].id);
    if let Some(index) = out.iter().find(has_pass) {
        return Err(format!("node {index} has a pass, and does not belong to the network"));
    }
    Ok(())
}
