//! What a member may do from now on, and until when.

use antiphon::{
    limits::GRANTS_MAX,
    model::{
        NodeId, WallClock,
        roster::{
            Admitted, EncryptionKey, Grant, MemberKind, Membership, Pass, Rights, Roster, Signed,
            Statement,
        },
    },
};
use serde_json::json;

use super::{
    admin::Admin,
    files::failed,
    listed::{find, kind_name},
    terms::{check_scope, end_of},
};
use crate::{
    arguments::GrantRights,
    clock,
    context::Context,
    exit::{Failure, Status},
    words,
};

/// Signs a later pass of a member.
pub(in crate::commands) async fn grant(
    context: &mut Context,
    arguments: GrantRights,
) -> anyhow::Result<Status> {
    let GrantRights { member, grants, only, keys } = arguments;
    let mut admin = Admin::at_work(context, keys.as_deref()).await?;
    let now = clock::now();
    let (node, _) = find(&admin.roster, &member, now)?;
    // Also one that has ended by itself.
    let Ok(before) = admin.roster.member(&node, WallClock(0)) else {
        let hint =
            "`antiphon network admit PEER` admits one; `antiphon network members` lists them";
        return Err(Failure::failed(format!("`{member}` is no member")).with_hint(hint).into());
    };
    let mut pass = later_pass(&admin.roster, (node, &before), admin.key.node(), now);
    let wanted = if grants.is_empty() {
        pass.grants.clone()
    } else if only {
        grants
    } else {
        with(&before.grants, grants)
    };
    check_scope(admin.roster.charter().terms(), &admin.key, &wanted)?;
    if wanted.len() > GRANTS_MAX {
        let message = format!("a member has {GRANTS_MAX} grants at most");
        let hint = "`--only` sets all of them; one pattern may stand for several topics";
        return Err(Failure::usage(message).with_hint(hint).into());
    }
    if before.kind == MemberKind::Node && !wanted.is_empty() {
        check_kept(&before.grants, &wanted)?;
    }
    pass.grants = wanted;
    let expires = pass.expires;
    let pass = pass.sign(&admin.key).map_err(failed)?;
    admin.tell(vec![Statement::Pass(pass)]).await?;
    let held = admin.roster.member(&node, now).map_err(failed)?;
    let rights: Vec<_> = held.grants.iter().map(ToString::to_string).collect();
    let label = &held.label;
    let value = json!({
        "status": "granted",
        "name": label,
        "peer": node.to_string(),
        "kind": kind_name(held.kind),
        "grants": rights,
        "expires_ms": expires.map(|expires| expires.0),
    });
    let ends = expires.map(|expires| format!(", for {}", words::until(expires, now)));
    let (rights, ends) = (rights.join("; "), ends.unwrap_or_default());
    context.printer.result(&value, format_args!("`{label}` may {rights}{ends}"))?;
    Ok(Status::Done)
}

/// A pass like the one that a member has, signed now. It is of the same turn: a removal that this
/// admin does not know of yet holds against it.
fn later_pass(
    roster: &Roster,
    (node, member): (NodeId, &Membership),
    admin: NodeId,
    now: WallClock,
) -> Pass {
    let held = match member.admitted {
        Admitted::By(_) => roster.pass(&node).map(Signed::terms),
        Admitted::Invited(ticket) => roster.invitation(&ticket).map(|(pass, _)| pass.terms()),
    };
    let mut pass = Pass::new(roster.network(), (node, member.kind), admin, now);
    if let Some(held) = held {
        pass.grants.clone_from(&held.grants);
        pass.groups.clone_from(&held.groups);
    }
    // The clock of the admin before may have been ahead.
    let issued = roster.pass(&node).map_or(0, |pass| pass.terms().issued.0.saturating_add(1));
    pass.issued = now.max(WallClock(issued));
    pass.label.clone_from(&member.label);
    pass.turn = member.turn;
    pass.encryption_key = encryption_key(roster, &node, member);
    pass.expires = end_of(member.kind, now);
    pass
}

fn encryption_key(roster: &Roster, node: &NodeId, member: &Membership) -> Option<EncryptionKey> {
    match member.admitted {
        Admitted::By(_) => roster.pass(node)?.terms().encryption_key,
        Admitted::Invited(ticket) => {
            let claims = roster.claims_by(&ticket);
            claims.iter().find(|claim| claim.subject == *node)?.encryption_key
        }
    }
}

/// The grants of before, and those that are new.
fn with(before: &[Grant], more: Vec<Grant>) -> Vec<Grant> {
    let mut grants = before.to_vec();
    for grant in more {
        let same =
            |it: &&mut Grant| it.topics == grant.topics && it.subscriptions == grant.subscriptions;
        match grants.iter_mut().find(same) {
            Some(known) => known.rights = known.rights.and(grant.rights),
            None => grants.push(grant),
        }
    }
    grants
}

/// Refuses to take from a node what its records and copies depend on.
fn check_kept(before: &[Grant], after: &[Grant]) -> Result<(), Failure> {
    for (right, name) in [(Rights::WRITE, "write"), (Rights::HOLD, "hold")] {
        let covers = |it: &&Grant| {
            let has = |other: &Grant| other.rights.has(right) && other.topics.covers(&it.topics);
            it.rights.has(right) && !after.iter().any(has)
        };
        if let Some(lost) = before.iter().find(covers) {
            let message = format!(
                "a node does not lose `{name} {}`: the logs of a former writer cannot be closed yet",
                lost.topics
            );
            let hint = format!(
                "add `{name} {}` to the grants; or end its membership with `antiphon network \
                 revoke`",
                lost.topics
            );
            return Err(Failure::usage(message).with_hint(hint));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::listed::tests::{NOW, invited, key, removal, roster},
        *,
    };

    fn grants(texts: &[&str]) -> Vec<Grant> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn grants_are_added_to_those_of_the_same_topics() {
        let before = grants(&["read >", "write orders"]);
        let after = with(&before, grants(&["read orders", "create x.>"]));
        assert_eq!(after, grants(&["read >", "read,write orders", "create x.>"]));
    }

    #[test]
    fn a_node_keeps_what_it_wrote_and_what_it_holds() {
        let before = grants(&["read,write,hold >"]);
        assert_eq!(check_kept(&before, &grants(&["write >", "hold >"])), Ok(()));
        for (less, name) in [(&["read,write >"], "`hold >`"), (&["write a.>"], "`write >`")] {
            let refused = check_kept(&before, &grants(less)).unwrap_err();
            assert!(refused.to_string().contains(name), "{refused}");
        }
    }

    #[test]
    fn a_later_pass_replaces_a_claim_and_an_earlier_pass_and_no_removal() {
        let mut roster = roster(&[(3, "rack-1")]);
        invited(&mut roster, 2);
        for number in [3, 21] {
            let node = key(number).node();
            let before = roster.member(&node, NOW).unwrap();
            // The clock of this admin is far behind.
            for now in [WallClock(0), NOW] {
                let mut pass = later_pass(&roster, (node, &before), key(2).node(), now);
                pass.grants = grants(&["read >", "write,hold >"]);
                let pass = Statement::Pass(pass.sign(&key(2)).unwrap());
                assert_eq!(roster.insert(pass), Ok(true), "{number} at {now:?}");
            }
            let after = roster.member(&node, NOW).unwrap();
            assert_eq!((after.grants.len(), &after.label), (2, &before.label));
            roster.insert(removal(&roster, node)).unwrap();
            assert!(roster.member(&node, NOW).is_err(), "a removal of before holds");
        }
    }
}
