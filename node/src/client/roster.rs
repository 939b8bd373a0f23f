//! Who belongs to a closed network, as its operators see and change it.

use antiphon::{
    limits::ROSTER_STATEMENTS_MAX,
    model::{
        Hash, NodeId,
        roster::{Kept, Roster, Slot, Statement, Told},
    },
    wire::{NodeRequest, Response, RosterTold, RosterWanted, Statements},
};

use super::{Client, Operator, RequestError};

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
        let (parts, statements) = self.client.roster_parts().await?;
        let first = statements.first();
        let first =
            first.and_then(|told| Statement::verify(told.kind(), told.bytes().clone()).ok());
        let Some(Statement::Charter(charter)) = first else {
            return Err(RequestError::Mismatch);
        };
        let mut roster = Roster::new(charter);
        for part in parts {
            self.client.read_part(&mut roster, part).await?;
        }
        Ok(roster)
    }

    /// Gives the client's node statements that an admin has signed. The node checks them, keeps
    /// what is news, tells the other nodes, and closes connections of those that they put out. A
    /// node may answer though it refuses one: its [`roster`](Self::roster) shows what it has taken.
    ///
    /// Cancel-safe: statements that were sent may be kept. Repeating them changes nothing.
    ///
    /// # Errors
    /// As [`roster`](Self::roster). When the node does not accept one of them, nothing changes, and
    /// [`Refusal::Invalid`](super::Refusal::Invalid) says why.
    pub async fn tell(&self, statements: Vec<Statement>) -> Result<(), RequestError> {
        match self.client.ask(NodeRequest::TellRoster(statements.into_iter().collect())).await? {
            Response::Noted => Ok(()),
            _ => Err(RequestError::Mismatch),
        }
    }
}

impl Client {
    /// What the client's node knows of the charter and of one member, for a program that knows
    /// which network this is. Takes two requests, and seldom more.
    pub(crate) async fn roster_of(
        &self,
        kept: &Kept,
        subject: NodeId,
    ) -> Result<Roster, RequestError> {
        let (_, charter) = self.roster_parts().await?;
        let mut roster = Roster::new(kept.charter.clone());
        take(&mut roster, &charter);
        self.read_part(&mut roster, Slot::part_of(&subject)).await?;
        Ok(roster)
    }

    /// Adds all that the client's node knows to a roster. Takes one request, and one for each
    /// hundred members or so. Cancel-safe: what came by then is added.
    pub(super) async fn read_roster(&self, roster: &mut Roster) -> Result<(), RequestError> {
        let (parts, charter) = self.roster_parts().await?;
        take(roster, &charter);
        for part in parts {
            self.read_part(roster, part).await?;
        }
        Ok(())
    }

    /// Which parts the roster of the client's node has, and its charter.
    async fn roster_parts(&self) -> Result<(Vec<u8>, Vec<Told>), RequestError> {
        match self.ask_roster(RosterWanted::Digest(Hash([0; 32]))).await? {
            RosterTold::Differs(parts, Statements(charter)) => {
                Ok((parts.into_iter().map(|part| part.part).collect(), charter))
            }
            RosterTold::Same | RosterTold::Part(..) => Err(RequestError::Mismatch),
        }
    }

    /// Adds a part of the roster of the client's node.
    async fn read_part(&self, roster: &mut Roster, part: u8) -> Result<(), RequestError> {
        let mut after: Option<Slot> = None;
        // A node that does not get on would be asked for ever.
        for _ in 0..ROSTER_STATEMENTS_MAX {
            let told = self.ask_roster(RosterWanted::Part(part, after)).await?;
            let RosterTold::Part(Statements(statements), more) = told else { break };
            take(roster, &statements);
            after = more.filter(|more| Some(*more) > after);
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn ask_roster(&self, wanted: RosterWanted) -> Result<RosterTold, RequestError> {
        match self.ask(NodeRequest::CompareRoster(wanted)).await? {
            Response::Roster(told) => Ok(told),
            _ => Err(RequestError::Mismatch),
        }
    }
}

/// Adds what is news to a roster. One of another network, and one that the charter does not allow
/// any more, changes nothing.
fn take(roster: &mut Roster, told: &[Told]) {
    for told in told {
        if let Ok(Some(statement)) = told.news_to(roster) {
            let _refused = roster.insert(statement);
        }
    }
}
