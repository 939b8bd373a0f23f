//! The roster of a closed network, between the node's judge and its engine.

use std::sync::Arc;

use antiphon::model::roster::{Roster, Statement};
use tokio::sync::{mpsc, watch};

use crate::network::{ADMITTED_MAX, Gate};

/// What the engine and the judge of new connections tell each other. Nothing in an open network.
#[derive(Debug)]
pub(crate) struct Members(Option<Ways>);

#[derive(Debug)]
struct Ways {
    told: watch::Sender<Arc<Roster>>,
    admitted: mpsc::Receiver<Vec<Statement>>,
}

impl Members {
    /// The ways between the engine and the judge of a closed network, and the judge's ends of them.
    /// Until the engine says more, the judge knows what was stored: the node may listen before.
    pub(crate) fn closed(stored: Roster) -> (Self, Gate) {
        let (tell, admitted) = mpsc::channel(ADMITTED_MAX);
        let (told, roster) = watch::channel(Arc::new(stored));
        (Self(Some(Ways { told, admitted })), Gate { roster, admitted: tell })
    }

    /// Those of an open network, where nobody tells anything.
    pub(crate) fn open() -> Self {
        Self(None)
    }

    /// The engine says who belongs from now on.
    pub(super) fn tell(&self, roster: Arc<Roster>) {
        if let Self(Some(ways)) = self {
            ways.told.send_replace(roster);
        }
    }

    /// The next statements, each verified, that somebody showed who got in; none in an open
    /// network. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Vec<Statement>> {
        match self {
            Self(Some(ways)) => ways.admitted.recv().await,
            Self(None) => None,
        }
    }
}
