//! What a connection and the behaviour tell each other.

use antiphon::wire::{Request, Response};

use super::{AskError, Received, RequestId};

/// What the behaviour tells a connection.
#[derive(Debug)]
pub(in super::super) enum Told {
    /// Send this request.
    Ask(RequestId, Request),
    /// Nobody waits for the answer to this request any more.
    GiveUp(RequestId),
    /// Send this answer.
    Answer { stream: u64, number: u64, response: Response },
}

/// What a connection tells the behaviour.
#[derive(Debug)]
pub(in super::super) enum Said {
    /// The other side asks.
    Asked { stream: u64, number: u64, request: Received },
    /// The other side has closed this stream, and waits for no answer of it.
    Abandoned { stream: u64 },
    /// The other side answers.
    Answered(RequestId, Response),
    /// There will be no answer.
    Failed(RequestId, AskError),
}
