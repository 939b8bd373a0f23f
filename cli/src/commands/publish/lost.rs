//! Records that were not acknowledged, named by their numbers in the input.

use std::fmt;

use antiphon_node::client::PublishError;

/// What is known of a record that was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It may be stored or not.
    Unknown,
    /// It is not stored.
    NotStored,
}

impl Fate {
    pub(super) fn of(error: &PublishError) -> Self {
        match error {
            PublishError::Record(_)
            | PublishError::Id(_)
            | PublishError::Refused(_)
            | PublishError::NotSent(_)
            | PublishError::Stopped => Self::NotStored,
            _ => Self::Unknown,
        }
    }

    /// The status of a record in JSON.
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NotStored => "not_stored",
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unknown => "unknown",
            Self::NotStored => "not stored",
        })
    }
}

/// What the records of one publish are, and so what their numbers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Lines of standard input.
    Line,
    /// Arguments.
    Message,
}

impl Unit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Message => "message",
        }
    }
}

/// Consecutive records, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Span {
    pub(super) fn count(self) -> u64 {
        self.last - self.first + 1
    }

    /// `line 31`, `lines 31 to 54`.
    pub(super) fn named(self, unit: Unit) -> String {
        let (Self { first, last }, unit) = (self, unit.name());
        if first == last { format!("{unit} {first}") } else { format!("{unit}s {first} to {last}") }
    }
}

/// The records that were not acknowledged. Records go out one request after the other, and none
/// after one that failed: so those of each kind follow each other.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) unknown: Option<Span>,
    pub(super) not_stored: Option<Span>,
}

impl Lost {
    pub(super) fn add(&mut self, number: u64, fate: Fate) {
        let span = match fate {
            Fate::Unknown => &mut self.unknown,
            Fate::NotStored => &mut self.not_stored,
        };
        let one = Span { first: number, last: number };
        let Span { first, last } = span.unwrap_or(one);
        *span = Some(Span { first: first.min(number), last: last.max(number) });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(super) fn count(&self) -> u64 {
        self.unknown.into_iter().chain(self.not_stored).map(Span::count).sum()
    }

    /// The first record that was not acknowledged, or those of which nothing is known, if they are
    /// the first.
    pub(super) fn head(&self) -> Option<Span> {
        let not_stored = self.not_stored.map(|span| Span { last: span.first, ..span });
        match (self.unknown, not_stored) {
            (Some(unknown), Some(other)) if other.first < unknown.first => Some(other),
            (unknown, other) => unknown.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_named_by_their_numbers() {
        let mut lost = Lost::default();
        assert_eq!((lost.head(), lost.is_empty()), (None, true));
        lost.add(31, Fate::Unknown);
        assert_eq!(lost.head().unwrap().named(Unit::Line), "line 31");
        (32..=54).for_each(|number| lost.add(number, Fate::Unknown));
        (55..=80).for_each(|number| lost.add(number, Fate::NotStored));
        assert_eq!(lost.head().unwrap().named(Unit::Line), "lines 31 to 54");
        assert_eq!((lost.unknown.unwrap().count(), lost.not_stored.unwrap().count()), (24, 26));
        let mut refused = Lost::default();
        (3..=5).for_each(|number| refused.add(number, Fate::NotStored));
        assert_eq!(refused.head().unwrap().named(Unit::Message), "message 3");
    }
}
