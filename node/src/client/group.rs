//! Members of groups, which share the records of a topic among them.

mod dead_letters;
mod settlement;
mod work;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use antiphon::{
    limits::{GROUP_RANGES_MAX, VISIBILITY_MAX, VISIBILITY_MIN},
    model::{Cursor, LogId, MemberId, SubscriberName, Subscription, TopicName},
    wire::{Assignment, ClientRequest, LogRange, Membership, Response, Settle, Take},
};

use self::{
    dead_letters::DeadLetters,
    settlement::Unsettled,
    work::{Assigned, Fetched},
};
pub use self::{settlement::GroupCounts, work::Work};
use super::{
    Client, NextError, PassedOver, Refusal, RequestError, Start, ToSubscriberName, ToTopicName,
    named, reader::LIVE_WAIT, subscriber::UNACKNOWLEDGED_MAX,
};
use crate::platform::{clock::Clock, random_bytes};

/// Bytes of records that a member takes at a time.
const TAKEN_BYTES: u32 = 4 * 1024 * 1024;

/// How long a record that is done with waits for others before the group is told.
const SETTLE_WITHIN: Duration = Duration::from_millis(500);

/// This many do not wait.
const SETTLE_AT: usize = 512;

/// How a member takes part in a group: [`Client::member`] takes it. A value that is out of bounds
/// counts as the nearest bound.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOptions {
    /// Where the group starts, if it does not exist yet. By default at the beginning.
    pub start: Start,
    /// Time for this member to acknowledge a record (visibility timeout). After that the record
    /// goes to any member that asks. From 0.1 seconds to 12 hours; 30 seconds by default.
    pub visibility: Duration,
    /// How often a record is delivered at most: 1 or more, 5 by default. Instead of the next
    /// delivery, it is moved to the topic `TOPIC.dead`. That topic is created with the first such
    /// record.
    pub deliveries_max: u32,
    /// Most records that the member takes at a time and keeps until it hands them out: 1 to 8,192,
    /// 64 by default. Their time runs from when the member takes them. If the member dies, they go
    /// to others after `visibility`.
    pub prefetch: usize,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            start: Start::Beginning,
            visibility: Duration::from_secs(30),
            deliveries_max: 5,
            prefetch: 64,
        }
    }
}

impl GroupOptions {
    /// The defaults: from the beginning, 30 seconds for a record, 5 deliveries, 64 records at a
    /// time.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same options with another [`start`](field@Self::start).
    #[must_use]
    pub fn start(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// The same options with another [`visibility`](field@Self::visibility).
    #[must_use]
    pub fn visibility(self, visibility: Duration) -> Self {
        Self { visibility, ..self }
    }

    /// The same options with another [`deliveries_max`](field@Self::deliveries_max).
    #[must_use]
    pub fn deliveries_max(self, deliveries_max: u32) -> Self {
        Self { deliveries_max, ..self }
    }

    /// The same options with another [`prefetch`](field@Self::prefetch).
    #[must_use]
    pub fn prefetch(self, prefetch: usize) -> Self {
        Self { prefetch, ..self }
    }
}

/// A member of a group: it gets a share of a topic's records. [`Client::member`] makes one, and a
/// group has as many as there are programs that do so under its name.
///
/// - Each record goes to one member at a time. During a partition of the network both sides may
///   work on the same record.
/// - Records of one key are with one member at a time, and in order. Records without a key go to
///   any member that asks.
/// - A record that is not acknowledged within
///   [`visibility`](field@GroupOptions::visibility), or is [rejected](Self::reject), is delivered
///   again. So a record may be worked on twice, and none is skipped.
///
/// No task stands behind a member: it takes records and reports while a program awaits
/// [`next`](Self::next). `next` reports what was acknowledged when it must ask for more records, or
/// when half a second has passed since. [`commit`](Self::commit) reports at once. So commit before
/// a long pause.
///
/// Dropped without [`leave`](Self::leave), its records go to others after `visibility`. What it had
/// acknowledged and not reported is then delivered again.
///
/// ```no_run
/// # use antiphon_node::client::{Client, GroupOptions, NextError};
/// # async fn work(client: Client) -> Result<(), NextError> {
/// let mut member = client.member("jobs", "resizers", GroupOptions::default()).await?;
/// loop {
///     let work = member.next().await?;
///     println!("{} bytes, delivery {}", work.record.payload.len(), work.deliveries);
///     member.acknowledge(work);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Member {
    client: Client,
    topic: TopicName,
    group: SubscriberName,
    id: MemberId,
    options: GroupOptions,
    generation: u64,
    is_new: bool,
    turn: u64,
    clock: Clock,
    /// What was given to this member and is not fetched yet.
    assigned: VecDeque<Assigned>,
    /// What is fetched, in order.
    ready: VecDeque<Work>,
    fetched: Fetched,
    /// What the caller has.
    handed_out: BTreeSet<(LogId, u64)>,
    unsettled: Unsettled,
    dead_letters: DeadLetters,
    passed_over: PassedOver,
    counts: GroupCounts,
}

impl Client {
    /// Becomes a member of a group. A group begins with its first member, and stays when its last
    /// one leaves. [`Client::delete_subscription`] deletes it.
    ///
    /// Dropped before it returns, the group may exist already.
    ///
    /// # Errors
    /// When one of these holds:
    ///
    /// - the topic does not exist, or a text is no name;
    /// - the name belongs to a subscription of one reader ([`Refusal::NotAGroup`]);
    /// - the group may be new, and too few replicas answer to be sure ([`Refusal::Away`]);
    /// - no replica can be reached.
    pub async fn member(
        &self,
        topic: impl ToTopicName,
        group: impl ToSubscriberName,
        options: GroupOptions,
    ) -> Result<Member, RequestError> {
        Member::start(self.clone(), named(topic)?, named(group)?, options).await
    }
}

impl Member {
    async fn start(
        client: Client,
        topic: TopicName,
        group: SubscriberName,
        mut options: GroupOptions,
    ) -> Result<Self, RequestError> {
        let dead_letters = DeadLetters::of(&topic, &group)?;
        options.visibility = options.visibility.clamp(VISIBILITY_MIN, VISIBILITY_MAX);
        options.prefetch = options.prefetch.clamp(1, GROUP_RANGES_MAX);
        options.deliveries_max = options.deliveries_max.max(1);
        let kept = client.kept(&topic, &group).await?;
        let generation = match &kept {
            None => 0,
            Some(Subscription { generation, cursor: None, .. }) => generation + 1,
            Some(Subscription { group: None, .. }) => {
                return Err(Refusal::NotAGroup(group.to_string()).into());
            }
            Some(kept) => kept.generation,
        };
        let is_new = kept.is_none_or(|kept| kept.cursor.is_none());
        if is_new {
            let cursor = Some(client.place(&topic, options.start.clone()).await?);
            let shared = Some(Box::default());
            let subscription = Subscription { generation, cursor, group: shared };
            client.commit(&topic, &group, subscription, None).await?;
        }
        Ok(Self {
            client,
            topic,
            group,
            id: MemberId(random_bytes()),
            options,
            generation,
            is_new,
            turn: 1,
            clock: Clock::start(),
            assigned: VecDeque::new(),
            ready: VecDeque::new(),
            fetched: Fetched::default(),
            handed_out: BTreeSet::new(),
            unsettled: Unsettled::default(),
            dead_letters,
            passed_over: PassedOver::default(),
            counts: GroupCounts::default(),
        })
    }

    /// Whether the group began with this member.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// How many records this member was given so far.
    pub fn counts(&self) -> GroupCounts {
        self.counts
    }

    /// Whether the member holds no record to hand out. Then [`next`](Self::next) must ask a node.
    pub fn is_drained(&self) -> bool {
        self.ready.is_empty()
    }

    /// The records that the group skipped since this was called last, as far as this member was
    /// given them. They were trimmed or lost before they were read.
    pub fn take_passed_over(&mut self) -> PassedOver {
        std::mem::take(&mut self.passed_over)
    }

    /// The next record for this member. This waits until there is one, however long that takes. It
    /// also reports to the group what was acknowledged or rejected; [`Member`] says when.
    ///
    /// Cancel-safe: a record is handed out when this returns, and not before.
    ///
    /// # Errors
    /// When 65,536 records wait to be acknowledged, no replica can be reached, or the group was
    /// deleted. In the first two cases the member can be asked again.
    pub async fn next(&mut self) -> Result<Work, NextError> {
        loop {
            if self.unsettled.len() >= SETTLE_AT || self.is_settling_due() {
                self.commit().await?;
            }
            self.drop_overdue();
            let Some(next) = self.ready.front() else {
                if self.assigned.is_empty() {
                    self.take().await?;
                }
                self.fetch().await?;
                continue;
            };
            if let Some(reason) = &next.bury {
                self.dead_letters.publish(&self.client, next, reason).await?;
                self.counts.dead_lettered += 1;
                if let Some(moved) = self.ready.pop_front() {
                    self.unsettled.acknowledge(moved.place());
                }
                continue;
            }
            if self.handed_out.len() >= UNACKNOWLEDGED_MAX {
                return Err(NextError::Unacknowledged(UNACKNOWLEDGED_MAX));
            }
            if let Some(work) = self.ready.pop_front() {
                self.handed_out.insert(work.place());
                self.counts.records += 1;
                self.counts.redelivered += u64::from(work.deliveries > 1);
                return Ok(work);
            }
        }
    }

    /// Says that this member is done with a record. This does not wait: the next
    /// [`commit`](Self::commit) reports it to the group, or a later [`next`](Self::next).
    #[expect(clippy::needless_pass_by_value, reason = "what is acknowledged is done with")]
    pub fn acknowledge(&mut self, work: Work) {
        self.handed_out.remove(&work.place());
        if work.generation == self.generation {
            self.note_unsettled();
            self.unsettled.acknowledge(work.place());
        }
    }

    /// Says that this member failed with a record. This does not wait: the next
    /// [`commit`](Self::commit) reports it to the group, or a later [`next`](Self::next).
    ///
    /// The record is delivered again after `delay`, to any member, and later records of its key
    /// come after it. If the record was delivered too often, it is moved to `TOPIC.dead` instead.
    /// Then the first 512 bytes of the reason go with it.
    #[expect(clippy::needless_pass_by_value, reason = "what is rejected is done with here")]
    pub fn reject(&mut self, work: Work, reason: &str, delay: Duration) {
        self.handed_out.remove(&work.place());
        if work.generation != self.generation {
            return;
        }
        self.note_unsettled();
        // What follows of the key would come before it.
        let key = &work.record.key;
        let unsettled = &mut self.unsettled;
        self.ready.retain(|next| {
            let follows = key.is_some() && next.record.key == *key;
            if follows {
                unsettled.give_back(next.place());
            }
            !follows
        });
        self.unsettled.reject(work.place(), reason, delay);
    }

    /// Asks for the whole of `visibility` again, from now on, for a record that takes long. It also
    /// reports as [`commit`](Self::commit) does. Cancel-safe.
    ///
    /// # Errors
    /// When no replica can be reached. Then the record may go to others when its time is over.
    pub async fn extend(&mut self, work: &Work) -> Result<(), RequestError> {
        self.unsettled.extend(work.place());
        self.commit().await
    }

    /// Reports to the group what was acknowledged and rejected, and waits until replicas have
    /// stored it. Cancel-safe.
    ///
    /// # Errors
    /// When no replica can be reached. The next call reports it again.
    pub async fn commit(&mut self) -> Result<(), RequestError> {
        // What is at hand is not to go to others while this member is there.
        for work in &self.ready {
            self.unsettled.extend(work.place());
        }
        let settle = Settle {
            membership: self.membership(),
            settlement: self.unsettled.settlement(),
            visibility_ms: milliseconds(self.options.visibility),
        };
        let told_at = self.clock.now().elapsed;
        match self.client.ask(ClientRequest::Settle(Box::new(settle))).await? {
            Response::Settled(_) => {
                self.unsettled = Unsettled::default();
                let until = told_at + self.options.visibility;
                self.ready.iter_mut().for_each(|work| work.until = until);
                Ok(())
            }
            _ => Err(RequestError::Mismatch),
        }
    }

    /// Leaves the group. This gives back the records that the member has not acknowledged, so that
    /// others get them at once. It reports what was acknowledged, and returns the counts of all
    /// that the member was given.
    ///
    /// # Errors
    /// When no replica can be reached. Then, as when this is dropped before it returns, others may
    /// get the records only after `visibility`.
    pub async fn leave(mut self) -> Result<GroupCounts, RequestError> {
        let ready = std::mem::take(&mut self.ready);
        let assigned = std::mem::take(&mut self.assigned);
        let handed_out = std::mem::take(&mut self.handed_out);
        for place in handed_out.into_iter().chain(ready.iter().map(Work::place)) {
            self.unsettled.give_back(place);
        }
        for range in assigned.iter().map(|assigned| assigned.assignment.range) {
            for number in range.from..range.to {
                self.unsettled.give_back((range.log, number));
            }
        }
        self.commit().await?;
        Ok(self.counts)
    }

    // --- taking ----------------------------------------------------------------------------

    async fn take(&mut self) -> Result<(), RequestError> {
        let take = Take {
            membership: self.membership(),
            turn: self.turn,
            holding: work::ranges(self.handed_out.iter().copied()),
            settlement: self.unsettled.settlement(),
            records_max: u32::try_from(self.options.prefetch).unwrap_or(u32::MAX),
            bytes_max: TAKEN_BYTES,
            wait_ms: milliseconds(LIVE_WAIT),
            visibility_ms: milliseconds(self.options.visibility),
            deliveries_max: self.options.deliveries_max,
        };
        let timeout = self.client.timeout + LIVE_WAIT;
        let Response::Taken(taken) =
            self.client.ask_within(ClientRequest::Take(Box::new(take)), timeout).await?
        else {
            return Err(RequestError::Mismatch);
        };
        self.turn += 1;
        self.unsettled = Unsettled::default();
        if taken.generation != self.generation {
            // It was reset: what is still at work here is of no interest any more.
            self.generation = taken.generation;
            self.handed_out.clear();
        }
        let until = self.clock.now().elapsed + self.options.visibility;
        let generation = self.generation;
        let assigned = |assignment: Assignment| Assigned { assignment, until, generation };
        self.assigned = taken.assignments.into_iter().map(assigned).collect();
        Ok(())
    }

    /// Reads the records that were given to this member.
    async fn fetch(&mut self) -> Result<(), RequestError> {
        let wanted: Vec<LogRange> = self.assigned.iter().map(|it| it.assignment.range).collect();
        let passed_over = &mut self.passed_over;
        self.fetched.fetch(&self.client, &self.topic, &wanted, passed_over).await?;
        for assigned in std::mem::take(&mut self.assigned) {
            let range = assigned.assignment.range;
            let found = self.fetched.take(&assigned);
            let missing = (range.from..range.to).filter(|number| !found.contains_key(number));
            for number in missing {
                // No node has it any more, or retention let it go.
                self.unsettled.acknowledge((range.log, number));
            }
            self.ready.extend(found.into_values());
        }
        Ok(())
    }

    /// Drops what was taken back by now: somebody else has it.
    fn drop_overdue(&mut self) {
        let now = self.clock.now().elapsed;
        self.ready.retain(|work| now < work.until);
    }

    fn note_unsettled(&mut self) {
        let now = self.clock.now().elapsed;
        self.unsettled.since.get_or_insert(now);
    }

    fn is_settling_due(&self) -> bool {
        let within = SETTLE_WITHIN.min(self.options.visibility / 4);
        let due = |since: Duration| self.clock.now().elapsed.saturating_sub(since) >= within;
        self.unsettled.since.is_some_and(due)
    }

    fn membership(&self) -> Membership {
        Membership {
            topic: self.topic.clone(),
            group: self.group.clone(),
            member: self.id,
            generation: self.generation,
            hops: 0,
        }
    }
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// A position in one log only, whatever batch is before it.
fn at(cursor: &mut Cursor, log: LogId, next: u64) {
    cursor.logs.insert(log, antiphon::model::Position { next, head: None });
}
