//! How the process ends.

use std::{fmt, process::ExitCode};

use crate::signals::Caught;

/// The exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// What was asked is done.
    Done,
    /// It failed.
    Failed,
    /// It was asked wrongly.
    Usage,
    /// The records are published and had not reached enough copies in time.
    Pending,
    /// A signal ended it before it was done.
    Interrupted(Caught),
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Done => 0,
            Status::Failed => 1,
            Status::Usage => 2,
            Status::Pending => 3,
            Status::Interrupted(caught) => caught.status(),
        })
    }
}

/// An error that knows its exit status and, where there is one, the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    status: Status,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// What was asked cannot be meant: exit status 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: Status::Usage, message: message.into(), hint: None }
    }

    /// What was asked did not succeed: exit status 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { status: Status::Failed, message: message.into(), hint: None }
    }

    /// It did not reach enough copies in time: exit status 3.
    pub(crate) fn pending(message: impl Into<String>) -> Self {
        Self { status: Status::Pending, message: message.into(), hint: None }
    }

    /// A signal ended it before it was done: the exit status is that of the signal.
    pub(crate) fn interrupted(caught: Caught, message: impl Into<String>) -> Self {
        Self { status: Status::Interrupted(caught), message: message.into(), hint: None }
    }

    /// The next step.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The next step, where there is one.
    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The exit status.
    pub(crate) fn status(&self) -> Status {
        self.status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
