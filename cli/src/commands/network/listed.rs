//! Who is named when members are listed, removed or granted something.

use std::collections::BTreeMap;

use antiphon::model::{
    NodeId, WallClock,
    roster::{Excluded, Invitation, MemberKind, Membership, Roster, Statement, Ticket},
};

use crate::{exit::Failure, peer::PeerArgument, words::counted};

/// Somebody who belongs, or did, or a ticket.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) node: NodeId,
    /// Its name for people; empty if it has none.
    pub(super) label: String,
    pub(super) standing: Standing,
}

/// What somebody is now.
#[derive(Debug)]
pub(super) enum Standing {
    Member(Membership),
    /// Its membership has ended.
    Expired(Membership),
    /// It was removed: the reason, and the number of topics in which its logs are closed.
    Removed(String, usize),
    /// Its records count, and it is no member: how often it was admitted again.
    Former(u32),
    /// A ticket that was used, and has not ended.
    Ticket(Uses),
}

/// How often a ticket was used, and renewed.
#[derive(Debug)]
pub(super) struct Uses {
    used: usize,
    most: u32,
    turn: u32,
}

impl Listed {
    pub(super) fn member(&self) -> Option<&Membership> {
        match &self.standing {
            Standing::Member(member) => Some(member),
            _ => None,
        }
    }

    /// The membership, also one that has ended by itself: an admin can renew that.
    pub(super) fn renewable(&self) -> Option<&Membership> {
        match &self.standing {
            Standing::Member(member) | Standing::Expired(member) => Some(member),
            Standing::Removed(..) | Standing::Former(_) | Standing::Ticket(_) => None,
        }
    }

    /// Whether it is no member, and its records count.
    pub(super) fn is_former(&self) -> bool {
        matches!(self.standing, Standing::Former(_))
    }

    pub(super) fn is_removed(&self) -> bool {
        matches!(self.standing, Standing::Removed(..))
    }

    pub(super) fn kind(&self) -> &'static str {
        match &self.standing {
            Standing::Member(member) => kind_name(member.kind),
            Standing::Expired(_) => "expired",
            Standing::Removed(..) => "removed",
            Standing::Former(_) => kind_name(MemberKind::Former),
            Standing::Ticket(_) => "ticket",
        }
    }

    /// In how many topics the logs of somebody who was removed are closed.
    pub(super) fn closed_topics(&self) -> Option<usize> {
        match &self.standing {
            Standing::Removed(_, topics) => Some(*topics),
            _ => None,
        }
    }

    /// Why it was removed.
    pub(super) fn reason(&self) -> Option<&str> {
        match &self.standing {
            Standing::Removed(reason, _) => Some(reason),
            _ => None,
        }
    }

    /// What more there is to say: what it may do, or why it is out.
    pub(super) fn detail(&self) -> String {
        match &self.standing {
            Standing::Member(member) => {
                let grants = member.grants.iter().map(ToString::to_string);
                grants.collect::<Vec<_>>().join("; ")
            }
            Standing::Removed(reason, 0) => reason.clone(),
            Standing::Removed(reason, topics) => {
                let topics = counted(*topics as u64, "topic");
                let closed = format!("its logs are closed in {topics}");
                if reason.is_empty() { closed } else { format!("{reason}; {closed}") }
            }
            Standing::Ticket(it) => format!("{} of {} used", it.used, it.most),
            Standing::Expired(_) | Standing::Former(_) => String::new(),
        }
    }

    fn turn(&self) -> Option<u32> {
        match &self.standing {
            Standing::Member(member) | Standing::Expired(member) => Some(member.turn),
            Standing::Ticket(it) => Some(it.turn),
            Standing::Former(turn) => Some(*turn),
            Standing::Removed(..) => None,
        }
    }
}

/// The word for what a member is.
pub(super) fn kind_name(kind: MemberKind) -> &'static str {
    match kind {
        MemberKind::Node => "node",
        MemberKind::Client => "client",
        MemberKind::Invite => "ticket",
        MemberKind::Former => "former writer",
    }
}

/// The name of everybody that a statement ever named, whether it belongs or not.
pub(super) fn labels(roster: &Roster) -> BTreeMap<NodeId, String> {
    let mut labels = BTreeMap::new();
    for statement in roster.statements() {
        match statement {
            Statement::Claim(claim) => {
                let claim = claim.terms();
                let invited = roster.invitation(&claim.invite).map(|(pass, it)| (pass.terms(), it));
                // The admin's name for it, if the ticket is for one alone, or else its own.
                let label = match invited {
                    Some((pass, invitation)) if invitation.uses == 1 && !pass.label.is_empty() => {
                        &pass.label
                    }
                    _ => &claim.label,
                };
                labels.entry(claim.subject).or_insert_with(|| label.clone());
            }
            Statement::Pass(pass) => {
                labels.insert(pass.terms().subject, pass.terms().label.clone());
            }
            Statement::Charter(_) | Statement::Revocation(_) | Statement::Closure(_) => {}
        }
    }
    labels
}

/// All of them, in order of their names. A ticket is listed when it was used, until it ends.
pub(super) fn listed(roster: &Roster, now: WallClock) -> Vec<Listed> {
    let mut labels = labels(roster);
    let all = roster.subjects().filter_map(|node| {
        let standing = standing(roster, &node, now)?;
        Some(Listed { node, label: labels.remove(&node).unwrap_or_default(), standing })
    });
    let mut all: Vec<_> = all.collect();
    all.sort_by(|one, other| (&one.label, one.node).cmp(&(&other.label, other.node)));
    all
}

fn standing(roster: &Roster, node: &NodeId, now: WallClock) -> Option<Standing> {
    Some(match roster.member(node, now) {
        Ok(member) => Standing::Member(member),
        Err(Excluded::Expired(_)) => Standing::Expired(roster.member(node, WallClock(0)).ok()?),
        Err(Excluded::Revoked { .. }) if roster.invitation(node).is_some() => return None,
        Err(Excluded::Revoked { reason, .. }) => Standing::Removed(reason, closed(roster, node)),
        Err(Excluded::NoMember) => {
            let Some((pass, Invitation { uses, .. })) = roster.invitation(node) else {
                return Some(Standing::Former(roster.pass(node)?.terms().turn));
            };
            let (pass, used) = (pass.terms(), roster.claims_by(node).len());
            let is_open = pass.expires.is_none_or(|expires| expires > now);
            is_open.then_some(Standing::Ticket(Uses { used, most: uses, turn: pass.turn }))?
        }
        // It has a claim: only a withdrawn ticket leaves its newcomers without a membership.
        Err(Excluded::Unknown) => {
            Standing::Removed("its ticket was withdrawn".to_owned(), closed(roster, node))
        }
    })
}

/// In how many topics the logs of somebody are closed.
fn closed(roster: &Roster, node: &NodeId) -> usize {
    roster.closed_topics(node).count()
}

/// The member or the ticket that is meant, and how often it was admitted again.
pub(super) fn find(roster: &Roster, meant: &str, now: WallClock) -> Result<(NodeId, u32), Failure> {
    if let Ok(ticket) = meant.parse::<Ticket>() {
        let pass = ticket.pass.terms();
        return Ok((pass.subject, pass.turn));
    }
    let all = listed(roster, now);
    let is_there = |it: &&Listed| it.renewable().is_some() || it.is_former();
    let named = all.iter().filter(|it| it.label == meant).filter(is_there);
    let named: Vec<_> = named.filter_map(|it| Some((it.node, it.turn()?))).collect();
    match named[..] {
        [found] => return Ok(found),
        [] => {}
        _ => {
            let message = format!("{} members have the name `{meant}`", named.len());
            let hint = "name one by its peer id: `antiphon network members`";
            return Err(Failure::failed(message).with_hint(hint));
        }
    }
    if all.iter().any(|it| it.label == meant && matches!(it.standing, Standing::Removed(..))) {
        let hint = "`antiphon network admit PEER` admits it again";
        return Err(Failure::failed(format!("`{meant}` was removed already")).with_hint(hint));
    }
    let failed = |message: String| {
        Err(Failure::failed(message).with_hint("`antiphon network members` lists them"))
    };
    let nobody = || failed(format!("no member has the name or the peer id `{meant}`"));
    let Ok(peer) = meant.parse::<PeerArgument>() else { return nobody() };
    let known = all.iter().filter_map(|it| Some((it.node, it.turn()?)));
    let fitting: Vec<_> = known.filter(|(node, _)| peer.fits(*node)).collect();
    match (&fitting[..], peer) {
        ([found], _) => Ok(*found),
        // A ticket that nobody has used is known to nobody.
        ([], PeerArgument::Whole(node)) => Ok((node, 0)),
        ([], _) => nobody(),
        (several, _) => failed(format!("`{meant}` fits {} members", several.len())),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use antiphon::model::{
        Network, NodeKey,
        roster::{Admin, Charter, Claim, Door, Pass, Revocation, Signed},
    };

    use super::*;

    pub(in crate::commands::network) const NOW: WallClock = WallClock(10);

    pub(in crate::commands::network) fn key(number: u8) -> NodeKey {
        NodeKey::from_secret(&[number; 32])
    }

    /// A roster whose root is the key 1, and whose admin is the key 2.
    pub(in crate::commands::network) fn roster(members: &[(u8, &str)]) -> Roster {
        let (root, admin) = (key(1), key(2));
        let admins = vec![Admin { key: admin.node(), scope: ">".parse().unwrap() }];
        let door = Door::from_bytes([9; 32]);
        let charter = Charter::first(Network::default(), root.node(), admins, &door);
        let mut roster = Roster::new(charter.sign(&root).unwrap());
        for (number, label) in members {
            let subject = (key(*number).node(), MemberKind::Node);
            let mut pass = Pass::new(roster.network(), subject, admin.node(), WallClock(1));
            pass.label = (*label).to_owned();
            roster.insert(Statement::Pass(pass.sign(&admin).unwrap())).unwrap();
        }
        roster
    }

    /// An invitation with the key 20, used by the key 21, which calls itself rack-2.
    pub(in crate::commands::network) fn invited(roster: &mut Roster, uses: u32) -> Signed<Pass> {
        let (ticket, newcomer) = (key(20), key(21));
        let subject = (ticket.node(), MemberKind::Invite);
        let mut pass = Pass::new(roster.network(), subject, key(2).node(), WallClock(1));
        let (admits, until) = (MemberKind::Node, None);
        pass.invitation = Some(Invitation { admits, uses, until });
        let pass = pass.sign(&key(2)).unwrap();
        roster.insert(Statement::Pass(pass.clone())).unwrap();
        let label = "rack-2".to_owned();
        let claim = Claim::new(roster.network(), ticket.node(), newcomer.node(), label);
        roster.insert(Statement::Claim(claim.sign(&ticket, &newcomer).unwrap())).unwrap();
        pass
    }

    pub(in crate::commands::network) fn removal(roster: &Roster, node: NodeId) -> Statement {
        let mut revocation =
            Revocation::new(roster.network(), (node, 0), key(2).node(), WallClock(2));
        revocation.reason = "sold".to_owned();
        Statement::Revocation(revocation.sign(&key(2)).unwrap())
    }

    fn shown(roster: &Roster) -> Vec<(String, &'static str, String)> {
        let all = listed(roster, NOW);
        all.iter().map(|it| (it.label.clone(), it.kind(), it.detail())).collect()
    }

    #[test]
    fn a_member_is_found_by_its_name_or_by_its_id() {
        let roster = roster(&[(3, "rack-1"), (4, "rack-2"), (5, "rack-2")]);
        assert_eq!(find(&roster, "rack-1", NOW), Ok((key(3).node(), 0)));
        assert!(find(&roster, "rack-2", NOW).unwrap_err().to_string().contains("2 members"));
        let id = key(4).node().to_string();
        assert_eq!(find(&roster, &id[id.len() - 8..], NOW), Ok((key(4).node(), 0)));
        for nobody in ["rack-9", "x", &key(7).node().to_string()[44..]] {
            assert!(find(&roster, nobody, NOW).unwrap_err().hint().is_some(), "{nobody}");
        }
    }

    #[test]
    fn a_ticket_is_withdrawn_by_its_key_whether_it_was_used_or_not() {
        let mut roster = roster(&[(3, "rack-1")]);
        invited(&mut roster, 2);
        let kinds: Vec<_> = listed(&roster, NOW).iter().map(|it| (it.node, it.kind())).collect();
        assert!(kinds.contains(&(key(20).node(), "ticket")), "{kinds:?}");
        let id = key(20).node().to_string();
        assert_eq!(find(&roster, &id[id.len() - 8..], NOW), Ok((key(20).node(), 0)));
        let unused = key(22).node();
        assert_eq!(find(&roster, &unused.to_string(), NOW), Ok((unused, 0)));
    }

    #[test]
    fn who_was_removed_is_listed_by_its_name_and_not_found() {
        let mut roster = roster(&[(3, "rack-1"), (4, "rack-3")]);
        invited(&mut roster, 2);
        for number in [3, 21] {
            roster.insert(removal(&roster, key(number).node())).unwrap();
        }
        let removed = |label: &str| (label.to_owned(), "removed", "sold".to_owned());
        let all = shown(&roster);
        assert!(all.contains(&removed("rack-1")) && all.contains(&removed("rack-2")), "{all:?}");
        let again = find(&roster, "rack-1", NOW).unwrap_err();
        assert!(again.to_string().contains("was removed"), "it is no member any more");
    }

    #[test]
    fn a_former_writer_is_listed_and_can_be_removed() {
        let mut roster = roster(&[(3, "rack-1")]);
        let subject = (key(9).node(), MemberKind::Former);
        let mut pass = Pass::new(roster.network(), subject, key(2).node(), WallClock(1));
        pass.label = "gone".to_owned();
        roster.insert(Statement::Pass(pass.sign(&key(2)).unwrap())).unwrap();
        assert_eq!(shown(&roster)[0], ("gone".to_owned(), "former writer", String::new()));
        assert_eq!(find(&roster, "gone", NOW), Ok((key(9).node(), 0)));
        roster.insert(removal(&roster, key(9).node())).unwrap();
        assert_eq!(shown(&roster)[0].1, "removed");
    }

    #[test]
    fn who_came_by_a_withdrawn_ticket_is_listed_as_removed() {
        let mut roster = roster(&[(3, "rack-1")]);
        invited(&mut roster, 2);
        roster.insert(removal(&roster, key(20).node())).unwrap();
        let out = ("rack-2".to_owned(), "removed", "its ticket was withdrawn".to_owned());
        assert_eq!(shown(&roster)[1], out);
        assert_eq!(shown(&roster).len(), 2, "the ticket itself is not listed");
    }
}
