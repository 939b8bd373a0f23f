//! Who got in a moment ago by what the roster does not have yet.

use std::{collections::BTreeMap, time::Duration};

use antiphon::model::{
    NodeId,
    roster::{Roster, Statement},
};

/// Newcomers whose statements wait to become part of the roster. More of them at a time wait.
const FRESH_MAX: usize = 256;

/// How long one is remembered that the roster does not take. It takes milliseconds to take one.
const FRESH_FOR: Duration = Duration::from_mins(10);

/// The newcomers of the last moments. A ticket that one of them used is used, though the roster
/// does not know that yet.
#[derive(Debug, Default)]
pub(super) struct Fresh(BTreeMap<NodeId, Newcomer>);

#[derive(Debug)]
struct Newcomer {
    since: Duration,
    statements: Vec<Statement>,
}

impl Fresh {
    /// Forgets those that the roster has.
    pub(super) fn tidy(&mut self, roster: Option<&Roster>, now: Duration) {
        let Self(newcomers) = self;
        let is_in = |statement: &Statement| match (roster, statement) {
            (Some(roster), Statement::Claim(claim)) => {
                roster.has_claim(&claim.terms().subject, &claim.terms().invite)
            }
            (Some(roster), Statement::Pass(pass)) => {
                roster.pass(&pass.terms().subject).is_some_and(|known| !pass.supersedes(known))
            }
            _ => false,
        };
        newcomers.retain(|_, newcomer| {
            now < newcomer.since + FRESH_FOR && !newcomer.statements.iter().all(is_in)
        });
    }

    /// Whether there is no room for a newcomer.
    pub(super) fn is_full(&self, subject: &NodeId) -> bool {
        self.0.len() >= FRESH_MAX && !self.0.contains_key(subject)
    }

    /// Notes a newcomer.
    pub(super) fn note(&mut self, subject: NodeId, statements: Vec<Statement>, now: Duration) {
        self.0.insert(subject, Newcomer { since: now, statements });
    }

    /// Adds to a roster what is known of a key, and who used an invitation.
    pub(super) fn add_to(&self, roster: &mut Roster, subject: &NodeId, invite: Option<&NodeId>) {
        let uses = |statement: &Statement| matches!(statement, Statement::Claim(claim) if Some(&claim.terms().invite) == invite);
        for (key, newcomer) in &self.0 {
            if key == subject || newcomer.statements.iter().any(uses) {
                for statement in &newcomer.statements {
                    // What a newer charter does not allow counts for nothing.
                    let _refused = roster.insert(statement.clone());
                }
            }
        }
    }
}
