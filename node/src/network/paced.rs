//! The table at a pace: what peers send it, and what it answers, is bounded for each connection.
//!
//! The table answers each message on the loop of the whole network, and a peer can send tens of
//! thousands in a second. So its handler may report only some of them. When it may not, it is not
//! polled: it does not read, and the peer is slowed.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    PeerId,
    swarm::{ConnectionHandler, ConnectionHandlerEvent},
};
use tokio::time::{Sleep, sleep_until};

use super::{
    filtered::{Filtered, Polled, Rule, Watch},
    limits::{TABLE_MESSAGES_MAX, TABLE_MESSAGES_PER_SECOND},
};
use crate::platform::clock::Clock;

/// A behaviour whose handlers are slowed.
pub(super) type Paced<B> = Filtered<B, Slowly>;

/// Each connection has the same pace.
pub(super) struct Slowly;

impl<H: ConnectionHandler> Rule<H> for Slowly {
    type Watch = Pace;

    fn watch(&self, _: PeerId) -> Pace {
        Pace::new()
    }
}

/// Lets a handler report no more than it may.
pub(super) struct Pace {
    clock: Clock,
    tokens: Tokens,
    /// When there is a token again, while there is none.
    wait: Option<Pin<Box<Sleep>>>,
}

/// What a handler may still report.
struct Tokens {
    left: u32,
    /// When they last grew, as time since the connection was made.
    at: Duration,
}

/// Time in which one token comes.
const TOKEN_TIME: Duration = Duration::from_secs(1)
    .checked_div(TABLE_MESSAGES_PER_SECOND)
    .expect("there are some in a second");

impl Tokens {
    /// Takes one, or says when there is one again.
    fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let grown = now.saturating_sub(self.at).as_nanos() / TOKEN_TIME.as_nanos();
        let grown = u32::try_from(grown).unwrap_or(u32::MAX);
        if self.left.saturating_add(grown) >= TABLE_MESSAGES_MAX {
            (self.left, self.at) = (TABLE_MESSAGES_MAX, now);
        } else {
            self.left += grown;
            self.at += TOKEN_TIME * grown;
        }
        self.left = self.left.checked_sub(1).ok_or(self.at + TOKEN_TIME)?;
        Ok(())
    }

    fn give_back(&mut self) {
        self.left += 1;
    }
}

impl Pace {
    fn new() -> Self {
        let tokens = Tokens { left: TABLE_MESSAGES_MAX, at: Duration::ZERO };
        Self { clock: Clock::start(), tokens, wait: None }
    }
}

impl<H: ConnectionHandler> Watch<H> for Pace {
    type Told = Infallible;

    fn on_told(&mut self, never: Infallible, _: &mut H) {
        match never {}
    }

    fn poll(&mut self, context: &mut Context<'_>, handler: &mut H) -> Polled<H> {
        while let Err(at) = self.tokens.take(self.clock.now().elapsed) {
            let at = self.clock.at(at);
            let wait = self.wait.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if wait.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.wait = None;
        }
        let polled = handler.poll(context);
        if !matches!(polled, Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(_))) {
            self.tokens.give_back();
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_reported_at_once_and_then_some_in_a_second() {
        let mut tokens = Tokens { left: TABLE_MESSAGES_MAX, at: Duration::ZERO };
        let mut taken = |now| (0..10_000).take_while(|_| tokens.take(now).is_ok()).count();
        let (most, each) = (TABLE_MESSAGES_MAX as usize, TABLE_MESSAGES_PER_SECOND as usize);
        assert_eq!(taken(Duration::ZERO), most);
        assert_eq!(taken(TOKEN_TIME / 2), 0);
        assert_eq!(taken(TOKEN_TIME), 1, "half of the time was not lost");
        assert_eq!(taken(TOKEN_TIME + Duration::from_secs(1)), each);
        assert_eq!(taken(Duration::from_hours(1)), most);
    }
}
