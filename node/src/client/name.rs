//! Names that programs give as texts.

use std::convert::Infallible;

use antiphon::model::{SubscriberName, TopicName, TopicNameError, TopicPattern, TopicPatternError};
use thiserror::Error;

/// Why a text cannot be a name or a pattern. Nothing was sent.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The text is no name of a topic, a subscription or a group.
    #[error(transparent)]
    Name(#[from] TopicNameError),
    /// The text is no pattern of topics.
    #[error(transparent)]
    Pattern(#[from] TopicPatternError),
}

impl From<Infallible> for NameError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// What names a topic: a [`TopicName`], or a text that is checked (`&str`, `String`).
pub trait ToTopicName: TryInto<TopicName, Error: Into<NameError>> {}

impl<T: TryInto<TopicName, Error: Into<NameError>>> ToTopicName for T {}

/// What names a subscription or a group: a [`SubscriberName`], or a text that is checked (`&str`,
/// `String`).
pub trait ToSubscriberName: TryInto<SubscriberName, Error: Into<NameError>> {}

impl<T: TryInto<SubscriberName, Error: Into<NameError>>> ToSubscriberName for T {}

/// A pattern of topics: a [`TopicPattern`], or a text that is checked (`&str`, `String`).
pub trait ToTopicPattern: TryInto<TopicPattern, Error: Into<NameError>> {}

impl<T: TryInto<TopicPattern, Error: Into<NameError>>> ToTopicPattern for T {}

/// The name, or what is wrong with it.
pub(super) fn named<N, T>(name: T) -> Result<N, NameError>
where
    T: TryInto<N, Error: Into<NameError>>,
{
    name.try_into().map_err(Into::into)
}
