//! Who belongs to a closed network, as its operators see and change it.

use antiphon::{
    limits::ROSTER_STATEMENTS_MAX,
    model::{
        Hash,
        roster::{Roster, Slot, Statement},
    },
    wire::{NodeRequest, Response, RosterTold, RosterWanted, Statements},
};

use super::{Operator, RequestError};

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
        let told = self.ask_roster(RosterWanted::Digest(Hash([0; 32]))).await?;
        let RosterTold::Differs(parts, Statements(statements)) = told else {
            return Err(RequestError::Mismatch);
        };
        let Some(Statement::Charter(charter)) = statements.into_iter().next() else {
            return Err(RequestError::Mismatch);
        };
        let mut roster = Roster::new(charter);
        let mut asked = 0;
        for part in parts {
            let mut after: Option<Slot> = None;
            loop {
                asked += 1;
                let told = self.ask_roster(RosterWanted::Part(part.part, after)).await?;
                let RosterTold::Part(Statements(statements), more) = told else { break };
                for statement in statements {
                    // Another statement may have come meanwhile that does not allow this one.
                    let _refused = roster.insert(statement);
                }
                // A node that does not get on would be asked for ever.
                after = more.filter(|more| Some(*more) > after && asked < ROSTER_STATEMENTS_MAX);
                if after.is_none() {
                    break;
                }
            }
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

    async fn ask_roster(&self, wanted: RosterWanted) -> Result<RosterTold, RequestError> {
        match self.client.ask(NodeRequest::CompareRoster(wanted)).await? {
            Response::Roster(told) => Ok(told),
            _ => Err(RequestError::Mismatch),
        }
    }
}
