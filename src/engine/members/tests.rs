//! The member table as time passes.

use MemberState::{Alive, Dead, Gone, Suspect};

use super::*;
use crate::engine::holdings::placement::Placement;

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

fn contact(number: u8) -> Contact {
    Contact::new(node(number), vec!["/ip4/127.0.0.1/tcp/1".into()])
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn table() -> Members {
    Members::new(node(0), seconds(600), Vec::new())
}

fn states(changes: &[Change]) -> Vec<MemberState> {
    let state = |change: &Change| match change {
        Change::State(_, state) => Some(*state),
        Change::Silent(_) | Change::Dial(_) | Change::Forgotten(_) => None,
    };
    changes.iter().filter_map(state).collect()
}

#[test]
fn a_silent_node_becomes_suspect_then_dead_then_gone_and_comes_back() {
    let mut members = table();
    members.connected(seconds(0), contact(1));
    assert_eq!(members.state(&node(1)), Alive);
    assert_eq!(states(&members.tick(Duration::from_millis(2_499))), []);
    assert_eq!(states(&members.tick(Duration::from_millis(2_500))), [Suspect]);
    let changes = members.tick(seconds(5));
    assert_eq!(states(&changes), [Dead]);
    assert!(changes.contains(&Change::Silent(node(1))));
    assert_eq!(states(&members.tick(seconds(600))), [Gone]);
    let back = members.heard(seconds(601), node(1), None);
    assert_eq!(back, Some(Change::State(node(1), Alive)));
}

#[test]
fn a_closed_connection_makes_a_node_suspect_at_once() {
    let mut members = table();
    members.connected(seconds(0), contact(1));
    let change = members.disconnected(seconds(1), node(1));
    assert_eq!(change, Some(Change::State(node(1), Suspect)));
    assert!(members.tick(seconds(1)).contains(&Change::Dial(contact(1))), "it is redialled");
    assert_eq!(states(&members.tick(Duration::from_millis(1_999))), []);
    assert_eq!(states(&members.tick(seconds(2))), [Dead]);
}

#[test]
fn a_suspect_keeps_its_place_and_another_stands_in_with_it() {
    let mut members = table();
    for number in 1..=4 {
        members.connected(seconds(0), contact(number));
    }
    let place = [7; 32];
    let whole = members.placement(&place, 3);
    assert_eq!((whole.home.len(), &whole.acting, whole.size), (3, &whole.home, 3));
    let away = whole.home.iter().copied().find(|other| *other != node(0)).unwrap();
    members.disconnected(seconds(1), away);
    let suspected = members.placement(&place, 3);
    assert_eq!(suspected.home, whole.home);
    assert_eq!((suspected.acting.len(), suspected.size), (4, 3));
    for number in 1..=4 {
        members.heard(seconds(3), node(number), None);
    }
    members.tick(seconds(3));
    let dead = members.placement(&place, 3);
    assert_eq!(dead.home, whole.home, "a short absence does not move a home");
    assert!(!dead.acting.contains(&away) && dead.acting.len() == 3);
    members.tick(seconds(700));
    assert!(!members.placement(&place, 3).home.contains(&away), "a long one does");
}

#[test]
fn all_nodes_agree_on_a_placement() {
    let mut expected: Option<Placement> = None;
    for me in 0..5 {
        let mut members = Members::new(node(me), seconds(600), Vec::new());
        for number in (0..5).filter(|number| *number != me) {
            members.connected(seconds(0), contact(number));
        }
        let placement = members.placement(&[9; 32], 3);
        assert_eq!(*expected.get_or_insert_with(|| placement.clone()), placement);
    }
}

#[test]
fn strangers_are_dialled_for_a_while_and_count_for_nothing() {
    let mut members = table();
    members.discovered(contact(1));
    assert_eq!(members.alive_count(), 1);
    let mut dials = 0;
    for second in 0..1_000 {
        dials += members.tick(seconds(second)).len();
    }
    assert_eq!(dials, DIALS_OF_STRANGER_MAX as usize);
}
