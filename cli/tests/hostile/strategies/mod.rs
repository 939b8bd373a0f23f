//! The attacks, a file each.

mod connections;
mod floods;
mod gossip;
mod half_frames;
mod held_questions;
mod nothing;
mod pinned;
mod unread_answers;

use crate::stage::Attack;

/// All of them, in the order in which they run.
pub(crate) const ALL: &[(&str, Attack)] = &[
    ("nothing", nothing::nothing),
    ("cores-shared", nothing::cores_shared),
    ("half-frames", half_frames::half_frames),
    ("dribbled-frames", half_frames::dribbled),
    ("handshakes-never-finished", connections::handshakes),
    ("connections-held", connections::held),
    ("connections-silent", connections::silent),
    ("held-questions", held_questions::all_nodes),
    ("held-questions-of-one-node", held_questions::one_node),
    ("unknown-topics", floods::unknown_topics),
    ("topics-listed", floods::topics_listed),
    ("garbage", floods::garbage),
    ("gossip-of-noise", gossip::noise),
    ("gossip-of-subscriptions", gossip::subscriptions),
    ("publishes-for-weeks", pinned::publishes_for_weeks),
];

/// What fails, and runs only with `--ignored`: a node keeps 24 MiB of unread answers, but while it
/// reads as many pages as are asked for at once, the allocator of the system takes ten times as
/// much.
pub(crate) const KNOWN_TO_FAIL: &[(&str, Attack)] =
    &[("unread-answers", unread_answers::unread_answers)];
