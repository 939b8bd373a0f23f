//! Nobody gets into a closed network without a pass: no node lets a stranger in, and no roster has
//! it.

use antiphon::{
    engine::Write,
    model::{NodeId, WallClock, roster::Roster},
};

use crate::world::closed;

pub(crate) const NAME: &str = "nobody gets in without a pass";

/// A stranger has shown a node what it has.
pub(crate) fn refused(node: usize, stranger: &NodeId, is_refused: bool) -> Result<(), String> {
    if is_refused { Ok(()) } else { Err(format!("node {node} lets the stranger {stranger} in")) }
}

/// A node tells who belongs.
pub(crate) fn none_in(node: usize, roster: &Roster) -> Result<(), String> {
    let is_in = |stranger: &&NodeId| roster.member(stranger, WallClock::default()).is_ok();
    match closed::strangers().iter().find(is_in) {
        Some(stranger) => Err(format!("the roster of node {node} has the stranger {stranger}")),
        None => Ok(()),
    }
}

/// A node keeps where another one is.
pub(crate) fn kept(node: usize, write: &Write) -> Result<(), String> {
    match write {
        Write::Contact(contact) if closed::strangers().contains(&contact.node) => {
            Err(format!("node {node} takes the stranger {} for a node", contact.node))
        }
        _ => Ok(()),
    }
}
