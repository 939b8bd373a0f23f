//! The first message of a connection in a closed network, and the file `network`.

use antiphon::{
    limits::{HELLO_BYTES_MAX, INTRODUCED_MAX},
    model::{
        Blob, Hash, NodeId, NodeKey, WallClock,
        roster::{
            Credentials, Door, Excluded, Founding, Kept, KeptError, Known, Roster, Ticket, TopicIds,
        },
    },
    wire::{Greeting, Hello, NotAdmitted, Refused, WireError},
};

use super::{
    frozen, key, newer,
    roster::{charter, claim, door, invite, pass, ticket},
};

pub(super) fn samples() -> Vec<Hello> {
    let blob = |bytes: &bytes::Bytes| Some(Blob(bytes.clone()));
    let operator = Greeting {
        charter: blob(charter().bytes()),
        wall: WallClock(1_796_000_000_000),
        ..Greeting::default()
    };
    let member =
        Greeting { pass: blob(pass().bytes()), roster: Some(Hash([9; 32])), ..operator.clone() };
    let newcomer =
        Greeting { pass: blob(invite().bytes()), claim: blob(claim().bytes()), ..operator.clone() };
    let greetings = [operator, member, newcomer].map(Hello::Greeting);
    let reasons = [
        NotAdmitted::Revoked,
        NotAdmitted::Expired,
        NotAdmitted::Unknown,
        NotAdmitted::UsedUp,
        NotAdmitted::Withdrawn,
        NotAdmitted::OtherNetwork,
        NotAdmitted::Clock,
        NotAdmitted::Full,
        NotAdmitted::Other(77),
    ];
    let told = Hello::Refused(Refused::new(NotAdmitted::Revoked, Some("sold")));
    let refused = reasons.map(|why| Hello::Refused(why.into()));
    greetings.into_iter().chain(refused).chain([told]).collect()
}

pub(super) fn kept() -> [Kept; 2] {
    let claimed = Kept {
        charter: charter(),
        door: door(),
        own: Credentials::claimed(invite(), claim()).unwrap(),
        contacts: ticket().contacts,
        introduced: ticket().introduced,
    };
    let own = Credentials::own(pass()).unwrap();
    [Kept { own, contacts: Vec::new(), ..claimed.clone() }, claimed]
}

#[test]
fn hellos() {
    let mut all = Vec::new();
    for hello in samples() {
        let bytes = hello.encode();
        assert_eq!(Hello::decode(&bytes).as_ref(), Ok(&hello));
        for newer in [newer::with_unknown_fields(&bytes), newer::with_one_more_field(&bytes)] {
            assert_eq!(Hello::decode(&newer.into()).as_ref(), Ok(&hello));
        }
        all.extend_from_slice(&bytes);
    }
    frozen("hello.hex", &all);
}

#[test]
fn a_hello_is_bounded_and_says_nothing_that_moves_a_terminal() {
    let long = vec![0; HELLO_BYTES_MAX + 1];
    assert!(matches!(Hello::decode(&long.into()), Err(WireError::Malformed(_))));
    let refused = Refused::new(NotAdmitted::Revoked, Some(&format!("\x1b[2J{}", "ö".repeat(99))));
    let shown = format!("[2J{}", "ö".repeat(62));
    assert_eq!(refused.detail.as_ref(), Some(&shown));
    // As one that does not follow the rules would send it.
    let rude = Refused { detail: Some("a\u{7}b".into()), ..refused };
    let Ok(Hello::Refused(heard)) = Hello::decode(&Hello::Refused(rude).encode()) else {
        panic!("it is understood");
    };
    assert_eq!(heard.to_string(), "it was removed from the network (ab)");
}

#[test]
fn files_of_networks() {
    let mut all = Vec::new();
    for kept in kept() {
        let bytes = kept.encode();
        assert_eq!(Kept::decode(&bytes.clone().into()).as_ref(), Ok(&kept));
        for cut in 0..bytes.len() {
            assert_eq!(Kept::decode(&bytes[..cut].to_vec().into()), Err(KeptError::Damaged));
        }
        let shown = format!("{kept:?}");
        assert!(!shown.contains("Door") && !shown.contains("[6, 6"), "{shown}");
        all.extend_from_slice(&bytes);
    }
    frozen("kept.hex", &all);
}

#[test]
fn a_network_that_was_open_introduces_its_members_and_writers() {
    let (node, other, gone) = (key(), NodeKey::from_secret(&[21; 32]), [22; 32]);
    let (nodes, writers) = ([(&node, "rack-1"), (&other, "rack-2")], [NodeId::from_bytes(gone)]);
    let nodes = nodes.map(|(key, label)| (key.node(), label.to_owned())).into();
    let known = Known { nodes, writers: writers.into() };
    let keys = (&NodeKey::from_secret(&[1; 32]), &NodeKey::from_secret(&[2; 32]));
    let name = "lab".parse().unwrap();
    let founding = Founding::sign(name, keys, door(), &known, WallClock(7)).unwrap();
    let tickets = founding.tickets(&ticket().contacts);
    assert_eq!(tickets.len(), 2, "one of each node");
    let ticket = &tickets[&node.node()];
    assert_eq!(ticket.to_string().parse().as_ref(), Ok(ticket));
    let kept = Kept::join(ticket, &node, "").unwrap();
    assert_eq!(Kept::decode(&kept.encode().into()).as_ref(), Ok(&kept));
    assert_eq!(kept.charter.terms().topic_ids, TopicIds::ByName);
    let mut roster = Roster::new(kept.charter.clone());
    for statement in kept.introduced.news_to(&roster) {
        roster.insert(statement).unwrap();
    }
    assert!(roster.member(&other.node(), WallClock(8)).is_ok());
    let former = roster.member(&NodeId::from_bytes(gone), WallClock(8));
    assert_eq!(former, Err(Excluded::NoMember), "its records count alone");
    assert!(kept.introduced.news_to(&roster).is_empty());
    frozen("introduced.hex", &kept.encode());

    let many = (0..=INTRODUCED_MAX).map(|number| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
        NodeId::from_bytes(bytes)
    });
    let known = Known { writers: many.collect(), ..known };
    let name = "lab".parse().unwrap();
    let refused = Founding::sign(name, keys, door(), &known, WallClock(7));
    assert_eq!(refused.err(), Some(KeptError::TooManyIntroduced));
}

#[test]
fn a_file_of_a_network_that_contradicts_itself_is_refused() {
    let [own, claimed] = kept();
    let other_door = Kept { door: Door::from_bytes([1; 32]), ..own.clone() };
    let refused = |kept: &Kept| {
        matches!(Kept::decode(&kept.encode().into()), Err(KeptError::Inconsistent(_)))
    };
    assert!(refused(&other_door));
    assert!(!refused(&claimed));
    assert!(Credentials::claimed(pass(), claim()).is_err());
    assert!(Credentials::own(invite()).is_err());
    assert_eq!(claimed.own.subject(), key().node());
    let bound = Ticket::bound(charter(), door(), vec![], pass());
    let other = NodeKey::from_secret(&[9; 32]);
    assert_eq!(Kept::join(&bound, &other, "x"), Err(KeptError::OtherKey(key().node())));
    assert_eq!(Kept::join(&bound, &key(), "x").unwrap(), own);
    let joined = Kept::join(&ticket(), &other, "pi-4").unwrap();
    assert_eq!(joined.own.subject(), other.node());
    assert_eq!(Kept::decode(&joined.encode().into()), Ok(joined));
    assert!(Kept::join(&ticket(), &other, &"x".repeat(65)).is_err());
}
