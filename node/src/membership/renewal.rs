//! A client's membership ends. An admin signs a later pass, and the client takes it from its node.

use std::time::Duration;

use antiphon::model::{
    WallClock,
    roster::{Credentials, Kept, Roster},
};

use super::Membership;
use crate::{
    client::{Client, RequestError},
    platform::clock::wall,
    store::{DataDirectory, write_network},
};

/// So long before its membership ends, a client asks at each start whether there is a later pass.
/// Those who manage the network are warned as early.
pub const RENEWED_BEFORE: Duration = Duration::from_hours(14 * 24);

impl Membership {
    /// When it ends; never if this is none. Nodes do not end.
    pub fn expires(&self) -> Option<WallClock> {
        let pass = self.kept.own.pass().terms();
        match pass.invitation {
            Some(invitation) => invitation.until,
            None => pass.expires,
        }
    }

    /// Whether it ends soon, or has ended.
    pub(crate) fn ends_soon(&self) -> bool {
        let soon = u64::try_from(RENEWED_BEFORE.as_millis()).unwrap_or(u64::MAX);
        self.expires().is_some_and(|expires| expires.0 <= wall().0.saturating_add(soon))
    }

    /// Asks the client's node for a later pass, and keeps it in the directory. Without one, and
    /// where it cannot be kept, all goes on as before: nodes know the pass.
    pub(crate) async fn renew(&self, client: &Client) {
        match client.roster_of(&self.kept, self.id()).await {
            Ok(roster) => {
                let Some(kept) = later(&self.kept, &roster) else { return };
                let directory = self.directory.clone();
                let written = tokio::task::spawn_blocking(move || {
                    let directory = DataDirectory::open(&directory).map_err(|it| it.to_string())?;
                    write_network(&directory, &kept).map_err(|error| error.to_string())
                });
                let written = written.await.map_err(|error| error.to_string());
                if let Err(reason) = written.and_then(|outcome| outcome) {
                    let directory = self.directory.display();
                    tracing::warn!("a later pass was not kept in {directory}: {reason}");
                }
            }
            Err(RequestError::Refused(refusal)) => {
                tracing::debug!(%refusal, "the node does not say whether there is a later pass");
            }
            Err(error) => tracing::debug!(%error, "nobody says whether there is a later pass"),
        }
    }
}

/// What the directory will have, by what a node knows; none if there is nothing later.
fn later(kept: &Kept, roster: &Roster) -> Option<Kept> {
    let subject = kept.own.subject();
    let pass = roster.pass(&subject)?;
    let is_news = kept.own.claim().is_some() || pass.supersedes(kept.own.pass());
    let holds = roster.member(&subject, wall()).is_ok();
    // A charter of another door is of a network that this directory has no key to.
    let opens = roster.charter().terms().door == kept.door.hash();
    if !(is_news && holds && opens) {
        return None;
    }
    let own = Credentials::own(pass.clone()).ok()?;
    Some(Kept { charter: roster.charter().clone(), own, ..kept.clone() })
}

#[cfg(test)]
mod tests {
    use antiphon::model::{
        NodeKey,
        roster::{Door, MemberKind, Pass, Revocation, Statement},
    };

    use super::*;

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_secret(&[seed; 32])
    }

    /// A pass of a client that was issued at a time, and ends far from now.
    fn pass(kept: &Kept, issued: u64) -> Pass {
        let issued = WallClock(issued);
        let subject = (key(5).node(), MemberKind::Client);
        let mut pass = Pass::new(kept.network(), subject, key(2).node(), issued);
        pass.expires = Some(WallClock(u64::MAX));
        pass
    }

    #[test]
    fn a_later_pass_is_taken_and_nothing_else() {
        let name = "lab".parse().unwrap();
        let (door, first) = (Door::from_bytes([9; 32]), (key(3).node(), "first"));
        let mut kept = Kept::found(name, (&key(1), &key(2)), door, first, WallClock(5)).unwrap();
        let signed = |pass: Pass| pass.sign(&key(2)).unwrap();
        kept.own = Credentials::own(signed(pass(&kept, 10))).unwrap();
        let mut roster = Roster::new(kept.charter.clone());
        assert_eq!(later(&kept, &roster), None, "the node knows no pass");
        roster.insert(Statement::Pass(signed(pass(&kept, 9)))).unwrap();
        assert_eq!(later(&kept, &roster), None, "it is an older one");
        let renewed = signed(pass(&kept, 11));
        roster.insert(Statement::Pass(renewed.clone())).unwrap();
        let taken = later(&kept, &roster).unwrap();
        assert_eq!(taken.own, Credentials::own(renewed).unwrap());
        assert_eq!(later(&taken, &roster), None, "it has it");
        let who = (key(5).node(), 0);
        let removal = Revocation::new(kept.network(), who, key(2).node(), WallClock(7));
        roster.insert(Statement::Revocation(removal.sign(&key(2)).unwrap())).unwrap();
        assert_eq!(later(&kept, &roster), None, "it was removed");
    }
}
