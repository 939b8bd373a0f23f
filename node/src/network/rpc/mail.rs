//! What connections are to be told: each gets all that is there for it at once.
//!
//! A connection takes few commands before it gets on, and while it has no room for one more the
//! whole swarm waits. So hundreds of answers to one asker are one command.

use std::collections::{BTreeMap, VecDeque};

use libp2p::{PeerId, swarm::ConnectionId};

use super::said::Told;

/// What waits for each connection.
#[derive(Debug, Default)]
pub(super) struct Mail {
    waiting: BTreeMap<ConnectionId, (PeerId, Vec<Told>)>,
    /// The connections, in the order in which something came for them first.
    turns: VecDeque<ConnectionId>,
}

impl Mail {
    pub(super) fn push(&mut self, peer: PeerId, connection: ConnectionId, told: Told) {
        let (_, waiting) = self.waiting.entry(connection).or_insert_with(|| {
            self.turns.push_back(connection);
            (peer, Vec::new())
        });
        waiting.push(told);
    }

    /// All that there is for the connection whose turn it is, in its order.
    pub(super) fn next(&mut self) -> Option<(PeerId, ConnectionId, Vec<Told>)> {
        loop {
            let connection = self.turns.pop_front()?;
            // It may be gone.
            if let Some((peer, told)) = self.waiting.remove(&connection) {
                return Some((peer, connection, told));
            }
        }
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.waiting.remove(&connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::rpc::RequestId;

    #[test]
    fn each_connection_gets_all_at_once_in_its_turn() {
        let mut mail = Mail::default();
        let (peer, other) = (PeerId::random(), PeerId::random());
        let [one, two, gone] = [1, 2, 3].map(ConnectionId::new_unchecked);
        for number in 0..100 {
            let told = || Told::GiveUp(RequestId::sample(number));
            mail.push(other, gone, told());
            mail.push(peer, one, told());
            mail.push(other, two, told());
        }
        mail.forget(gone);
        let mut told = || mail.next().map(|(peer, id, told)| (peer, id, told.len()));
        assert_eq!(told(), Some((peer, one, 100)));
        assert_eq!(told(), Some((other, two, 100)));
        assert_eq!(told(), None);
        assert!(mail.waiting.is_empty() && mail.turns.is_empty());
    }
}
