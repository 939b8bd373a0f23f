//! Who belongs to a closed network.

use antiphon::model::WallClock;
use antiphon_node::membership::RENEWED_BEFORE;
use serde_json::json;

use super::{
    super::{operator::operating, shown},
    listed::{Listed, listed},
    terms::after,
};
use crate::{clock, context::Context, exit::Status, table::Table, words};

/// Lists who belongs.
pub(in crate::commands) async fn members(context: &mut Context) -> anyhow::Result<Status> {
    let asked = operating(context).await?;
    let roster = asked.client.operator().roster().await.map_err(|error| asked.explain(error))?;
    let now = clock::now();
    let all = listed(&roster, now);
    let printer = &mut context.printer;
    if printer.is_json() {
        for it in &all {
            printer.object(&object(it))?;
        }
    } else {
        let mut table = Table::new(&["NAME", "PEER", "KIND", "MAY"]);
        for it in &all {
            let name = if it.label.is_empty() { "-" } else { &it.label };
            let peer = shown(printer, it.node);
            table.push(vec![name.to_owned(), peer, it.kind().to_owned(), it.detail()]);
        }
        printer.table(&table)?;
    }
    let ending = ending(&all, now);
    if !ending.is_empty() {
        let text = format!("memberships end soon: {}", ending.join(", "));
        printer.warning(text, "`antiphon network grant NAME` renews one");
    }
    Ok(Status::Done)
}

/// The members that end soon.
fn ending(all: &[Listed], now: WallClock) -> Vec<String> {
    let soon = after(now, RENEWED_BEFORE);
    let ends = |it: &Listed| {
        let expires = it.member()?.expires.filter(|expires| *expires <= soon)?;
        let name = if it.label.is_empty() { it.node.to_string() } else { it.label.clone() };
        Some(format!("`{name}` in {}", words::until(expires, now)))
    };
    all.iter().filter_map(ends).collect()
}

fn object(listed: &Listed) -> serde_json::Value {
    let member = listed.renewable();
    let grants = member.map(|it| it.grants.iter().map(ToString::to_string).collect::<Vec<_>>());
    json!({
        "name": listed.label,
        "peer": listed.node.to_string(),
        "kind": listed.kind(),
        "grants": grants,
        "expires_ms": member.and_then(|it| it.expires).map(|expires| expires.0),
        "reason": listed.reason(),
        "closed_topics": listed.closed_topics(),
    })
}

#[cfg(test)]
mod tests {
    use antiphon::model::roster::{MemberKind, Pass, Statement};

    use super::{
        super::listed::tests::{NOW, key, roster},
        *,
    };

    #[test]
    fn a_client_that_ends_soon_is_named() {
        let mut roster = roster(&[(3, "rack-1")]);
        for (number, days) in [(4, 13), (5, 15)] {
            let subject = (key(number).node(), MemberKind::Client);
            let mut pass = Pass::new(roster.network(), subject, key(2).node(), WallClock(1));
            pass.label = format!("client-{number}");
            pass.expires = Some(WallClock(NOW.0 + days * 86_400_000));
            roster.insert(Statement::Pass(pass.sign(&key(2)).unwrap())).unwrap();
        }
        assert_eq!(ending(&listed(&roster, NOW), NOW), ["`client-4` in 13 days"]);
    }
}
