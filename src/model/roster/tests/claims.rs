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
fn a_closed_ticket_keeps_its_members_and_admits_nobody_more() {
    let ticket = invite(20, 9, Some(LATER));
    let statements = [ticket.clone()].map(Statement::Pass);
    let mut roster = roster(
        statements.into_iter().chain([31, 32].map(|guest| Statement::Claim(claim(20, guest)))),
    );
    roster.insert(revocation(32, 0, ADMIN)).unwrap();
    // A member that stays gets a pass of its own. Then the ticket is withdrawn.
    let own = roster.member(&id(31), NOW).unwrap();
    let own = Pass { label: own.label, expires: own.expires, ..pass(31, own.kind, ADMIN) };
    let own = Statement::Pass(own.sign(&key(ADMIN)).unwrap());
    for statement in [own, revocation(20, ticket.terms().turn, ADMIN)] {
        assert_eq!(roster.insert(statement), Ok(true));
    }
    let late = claim(20, 33);
    assert_eq!(roster.may_claim(late.terms(), NOW), Err(TicketRefused::Revoked));
    // Somebody may tell of the claim all the same.
    roster.insert(Statement::Claim(late)).unwrap();
    for time in [NOW, WallClock(LATER.0 + 1)] {
        assert_eq!(roster.member(&id(31), time).unwrap().label, "guest-31");
        assert!(roster.member(&id(32), time).is_err(), "it was removed");
        assert_eq!(roster.member(&id(33), time), Err(Excluded::Unknown));
    }
}

#[test]
fn of_several_claims_of_a_member_the_one_that_lasts_longest_counts() {
    let until = |secret: u8, until: Option<WallClock>| {
        let invitation = Invitation { admits: MemberKind::Client, uses: 1, until };
        let terms =
            Pass { invitation: Some(invitation), ..invite(secret, 1, None).terms().clone() };
        Statement::Pass(terms.sign(&key(ADMIN)).unwrap())
    };
    let later = WallClock(LATER.0 + 1);
    let claims = || [20, 21].map(|invite| Statement::Claim(claim(invite, 11)));
    for (one, other, expires) in [
        (Some(NOW), Some(LATER), Some(LATER)),
        (Some(LATER), Some(NOW), Some(LATER)),
        (Some(later), Some(LATER), Some(later)),
        (Some(LATER), None, None),
        (None, Some(LATER), None),
    ] {
        let mut roster = roster([until(20, one), until(21, other)].into_iter().chain(claims()));
        assert_eq!(roster.member(&id(11), NOW).map(|it| it.expires), Ok(expires));
        // One that was withdrawn does not count.
        roster.insert(revocation(20, 0, ADMIN)).unwrap();
        let ended = other.filter(|other| *other <= NOW);
        let left = ended.map_or(Ok(other), |ended| Err(Excluded::Expired(ended)));
        assert_eq!(roster.member(&id(11), NOW).map(|it| it.expires), left);
    }
}

#[test]
fn whose_pass_has_ended_comes_back_with_a_later_ticket() {
    let ended = Pass { expires: Some(NOW), ..pass(11, MemberKind::Node, ADMIN) };
    let ended = Statement::Pass(ended.sign(&key(ADMIN)).unwrap());
    let of = |issued: u64| {
        let terms = Pass { issued: WallClock(issued), ..invite(20, 1, None).terms().clone() };
        Statement::Pass(terms.sign(&key(ADMIN)).unwrap())
    };
    for (issued, is_back) in [(NOW.0 - 1, false), (NOW.0, false), (NOW.0 + 1, true)] {
        let roster = roster([ended.clone(), of(issued), Statement::Claim(claim(20, 11))]);
        let member = roster.member(&id(11), NOW);
        let expected = if is_back { Ok(None) } else { Err(Excluded::Expired(NOW)) };
        assert_eq!(member.map(|it| it.expires), expected, "{issued}");
    }
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
