//! Invitations, who uses them, and what that makes of them.

use std::collections::BTreeSet;

use super::*;
use crate::limits::{CLAIMS_BEYOND_USES_MAX, INVITES_MAX};

#[test]
fn an_invitation_is_used_by_as_many_as_it_says() {
    let mut roster = roster([Statement::Pass(invite(20, 2, Some(LATER)))]);
    let (one, two, three) = (claim(20, 11), claim(20, 12), claim(20, 13));
    for claim in [&one, &two] {
        assert_eq!(roster.may_claim(claim.terms(), NOW), Ok(()));
        assert_eq!(roster.insert(Statement::Claim(claim.clone())), Ok(true));
    }
    let last = roster.claims_by(&id(20)).last().unwrap().label.clone();
    assert_eq!(roster.may_claim(three.terms(), NOW), Err(TicketRefused::UsedUp(last)));
    // Who has used it may come again, even after its end.
    assert_eq!(roster.may_claim(one.terms(), LATER), Ok(()));
    assert_eq!(roster.member(&id(11), LATER).unwrap().admitted, Admitted::Invited(id(20)));
    // On the other side of a partition somebody else has used it: both stay.
    assert_eq!(roster.insert(Statement::Claim(three)), Ok(true));
    assert!(roster.member(&id(13), NOW).is_ok());
}

#[test]
fn a_ticket_makes_no_more_members_than_its_uses_and_a_few_in_whatever_order() {
    let mut claims: Vec<_> = (30..50).map(|subject| claim(20, subject)).collect();
    claims.sort_by_key(Signed::hash);
    let most = 1 + CLAIMS_BEYOND_USES_MAX;
    let winners: BTreeSet<_> = claims[..most].iter().map(|claim| claim.terms().subject).collect();
    let backwards: Vec<_> = claims.iter().rev().cloned().collect();
    for order in [claims, backwards] {
        let mut roster = roster([Statement::Pass(invite(20, 1, None))]);
        for claim in order {
            let is_news = roster.insert(Statement::Claim(claim.clone())).unwrap();
            assert_eq!(is_news, roster.has(&Statement::Claim(claim)));
        }
        let members = roster.subjects().filter(|it| roster.member(it, NOW).is_ok());
        assert_eq!(members.collect::<BTreeSet<_>>(), winners);
        assert_eq!(roster.len(), 2 + most);
        assert_eq!(roster.bytes(), roster.statements().map(|it| it.bytes().len()).sum::<usize>());
    }
}

#[test]
fn an_invitation_with_fewer_uses_than_before_admits_fewer() {
    let mut roster = roster([Statement::Pass(invite(20, 9, None))]);
    for subject in 30..39 {
        assert_eq!(roster.insert(Statement::Claim(claim(20, subject))), Ok(true));
    }
    let fewer = Pass { turn: 1, ..invite(20, 2, Some(NOW)).terms().clone() };
    let fewer = Statement::Pass(fewer.sign(&key(ADMIN)).unwrap());
    assert_eq!(roster.insert(fewer), Ok(true));
    let kept = roster.claims_by(&id(20)).iter().map(|claim| claim.subject).collect::<Vec<_>>();
    assert_eq!(kept.len(), 2 + CLAIMS_BEYOND_USES_MAX);
    assert!(kept.iter().all(|subject| roster.member(subject, LATER).is_ok()), "they stay");
    assert_eq!(roster.len(), 2 + kept.len());
    assert_eq!(roster.bytes(), roster.statements().map(|it| it.bytes().len()).sum::<usize>());
    // A pass that is no invitation admits nobody but its own key.
    let own = Pass { turn: 2, ..pass(20, MemberKind::Node, ADMIN) };
    assert_eq!(roster.insert(Statement::Pass(own.sign(&key(ADMIN)).unwrap())), Ok(true));
    assert_eq!((roster.len(), roster.claims_by(&id(20))), (2, vec![]));
}

#[test]
fn an_invitation_that_ended_or_was_withdrawn_admits_nobody() {
    let mut roster = roster([Statement::Pass(invite(20, 2, Some(NOW)))]);
    let guest = claim(20, 11);
    assert_eq!(roster.may_claim(guest.terms(), NOW), Err(TicketRefused::Expired(NOW)));
    roster.insert(Statement::Claim(guest.clone())).unwrap();
    assert!(roster.member(&id(11), NOW).is_ok(), "it was used in time, elsewhere");
    roster.insert(revocation(20, 0, ADMIN)).unwrap();
    assert_eq!(roster.may_claim(guest.terms(), NOW), Err(TicketRefused::Revoked));
    assert_eq!(roster.member(&id(11), NOW), Err(Excluded::Unknown));
    let (topic, name) = (TopicId::from_bytes([8; 32]), "t".parse().unwrap());
    let log = LogId { writer: id(11), incarnation: Incarnation(7) };
    let standing = roster.writer((&topic, &name), &log, NOW);
    assert_eq!(standing, Standing::Frozen, "what it wrote as a member counts");
    let stranger = claim(21, 11);
    assert_eq!(roster.may_claim(stranger.terms(), NOW), Err(TicketRefused::Unknown));
    assert_eq!(roster.insert(Statement::Claim(stranger)), Err(NotAccepted::UnknownInvite));
}

#[test]
fn a_full_roster_and_its_excerpts_take_no_more_invitations() {
    let numbered = |number: u32| {
        let mut subject = [7; 32];
        subject[..4].copy_from_slice(&number.to_be_bytes());
        let subject = NodeId::from_bytes(subject);
        let terms = Pass { subject, ..invite(20, 1, None).terms().clone() };
        Statement::Pass(terms.sign(&key(ADMIN)).unwrap())
    };
    let most = u32::try_from(INVITES_MAX).unwrap();
    let mut roster = roster((0..most - 1).map(numbered));
    assert!(roster.has_room_for_invitation());
    roster.insert(numbered(most - 1)).unwrap();
    let full = Err(NotAccepted::Full("invitations"));
    assert_eq!(roster.insert(numbered(most)), full);
    let mut excerpt = roster.excerpt(&id(11), Some(&id(20)));
    assert_eq!(excerpt.insert(numbered(most)), full, "a judge has an excerpt alone");
    assert!(!roster.has_room_for_invitation() && !excerpt.has_room_for_invitation());
}
