//! An admin at work: it learns from a node who belongs, signs, tells, and looks whether it counts.

use std::path::Path;

use antiphon::{
    limits::ROSTER_TOLD_MAX,
    model::{
        NodeKey,
        roster::{NotAccepted, Roster, Statement},
    },
};
use antiphon_node::{Client, RequestError, load_network_key};

use super::{
    super::operator::{Operating, operating},
    files::Keys,
};
use crate::{context::Context, exit::Failure, words::counted};

/// The key of an admin, and a node that knows who belongs.
pub(super) struct Admin {
    pub(super) key: NodeKey,
    /// As the node has it.
    pub(super) roster: Roster,
    asked: Operating,
}

impl Admin {
    /// Loads the key, and asks the connected node who belongs.
    pub(super) async fn at_work(
        context: &mut Context,
        keys: Option<&Path>,
    ) -> anyhow::Result<Self> {
        if context.options.identity.is_some() && context.options.operator_key.is_none() {
            let hint = "leave out `--identity` and ANTIPHON_IDENTITY, and run it as the user who \
                        runs a node";
            let message = "an admin tells a node as its operator, and not as a client";
            return Err(Failure::usage(message).with_hint(hint).into());
        }
        let network = context.network()?;
        let keys = Keys::of(keys, &network)?;
        let key = load_network_key(&keys.admin).map_err(|error| {
            let hint = "only an admin does this; `--keys DIR` names the directory of its key";
            Failure::failed(error.to_string()).with_hint(hint)
        })?;
        let asked = operating(context).await?;
        let roster = asked.client.operator().roster().await;
        let roster = roster.map_err(|error| asked.explain(error))?;
        if roster.charter().terms().scope_of(&key.node()).is_none() {
            let message = format!("the key {} is no admin of this network", keys.admin.display());
            return Err(Failure::failed(message).with_hint(ANOTHER_KEY).into());
        }
        Ok(Self { key, roster, asked })
    }

    /// The connection to the node.
    pub(super) fn client(&self) -> &Client {
        &self.asked.client
    }

    /// The error of a request to the node.
    pub(super) fn explain(&self, error: RequestError) -> anyhow::Error {
        self.asked.explain(error)
    }

    /// Tells the node statements in this order, and looks whether its roster has them then.
    ///
    /// # Errors
    /// When one of them does not count there. Those before it may.
    pub(super) async fn tell(&mut self, statements: Vec<Statement>) -> anyhow::Result<()> {
        let operator = self.asked.client.operator();
        for told in statements.chunks(ROSTER_TOLD_MAX) {
            let told = operator.tell(told.to_vec()).await;
            told.map_err(|error| self.asked.explain(error))?;
        }
        // A node answers though it has refused all of them.
        let roster = operator.roster().await.map_err(|error| self.asked.explain(error))?;
        let refused: Vec<_> = statements.iter().filter_map(|it| why_not(&roster, it)).collect();
        self.roster = roster;
        match refused.first() {
            None => Ok(()),
            Some((reason, hint)) => {
                let more = match refused.len() - 1 {
                    0 => String::new(),
                    more => format!("; nor {} more", counted(more as u64, "statement")),
                };
                let message = format!("the node did not take {reason}{more}");
                Err(Failure::failed(message).with_hint(*hint).into())
            }
        }
    }
}

const ANOTHER_KEY: &str = "`--keys DIR` names the directory of another admin's key";

/// Why a statement does not count in a roster, and what helps; none if it does.
fn why_not(roster: &Roster, statement: &Statement) -> Option<(String, &'static str)> {
    // A roster has what each admin signs, and the best pass holds.
    let holds = match statement {
        Statement::Pass(pass) => roster.pass(&pass.terms().subject) == Some(pass),
        _ => roster.has(statement),
    };
    if holds {
        return None;
    }
    let what = format!("the {}", statement.kind_name());
    Some(match roster.clone().insert(statement.clone()) {
        // Somebody else has removed it as well.
        Ok(false) if matches!(statement, Statement::Revocation(_)) => return None,
        Ok(false) => (
            format!("{what}: another admin has signed a later one"),
            "`antiphon network log` shows it; run the command again to sign a later one",
        ),
        Ok(true) => (
            format!("{what}, and does not say why"),
            "run the command again; the node may be of another version: `antiphon --version`",
        ),
        Err(why) => {
            let hint = match why {
                NotAccepted::NoAdmin(_) | NotAccepted::OtherNetwork => ANOTHER_KEY,
                NotAccepted::TooWide(..) => "name topics within what this admin may grant",
                _ => "`antiphon network members` lists who belongs",
            };
            (format!("{what}: {why}"), hint)
        }
    })
}

#[cfg(test)]
mod tests {
    use antiphon::model::{
        WallClock,
        roster::{MemberKind, Pass},
    };

    use super::{
        super::listed::tests::{key, removal, roster},
        *,
    };

    #[test]
    fn what_a_roster_lacks_is_named_with_the_reason() {
        let mut roster = roster(&[(3, "rack-1")]);
        let pass = |issued, by: u8| {
            let subject = (key(3).node(), MemberKind::Node);
            let pass = Pass::new(roster.network(), subject, key(by).node(), WallClock(issued));
            Statement::Pass(pass.sign(&key(by)).unwrap())
        };
        let (older, newer, strange) = (pass(0, 2), pass(5, 2), pass(5, 9));
        let said = |roster: &Roster, it: &Statement| why_not(roster, it).map(|(why, _)| why);
        assert!(said(&roster, &older).unwrap().contains("the pass: another admin"));
        assert!(said(&roster, &newer).unwrap().contains("does not say why"));
        assert!(said(&roster, &strange).unwrap().contains("is no admin of this network"));
        let removed = removal(&roster, key(3).node());
        assert!(said(&roster, &removed).is_some());
        roster.insert(newer.clone()).unwrap();
        roster.insert(removed.clone()).unwrap();
        assert_eq!((said(&roster, &newer), said(&roster, &removed)), (None, None));
    }
}
