//! What a node has said that it has noted is on its disk, and in its roster after every start: as it
//! is, or something that replaced it.

use antiphon::model::roster::{Roster, Statement};

use crate::world::World;

pub(crate) const NAME: &str = "statements that were noted are kept";

/// Whether a statement is no news to a roster.
pub(crate) fn covers(roster: &Roster, statement: &Statement) -> bool {
    roster.has(statement) || roster.clone().insert(statement.clone()) != Ok(true)
}

/// What a node's disk has, as a roster.
pub(crate) fn on_disk(world: &World, index: usize) -> Option<Roster> {
    let node = &world.nodes[index];
    let mut roster = Roster::new(node.admission.as_ref()?.charter().clone());
    for statement in &node.disk.image.tables.roster {
        // What a newer charter does not allow counts for nothing.
        let _refused = roster.insert(statement.clone());
    }
    Some(roster)
}

/// A node says that it has noted what it was told of.
pub(crate) fn noted(world: &World, index: usize, statements: &[Statement]) -> Result<(), String> {
    let Some(roster) = on_disk(world, index) else { return Ok(()) };
    match statements.iter().find(|statement| !covers(&roster, statement)) {
        Some(statement) => Err(format!("node {index} has noted {statement:?}, and has it not")),
        None => Ok(()),
    }
}

/// A node has started, and told its roster.
pub(crate) fn kept_since_start(world: &World, index: usize) -> Result<(), String> {
    let Some(admission) = &world.nodes[index].admission else { return Ok(()) };
    let Some(roster) = &admission.roster else { return Ok(()) };
    match admission.noted.iter().find(|statement| !covers(roster, statement)) {
        Some(statement) => {
            Err(format!("node {index} has noted {statement:?}, and lacks it after a start"))
        }
        None => Ok(()),
    }
}
