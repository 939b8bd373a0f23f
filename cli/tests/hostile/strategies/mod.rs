//! The attacks, a file each.

mod connections;
mod floods;
mod gossip;
mod half_frames;
mod held_questions;
mod liars;
mod nothing;
mod pinned;
mod strangers;
mod table;
mod topics;
mod unread_answers;

use crate::stage::Attack;

/// All of them, in the order in which they run.
pub(crate) const ALL: &[(&str, Attack)] = &[
    ("nothing", nothing::nothing),
    ("cores-shared", nothing::cores_shared),
    ("half-frames", half_frames::half_frames),
    ("dribbled-frames", half_frames::dribbled),
    ("unread-answers", unread_answers::unread_answers),
    ("handshakes-never-finished", connections::handshakes),
    ("connections-held", connections::held),
    ("connections-silent", connections::silent),
    ("held-questions", held_questions::all_nodes),
    ("held-questions-of-one-node", held_questions::one_node),
    ("held-questions-answered", held_questions::answered),
    ("unknown-topics", floods::unknown_topics),
    ("topics-listed", floods::topics_listed),
    ("surveys", floods::surveys),
    ("positions-of-nobody", floods::positions),
    ("positions-kept", floods::commits),
    ("garbage", floods::garbage),
    ("gossip-of-noise", gossip::noise),
    ("gossip-of-subscriptions", gossip::subscriptions),
    ("gossip-of-control", gossip::control),
    ("publishes-for-weeks", pinned::publishes_for_weeks),
    ("lying-homes", liars::lying_homes),
    ("nodes-invented", strangers::nodes_invented),
    ("members-flooded", strangers::members_flooded),
    ("table-flooded", table::flooded),
    ("topics-flooded", topics::flooded),
];

/// For how many seconds honest programs are alone before an attack, and for how many it goes on.
pub(crate) fn seconds_of(name: &str) -> (f64, f64) {
    match name {
        // Ten thousand acknowledged records before it, and a minute of lies.
        "lying-homes" => (20.0, 60.0),
        _ => (3.0, 8.0),
    }
}
