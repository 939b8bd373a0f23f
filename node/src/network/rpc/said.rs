//! What a connection and the behaviour tell each other.

use antiphon::wire::{Request, Response};

use super::{AskError, Misdeed, Received, RequestId};
use crate::network::budget::Loan;

/// What the behaviour tells a connection.
#[derive(Debug)]
pub(in super::super) enum Told {
    /// Send this request.
    Ask(RequestId, Request),
    /// Nobody waits for the answer to this request any more.
    GiveUp(RequestId),
    /// Send this answer.
    Answer { stream: u64, number: u64, response: Response, loan: Option<Box<Loan>> },
}

/// What a connection tells the behaviour.
#[derive(Debug)]
pub(in super::super) enum Said {
    /// The other side asks.
    Asked { stream: u64, number: u64, request: Received, loan: Option<Loan> },
    /// This stream has ended, and nobody waits for an answer of it: the other side closed it, or
    /// did something for which it was cut off.
    Abandoned { stream: u64, misdeed: Option<Misdeed> },
    /// The other side answers.
    Answered(RequestId, Response, Option<Loan>),
    /// There will be no answer.
    Failed(RequestId, AskError),
}
