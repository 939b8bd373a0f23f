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
//! A client is the operator if it holds the operator's key; its address counts for nothing. A node
//! that is no connected member is a client.
//!
//! `Forget` of a node is what that node's operator said there, and nothing proves that. So it only
//! shortens the time until a node that is away counts as gone. A node that lies can do no more than
//! that, until operators sign what they say.

use super::input::Asker;
use crate::wire::{ClientRequest, Refusal, Right};

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
