//! Who belongs to a closed network, as its operators see and change it.

use std::time::Duration;

use antiphon::{
    limits::ROSTER_STATEMENTS_MAX,
    model::{
        Hash,
        roster::{Roster, Slot, Statement},
    },
    wire::{NodeRequest, Request, Response, RosterTold, RosterWanted, Statements},
};

use super::{Link, Operator, Refusal, RequestError};

impl Operator {
    /// Who belongs to the closed network of the client's node, as far as that node knows. Takes one
    /// request, and one for each hundred members or so.
    ///
    /// Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// When the network is open ([`Refusal::Unsupported`](super::Refusal::Unsupported)), this
    /// client may not ask, or the node cannot be reached.
    pub async fn roster(&self) -> Result<Roster, RequestError> {
        let mut told = statements(&*self.client.link, self.client.timeout).await?.into_iter();
        let Some(Statement::Charter(charter)) = told.next() else {
            return Err(RequestError::Mismatch);
        };
        let mut roster = Roster::new(charter);
        for statement in told {
            // Another statement may have come meanwhile that does not allow this one.
            let _refused = roster.insert(statement);
        }
        Ok(roster)
    }

    /// Gives the client's node statements that an admin has signed. The node checks them, keeps
    /// what is news, tells the other nodes, and closes connections of those that they put out.
    ///
    /// Cancel-safe: statements that were sent may be kept. Repeating them changes nothing.
    ///
    /// # Errors
    /// As [`roster`](Self::roster).
    pub async fn tell(&self, statements: Vec<Statement>) -> Result<(), RequestError> {
        match self.client.ask(NodeRequest::TellRoster(Statements(statements))).await? {
            Response::Noted => Ok(()),
            _ => Err(RequestError::Mismatch),
        }
    }
}

/// All statements of a node's roster, its charter first. Takes one request, and one for each
/// hundred members or so. Cancel-safe.
pub(super) async fn statements(
    link: &dyn Link,
    timeout: Duration,
) -> Result<Vec<Statement>, RequestError> {
    let told = ask(link, RosterWanted::Digest(Hash([0; 32])), timeout).await?;
    let RosterTold::Differs(parts, Statements(mut statements)) = told else {
        return Err(RequestError::Mismatch);
    };
    let mut asked = 0;
    for part in parts {
        let mut after: Option<Slot> = None;
        loop {
            asked += 1;
            let wanted = RosterWanted::Part(part.part, after);
            let RosterTold::Part(Statements(told), more) = ask(link, wanted, timeout).await? else {
                break;
            };
            statements.extend(told);
            // A node that does not get on would be asked for ever.
            after = more.filter(|more| Some(*more) > after && asked < ROSTER_STATEMENTS_MAX);
            if after.is_none() {
                break;
            }
        }
    }
    Ok(statements)
}

async fn ask(
    link: &dyn Link,
    wanted: RosterWanted,
    timeout: Duration,
) -> Result<RosterTold, RequestError> {
    let request = Request::Node(NodeRequest::CompareRoster(wanted));
    match link.ask(request, timeout).await? {
        Response::Roster(told) => Ok(told),
        Response::Refused(refusal) => Err(Refusal::from(refusal).into()),
        _ => Err(RequestError::Mismatch),
    }
}
