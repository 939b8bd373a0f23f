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
    assert_eq!(dials, strangers::DIALS_OF_FOUND_MAX as usize);
}

fn numbered(number: usize) -> Contact {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
    Contact::new(NodeId::from_bytes(bytes), vec!["/ip4/10.0.0.7/tcp/1".into()])
}

fn peer(contact: Contact, state: MemberState) -> Peer {
    Peer {
        node: contact.node,
        state,
        round_trip_us: None,
        addresses: contact.addresses,
        stopped: false,
        newcomer_ms: None,
        wall: None,
        clock_offset_ms: None,
        program: None,
    }
}

fn dialled(changes: &[Change]) -> BTreeSet<NodeId> {
    let dialled = changes.iter().filter_map(|change| match change {
        Change::Dial(contact) => Some(contact.node),
        _ => None,
    });
    dialled.collect()
}

#[test]
fn of_an_answer_few_are_tried_first_those_that_are_alive() {
    let mut members = table();
    members.connected(seconds(0), contact(1));
    let mut peers: Vec<_> = (100..10_000).map(|it| peer(numbered(it), Dead)).collect();
    peers.push(peer(numbered(20_000), Alive));
    members.told_of(node(1), peers);
    let mut tried = BTreeSet::new();
    for second in 0..1_000 {
        members.heard(seconds(second), node(1), None);
        tried.extend(dialled(&members.tick(seconds(second))));
    }
    assert!(tried.contains(&numbered(20_000).node));
    assert_eq!(tried.len(), CONTACTS_PER_ANSWER_MAX);
    assert_eq!(members.belonging(), 2);
}

#[test]
fn a_second_answer_goes_on_where_the_first_one_ended() {
    let mut members = table();
    members.connected(seconds(0), contact(1));
    let all = CONTACTS_PER_ANSWER_MAX + 8;
    for round in 0..4 {
        members.told_of(node(1), (100..100 + all).map(|it| peer(numbered(it), Alive)).collect());
        for contact in members.tick(seconds(round)) {
            if let Change::Dial(contact) = contact {
                members.connected(seconds(round), contact);
            }
        }
    }
    while members.belonging() < all + 2 {
        members.told_of(node(1), (100..100 + all).map(|it| peer(numbered(it), Alive)).collect());
        let changes = members.tick(seconds(4));
        assert!(!dialled(&changes).is_empty(), "nobody is left out");
        for change in changes {
            if let Change::Dial(contact) = change {
                members.connected(seconds(4), contact);
            }
        }
    }
}

#[test]
fn hearsay_leaves_the_addresses_of_a_member_alone() {
    let mut members = table();
    members.connected(seconds(0), contact(1));
    members.disconnected(seconds(1), node(1));
    let there: Vec<_> = (0..20).map(|port| format!("/ip4/10.9.9.9/tcp/{port}")).collect();
    members.told_of(node(2), vec![peer(Contact::new(node(1), there.clone()), Alive)]);
    let changes = members.tick(seconds(1));
    assert!(changes.contains(&Change::Dial(contact(1))), "it is dialled where it was");
    let told = changes.iter().filter_map(|change| match change {
        Change::Dial(dialled) if *dialled != contact(1) => Some(dialled.addresses.as_slice()),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [&there[..crate::limits::STRANGER_ADDRESSES_MAX]]);
    assert_eq!(members.get(&node(1)).unwrap().addresses, contact(1).addresses);
}

#[test]
fn a_visitor_is_forgotten_after_an_hour_and_others_after_a_week() {
    let mut members = table();
    for number in [1, 2] {
        members.connected(seconds(0), contact(number));
    }
    members.disconnected(seconds(1), node(1));
    // It comes and goes: what counts is the time in all.
    for minute in 0..10 {
        members.disconnected(seconds(minute * 120 + 60), node(2));
        members.connected(seconds(minute * 120 + 120), contact(2));
    }
    members.disconnected(seconds(1_260), node(2));
    let gone = seconds(1) + FORGET_VISITOR_AFTER;
    assert!(!members.tick(gone).contains(&Change::Forgotten(node(1))));
    assert!(members.tick(gone + seconds(1)).contains(&Change::Forgotten(node(1))));
    assert!(!members.tick(gone + FORGET_AFTER / 2).contains(&Change::Forgotten(node(2))));
    assert!(members.tick(gone + FORGET_AFTER).contains(&Change::Forgotten(node(2))));
}

#[test]
fn visitors_make_room_for_newcomers() {
    let known = (1..MEMBERS_MAX - 1).map(numbered).collect();
    let mut members = Members::new(node(0), seconds(600), known);
    let comes = |members: &mut Members, at: u64, number: usize| {
        let forgotten = members.make_room(seconds(at), &numbered(number).node);
        members.connected(seconds(at), numbered(number));
        forgotten
    };
    for (number, stays) in [(20_000, 50), (20_001, 5)] {
        assert_eq!(comes(&mut members, 0, number), None);
        members.disconnected(seconds(stays), numbered(number).node);
    }
    assert_eq!(comes(&mut members, 60, 20_001), None, "it has its place");
    members.disconnected(seconds(65), numbered(20_001).node);
    assert_eq!(comes(&mut members, 70, 30_000), Some(numbered(20_001).node));
    assert_eq!(comes(&mut members, 70, 30_001), Some(numbered(20_000).node));
    // Who is connected stays, and so does who was there before.
    assert_eq!(comes(&mut members, 70, 30_002), None);
    assert_eq!(members.belonging(), MEMBERS_MAX + 1);
    assert!(members.get(&numbered(30_002).node).is_none());
}

#[test]
fn visitors_that_are_away_are_dialled_few_at_a_time() {
    let mut members = table();
    let all = 10 * VISITOR_DIALS_MAX;
    for number in 1..=all {
        members.connected(seconds(0), numbered(number));
        members.disconnected(seconds(1), numbered(number).node);
    }
    members.connected(seconds(1), contact(200));
    let mut dials = 0;
    for second in 1..=20 {
        members.heard(seconds(second), node(200), None);
        dials += dialled(&members.tick(seconds(second))).len();
    }
    assert_eq!(dials, 4 * VISITOR_DIALS_MAX);
    // Some come and go again, so that they are due at once.
    let mut dials = 0;
    for tick in 0..40 {
        let now = seconds(30) + Duration::from_millis(100) * tick;
        for number in 1..=100 {
            members.connected(now, numbered(number));
            members.disconnected(now, numbered(number).node);
        }
        dials += dialled(&members.tick(now)).len();
    }
    assert_eq!(dials, VISITOR_DIALS_MAX);
}
