//! Named subscriptions: positions that are kept on a topic's replicas.

use antiphon::{
    model::{Cursor, Progress, SessionId, SubscriberName, Subscription, TopicName},
    wire::{ClientRequest, Request, Response},
};

use super::{Client, ReaderOptions, RequestError, Start, ToSubscriberName, ToTopicName, named};

/// A named subscription or a group, and where it stands. [`Client::subscriptions`] lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionInfo {
    /// Its name.
    pub name: SubscriberName,
    /// Its committed position. Of a group this is the place before the first record of each log
    /// that is not done.
    pub cursor: Cursor,
    /// Whether the name belongs to a group.
    pub is_group: bool,
    /// How many records after the position a group has done already. One reader has done none.
    pub records_done: u64,
}

impl SubscriptionInfo {
    /// None for a subscription that was deleted.
    fn new(name: SubscriberName, kept: Subscription) -> Option<Self> {
        let records_done = kept.group.as_deref().map_or(0, Progress::records_done);
        Some(Self { name, cursor: kept.cursor?, is_group: kept.group.is_some(), records_done })
    }
}

impl Client {
    /// The named subscriptions of a topic and where they stand, groups included, in order of their
    /// names. Cancel-safe.
    ///
    /// # Errors
    /// When the topic does not exist or no replica can be reached.
    pub async fn subscriptions(
        &self,
        topic: impl ToTopicName,
    ) -> Result<Vec<SubscriptionInfo>, RequestError> {
        let topic: TopicName = named(topic)?;
        let mut subscriptions = Vec::new();
        let mut after = None;
        loop {
            let before = after.take();
            let request =
                Request::Client(ClientRequest::Subscriptions(topic.clone(), before.clone()));
            let Response::Subscriptions(page, more) = self.ask(request).await? else {
                return Err(RequestError::Mismatch);
            };
            let last = page.last().map(|(name, _)| name.clone());
            if more && (last.is_none() || last <= before) {
                return Err(RequestError::Mismatch);
            }
            after = last.filter(|_| more);
            let there =
                page.into_iter().filter_map(|(name, kept)| SubscriptionInfo::new(name, kept));
            subscriptions.extend(there);
            if after.is_none() {
                return Ok(subscriptions);
            }
        }
    }

    /// Where a named subscription or a group stands; none if the name is new, or was deleted.
    /// Cancel-safe.
    ///
    /// # Errors
    /// When the topic does not exist, or no replica can be reached. Also when the name may be new,
    /// and too few replicas answer to be sure ([`Refusal::Away`](super::Refusal::Away)).
    pub async fn position(
        &self,
        topic: impl ToTopicName,
        name: impl ToSubscriberName,
    ) -> Result<Option<Cursor>, RequestError> {
        Ok(self.kept(&named(topic)?, &named(name)?).await?.and_then(|kept| kept.cursor))
    }

    /// Moves a named subscription or a group to a place, forward or back, and returns where that
    /// is. A name that is new begins there, as a subscription of one reader.
    ///
    /// A subscriber that runs under the name is refused its next commit ([`Refusal::Superseded`]).
    /// Started again, it reads from the new position. Members of a group go on at the new position
    /// by themselves.
    ///
    /// To find the place of [`Start::Since`], this reads the topic.
    ///
    /// Dropped before it returns, or failed without an answer, the subscription may have moved or
    /// not. Repeating it is safe.
    ///
    /// # Errors
    /// When the topic does not exist, a cursor belongs to another topic, or too few replicas
    /// answer: this takes a majority of them ([`Refusal::Away`]).
    ///
    /// [`Refusal::Superseded`]: super::Refusal::Superseded
    /// [`Refusal::Away`]: super::Refusal::Away
    pub async fn reset_subscription(
        &self,
        topic: impl ToTopicName,
        name: impl ToSubscriberName,
        start: Start,
    ) -> Result<Cursor, RequestError> {
        let (topic, name) = (&named(topic)?, &named(name)?);
        let kept = self.kept(topic, name).await?;
        let generation = kept.as_ref().map_or(0, |kept| kept.generation + 1);
        // A group stays one, and has done nothing there yet.
        let group = kept.and_then(|kept| kept.group).map(|_| Box::default());
        let cursor = self.place(topic, start).await?;
        let subscription = Subscription { generation, cursor: Some(cursor.clone()), group };
        self.commit(topic, name, subscription, None).await?;
        Ok(cursor)
    }

    /// Deletes a named subscription or a group, and returns whether there was one. Under the same
    /// name a new one may begin.
    ///
    /// Dropped before it returns, or failed without an answer, the subscription may be deleted or
    /// not. Repeating it is safe.
    ///
    /// # Errors
    /// When the topic does not exist, or too few replicas answer: this takes a majority of them
    /// ([`Refusal::Away`](super::Refusal::Away)).
    pub async fn delete_subscription(
        &self,
        topic: impl ToTopicName,
        name: impl ToSubscriberName,
    ) -> Result<bool, RequestError> {
        let (topic, name) = (&named(topic)?, &named(name)?);
        let Some(kept) = self.kept(topic, name).await?.filter(|kept| kept.cursor.is_some()) else {
            return Ok(false);
        };
        let deleted = Subscription::new(kept.generation + 1, None);
        self.commit(topic, name, deleted, None).await?;
        Ok(true)
    }

    /// The position of a place in a topic.
    pub(super) async fn place(
        &self,
        topic: &TopicName,
        start: Start,
    ) -> Result<Cursor, RequestError> {
        if let Start::Since(time) = start {
            return self
                .reader(topic.clone(), ReaderOptions::default())
                .await?
                .seek(time.into())
                .await;
        }
        let options = ReaderOptions { start, ..ReaderOptions::default() };
        Ok(self.reader(topic.clone(), options).await?.cursor().clone())
    }

    /// What is kept under a name, also where that was deleted.
    pub(super) async fn kept(
        &self,
        topic: &TopicName,
        name: &SubscriberName,
    ) -> Result<Option<Subscription>, RequestError> {
        match self.ask(ClientRequest::Position(topic.clone(), name.clone())).await? {
            Response::Position(kept) => Ok(kept),
            _ => Err(RequestError::Mismatch),
        }
    }

    /// Keeps a position; on how many replicas, and whether another run than this one reads under
    /// the name.
    pub(super) async fn commit(
        &self,
        topic: &TopicName,
        name: &SubscriberName,
        subscription: Subscription,
        session: Option<SessionId>,
    ) -> Result<(u16, bool), RequestError> {
        let request = Request::Client(ClientRequest::Commit(
            topic.clone(),
            name.clone(),
            subscription,
            session,
        ));
        match self.ask(request).await? {
            Response::Committed(copies, shared) => Ok((copies, shared == Some(true))),
            _ => Err(RequestError::Mismatch),
        }
    }
}
