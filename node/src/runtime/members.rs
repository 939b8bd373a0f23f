//! The roster of a closed network, between the node's judge and its engine.

use std::sync::Arc;

use antiphon::model::roster::{Roster, Statement};
use tokio::sync::{mpsc, watch};

use crate::network::{ADMITTED_MAX, Gate};

/// What the engine and the judge of new connections tell each other. Nothing in an open network.
#[derive(Debug)]
pub(crate) struct Members {
    told: watch::Sender<Option<Arc<Roster>>>,
    admitted: mpsc::Receiver<Vec<Statement>>,
}

impl Members {
    /// The ways between the engine and the judge of a closed network, and the judge's ends of them.
    pub(crate) fn closed() -> (Self, Gate) {
        let (tell, admitted) = mpsc::channel(ADMITTED_MAX);
        let (told, roster) = watch::channel(None);
        (Self { told, admitted }, Gate { roster, admitted: tell })
    }

    /// Those of an open network, where nobody tells anything.
    pub(crate) fn open() -> Self {
        Self::closed().0
    }

    /// The engine says who belongs from now on.
    pub(super) fn tell(&self, roster: Arc<Roster>) {
        self.told.send_replace(Some(roster));
    }

    /// The next statements, each verified, that somebody showed who got in; none in an open
    /// network. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Vec<Statement>> {
        self.admitted.recv().await
    }
}
