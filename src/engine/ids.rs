//! What the engine and the world call what is under way between them.

/// Names a request that this node was asked; its answer repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuestionId(pub u64);

/// Names a request that this engine makes to another node; its outcome repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Names a read of the store; its outcome repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Numbers the writes of one engine, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct WriteNumber(pub u64);

/// Declares ids of one table each, so that none passes for another one.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(in crate::engine) struct $name(u64);

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }
    )*};
}

ids! {
    /// Names a read of one topic.
    ReadId
    /// Names a read of many topics.
    ManyId
    /// Names a survey.
    SurveyId
    /// Names a search for records that may be stored already.
    SearchId
    /// Names a page that is imported.
    ImportId
    /// Names a change of a topic that others are told of.
    ChangeId
    /// Names a listing of topics.
    TopicListingId
    /// Names a client that waits for other names of topics.
    NamesId
    /// Names a listing of subscriptions.
    ListingId
    /// Names a commit of a subscription's position.
    CommitId
    /// Names a challenge to prove possession.
    ChallengeId
    /// Names a comparison of disks.
    ComparisonId
    /// Names a check whether the place of a batch is taken.
    CheckId
}
