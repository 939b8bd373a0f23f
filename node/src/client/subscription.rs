//! Named subscriptions: positions that are kept on a topic's replicas.

use antiphon::{
    model::{Cursor, LogId, Position, SessionId, SubscriberName, Subscription, TopicName},
    wire::{Request, Response},
};
use thiserror::Error;

use super::{
    Client, Delivered, Reader, ReaderOptions, Refusal, RequestError, Start,
    unacknowledged::{Acknowledgement, UNACKNOWLEDGED_MAX, Unacknowledged},
};

impl Client {
    /// The named subscriptions of a topic and where they stand, groups included, in order of their
    /// names.
    ///
    /// # Errors
    /// When the topic does not exist or no replica can be reached.
    pub async fn subscriptions(
        &self,
        topic: &TopicName,
    ) -> Result<Vec<(SubscriberName, Subscription)>, RequestError> {
        let mut subscriptions = Vec::new();
        let mut after = None;
        loop {
            let before = after.take();
            let request = Request::Subscriptions(topic.clone(), before.clone());
            let Response::Subscriptions(page, more) = self.ask(request).await? else {
                return Err(RequestError::Mismatch);
            };
            let last = page.last().map(|(name, _)| name.clone());
            if more && (last.is_none() || last <= before) {
                return Err(RequestError::Mismatch);
            }
            after = last.filter(|_| more);
            subscriptions.extend(page.into_iter().filter(|(_, kept)| kept.cursor.is_some()));
            if after.is_none() {
                return Ok(subscriptions);
            }
        }
    }

    /// Where a named subscription stands; none when the name is new, or was deleted.
    ///
    /// # Errors
    /// When the topic does not exist or no replica can be reached.
    pub async fn position(
        &self,
        topic: &TopicName,
        name: &SubscriberName,
    ) -> Result<Option<Cursor>, RequestError> {
        Ok(self.kept(topic, name).await?.and_then(|kept| kept.cursor))
    }

    /// Sets a named subscription to a place, also back; where that is. A subscriber that goes on
    /// under the name is refused its next commit, and finds the new position when it starts again.
    ///
    /// A place that is a time is looked for by reading the topic.
    ///
    /// # Errors
    /// When the topic does not exist or no replica can be reached.
    pub async fn reset_subscription(
        &self,
        topic: &TopicName,
        name: &SubscriberName,
        start: Start,
    ) -> Result<Cursor, RequestError> {
        let kept = self.kept(topic, name).await?;
        let generation = kept.as_ref().map_or(0, |kept| kept.generation + 1);
        // A group stays one, and has done nothing there yet.
        let group = kept.and_then(|kept| kept.group).map(|_| Box::default());
        let cursor = self.place(topic, start).await?;
        let subscription = Subscription { generation, cursor: Some(cursor.clone()), group };
        self.commit(topic, name, subscription, None).await?;
        Ok(cursor)
    }

    /// Deletes a named subscription; whether there was one. Under the same name a new one may begin.
    ///
    /// # Errors
    /// When the topic does not exist or no replica can be reached.
    pub async fn delete_subscription(
        &self,
        topic: &TopicName,
        name: &SubscriberName,
    ) -> Result<bool, RequestError> {
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
        match self.ask(Request::Position(topic.clone(), name.clone())).await? {
            Response::Position(kept) => Ok(kept),
            _ => Err(RequestError::Mismatch),
        }
    }

    /// Keeps a position; on how many replicas, and whether another run than this one reads under the
    /// name.
    pub(super) async fn commit(
        &self,
        topic: &TopicName,
        name: &SubscriberName,
        subscription: Subscription,
        session: Option<SessionId>,
    ) -> Result<(u16, bool), RequestError> {
        let request = Request::Commit(topic.clone(), name.clone(), subscription, session);
        match self.ask(request).await? {
            Response::Committed(copies, shared) => Ok((copies, shared == Some(true))),
            _ => Err(RequestError::Mismatch),
        }
    }
}

/// Why no record was handed out. The subscriber stays where it is.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum NextError {
    /// The caller has as many records as it may have that it did not acknowledge.
    #[error("{0} records are not acknowledged; no more are handed out")]
    Unacknowledged(usize),
    /// No node that holds the records can be reached. It can be asked again.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// A named subscription: a reader whose position is kept on the topic's replicas.
#[derive(Debug)]
pub struct Subscriber {
    client: Client,
    topic: TopicName,
    reader: Reader,
    name: SubscriberName,
    generation: u64,
    /// The position that is kept.
    committed: Option<Cursor>,
    is_new: bool,
    /// This run.
    session: SessionId,
    /// Whether another one reads under the name.
    is_shared: bool,
    unacknowledged: Unacknowledged,
}

impl Subscriber {
    pub(super) async fn start(
        client: Client,
        topic: TopicName,
        name: SubscriberName,
        mut options: ReaderOptions,
    ) -> Result<Self, RequestError> {
        let (generation, position) = match client.kept(&topic, &name).await? {
            None => (0, None),
            Some(Subscription { generation, cursor: None, .. }) => (generation + 1, None),
            Some(Subscription { group: Some(_), .. }) => {
                return Err(Refusal::Group(name.to_string()).into());
            }
            Some(Subscription { generation, cursor, .. }) => (generation, cursor),
        };
        let is_new = position.is_none();
        let committed = position.clone();
        if let Some(position) = position {
            options.start = Start::At(position);
        }
        let reader = Reader::start(client.clone(), topic.clone(), options).await?;
        let unacknowledged = Unacknowledged::default();
        let session = SessionId(u64::from_le_bytes(crate::runtime::random_bytes()));
        let mut subscriber = Self {
            client,
            topic,
            reader,
            name,
            generation,
            committed,
            is_new,
            session,
            is_shared: false,
            unacknowledged,
        };
        // A name that starts at the end would otherwise skip what comes before its first record.
        subscriber.commit().await?;
        Ok(subscriber)
    }

    /// Whether the name was new when this was started.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether another subscriber reads under the same name, as the last [`Self::commit`] was told:
    /// each gets all records, and together they move one position. It takes a few commits of both
    /// until the replicas know, and half a minute until they forget one that has ended.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The reader; records are taken from it.
    pub fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// The next record, to be acknowledged by hand: the position that [`Self::commit`] keeps
    /// stands before the first record of each log that is not. What is taken from
    /// [`Self::reader`] counts as acknowledged. Otherwise as [`Reader::next`]; cancel-safe as well.
    ///
    /// ```no_run
    /// # use antiphon_node::client::{NextError, Subscriber};
    /// # async fn work(subscriber: &mut Subscriber) -> Result<(), NextError> {
    /// while let Some((delivered, acknowledgement)) = subscriber.next().await? {
    ///     println!("{} bytes", delivered.record.payload.len());
    ///     subscriber.acknowledge(acknowledgement);
    ///     subscriber.commit().await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Reader::next`], and when 65,536 records wait to be acknowledged.
    pub async fn next(&mut self) -> Result<Option<(Delivered, Acknowledgement)>, NextError> {
        self.check_room()?;
        let next = self.reader.next_of_log().await?;
        Ok(next.map(|next| self.hand_out(next)))
    }

    /// Whether one more record may be handed out.
    pub(super) fn check_room(&self) -> Result<(), NextError> {
        if self.unacknowledged.is_full() {
            return Err(NextError::Unacknowledged(UNACKNOWLEDGED_MAX));
        }
        Ok(())
    }

    /// Takes note of a record that the reader gave: it is to be acknowledged.
    pub(super) fn hand_out(
        &mut self,
        (record, log, before): (Delivered, LogId, Option<Position>),
    ) -> (Delivered, Acknowledgement) {
        (record, self.unacknowledged.hand_out(log, before))
    }

    /// A record is done with. It counts for good once [`Self::commit`] has kept the position; in
    /// whatever order records are acknowledged, none is passed over.
    #[expect(clippy::needless_pass_by_value, reason = "what is acknowledged is done with")]
    pub fn acknowledge(&mut self, acknowledgement: Acknowledgement) {
        self.unacknowledged.acknowledge(&acknowledgement);
    }

    /// Keeps the position after the last record that was handed out, or before the first that is
    /// to be acknowledged and is not. A crash before this repeats records, and loses none.
    ///
    /// # Errors
    /// When no replica can be reached, and then the position of before holds; with
    /// [`Refusal::Superseded`] when the subscription was reset
    /// or deleted meanwhile.
    pub async fn commit(&mut self) -> Result<(), RequestError> {
        let mut cursor = self.reader.cursor().clone();
        self.unacknowledged.limit(&mut cursor);
        let cursor = Some(cursor);
        if cursor == self.committed {
            return Ok(());
        }
        let subscription = Subscription::new(self.generation, cursor.clone());
        let session = Some(self.session);
        let kept = self.client.commit(&self.topic, &self.name, subscription, session).await?;
        self.is_shared = kept.1;
        self.committed = cursor;
        Ok(())
    }
}
