//! Statements that somebody tells of.
//!
//! A signature costs more than all else that can be said of a statement. So it is looked at last,
//! and only if the statement would be news: what is known, or not allowed, costs none.

use bytes::Bytes;
use thiserror::Error;

use super::{
    any::Statement,
    set::{NotAccepted, Roster},
    statement::StatementError,
};

/// A statement that somebody tells of. Nobody may have checked its signatures yet.
#[derive(Debug, Clone)]
pub struct Told {
    statement: Statement,
    is_verified: bool,
}

/// Why a statement that was told is not taken in.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// The roster does not accept it, no matter who tells of it.
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
    /// It is false. Who tells of it is at fault.
    #[error(transparent)]
    False(#[from] StatementError),
}

impl Told {
    /// Decodes a statement of a kind, without its signatures being checked.
    ///
    /// # Errors
    /// When it is malformed, or its kind is not known.
    pub fn read(kind: u8, bytes: Bytes) -> Result<Self, StatementError> {
        Ok(Self { statement: Statement::read(kind, bytes)?, is_verified: false })
    }

    /// The number of its kind.
    pub fn kind(&self) -> u8 {
        self.statement.kind()
    }

    /// The bytes as they were told.
    pub fn bytes(&self) -> &Bytes {
        self.statement.bytes()
    }

    /// How many signatures it has, if it is what it says.
    pub fn signatures(&self) -> u32 {
        match self.statement {
            Statement::Claim(_) => 2,
            _ => 1,
        }
    }

    /// The statement, verified, if a roster lacks it; none if it changes nothing there.
    ///
    /// # Errors
    /// When the roster does not accept it, or it is false.
    pub fn news_to(&self, roster: &Roster) -> Result<Option<Statement>, NotTaken> {
        if !roster.check(&self.statement)? {
            Ok(None)
        } else if self.is_verified {
            Ok(Some(self.statement.clone()))
        } else {
            Ok(Some(Statement::verify(self.kind(), self.bytes().clone())?))
        }
    }
}

impl From<Statement> for Told {
    fn from(statement: Statement) -> Self {
        Self { statement, is_verified: true }
    }
}

/// By what is told, whether or not it was verified.
impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.statement == other.statement
    }
}

impl Eq for Told {}
