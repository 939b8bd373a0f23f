//! The state machine of one node.
//!
//! [`Engine::handle`] takes one [`Input`] with the time at which it happened; what is to be
//! done comes out of [`Engine::poll_output`], in order. The engine reads no clock, draws no
//! random number that its seed does not determine, and iterates over ordered maps only, so the
//! same inputs give the same outputs. The simulator runs this very code.
//!
//! An answer that must not be seen before a write is flushed says so itself
//! ([`Output::Answer`]'s `after`): durability is data, not control flow.

mod input;
mod log;

pub use input::{
    AskId, Config, Failure, Input, Now, Output, QuestionId, Recovered, Ticket, Write, WriteNumber,
};
pub use log::{AddError, Added, HeldSpan, Log};

/// The state machine of one node.
#[derive(Debug)]
pub struct Engine;
