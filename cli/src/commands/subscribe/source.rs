//! Where a subscription's records come from.

use antiphon::model::{Cursor, SubscriberName, TopicName};
use antiphon_node::client::{
    Client, Delivered, GroupCounts, GroupOptions, Member, NextError, PassedOver, PatternReader,
    Reader, ReaderOptions, RequestError, Start, Subscriber, Work,
};

use super::super::subscriptions::records_between;
use crate::{arguments::Subscribe, printer::Printer};

/// Records that a member of a group takes at a time, where more are wanted.
const PREFETCH: usize = 256;

/// Where records come from.
pub(super) enum Source {
    Plain(TopicName, Box<Reader>),
    Named(TopicName, Box<Subscriber>),
    Pattern(Box<PatternReader>),
    Group(Box<Shared>),
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody has read under the name before.
    New,
    /// Somebody has, and this many records are stored after that.
    Behind(u64),
}

/// A member of a group.
pub(super) struct Shared {
    pub(super) topic: TopicName,
    member: Member,
    /// Records that are printed, and perhaps not written out yet.
    printed: Vec<Work>,
}

/// A record, and in a group the number of this delivery.
pub(super) struct Next {
    pub(super) topic: TopicName,
    pub(super) delivered: Delivered,
    pub(super) deliveries: Option<u32>,
}

impl Source {
    pub(super) async fn open(
        printer: &mut Printer,
        client: &Client,
        topic: Option<TopicName>,
        arguments: &Subscribe,
        options: ReaderOptions,
    ) -> Result<Self, RequestError> {
        let Some(topic) = topic else {
            let reader = client.pattern_reader(arguments.topic.clone(), options).await?;
            return Ok(Self::Pattern(Box::new(reader)));
        };
        if let Some(group) = arguments.group.clone() {
            return Self::join(printer, client, topic, group, arguments, options.start).await;
        }
        let Some(name) = arguments.name.clone() else {
            let reader = client.reader(topic.clone(), options).await?;
            return Ok(Self::Plain(topic, Box::new(reader)));
        };
        if options.start != Start::Beginning && client.position(&topic, &name).await?.is_some() {
            printer.note(format_args!(
                "`{name}` resumes where it stopped; `--from` applies to new names only"
            ));
        }
        let subscriber = client.subscriber(topic.clone(), name, options).await?;
        Ok(Self::Named(topic, Box::new(subscriber)))
    }

    async fn join(
        printer: &mut Printer,
        client: &Client,
        topic: TopicName,
        group: SubscriberName,
        arguments: &Subscribe,
        start: Start,
    ) -> Result<Self, RequestError> {
        let count = arguments.reading.count.unwrap_or(u64::MAX);
        let starts = start != Start::Beginning;
        let options = GroupOptions::new()
            .start(start)
            .visibility(arguments.visibility)
            .deliveries_max(arguments.deliveries_max)
            .prefetch(usize::try_from(count).unwrap_or(usize::MAX).min(PREFETCH));
        let member = client.member(topic.clone(), group.clone(), options).await?;
        if starts && !member.is_new() {
            printer.note(format_args!(
                "group `{group}` resumes where it is; `--from` applies to new groups only"
            ));
        }
        Ok(Self::Group(Box::new(Shared { topic, member, printed: Vec::new() })))
    }

    /// Where a subscription begins that is kept under a name; of a group that is there it is not
    /// known, as its members may have done anything.
    pub(super) fn standing(&mut self, is_new: bool) -> Option<Standing> {
        match self {
            Self::Named(..) if is_new => Some(Standing::New),
            Self::Named(_, subscriber) => {
                let reader = subscriber.reader();
                Some(Standing::Behind(records_between(reader.cursor(), reader.surveyed())))
            }
            Self::Group(shared) => shared.member.is_new().then_some(Standing::New),
            Self::Plain(..) | Self::Pattern(_) => None,
        }
    }

    /// The next record.
    pub(super) async fn next(&mut self) -> Result<Option<Next>, NextError> {
        let (topic, next) = match self {
            Self::Plain(topic, reader) => (&*topic, reader.try_next().await?),
            Self::Named(topic, subscriber) => (&*topic, subscriber.reader().try_next().await?),
            Self::Pattern(reader) => {
                let next = reader.try_next().await?;
                return Ok(next.map(|(topic, delivered)| Next {
                    topic,
                    delivered,
                    deliveries: None,
                }));
            }
            Self::Group(shared) => {
                let work = shared.member.next().await?;
                let delivered = work.delivered.clone();
                let deliveries = Some(work.deliveries);
                shared.printed.push(work);
                return Ok(Some(Next { topic: shared.topic.clone(), delivered, deliveries }));
            }
        };
        Ok(next.map(|delivered| Next { topic: topic.clone(), delivered, deliveries: None }))
    }

    /// The place behind the last record, where there is one place.
    pub(super) fn cursor(&mut self) -> Option<&Cursor> {
        match self {
            Self::Plain(_, reader) => Some(reader.cursor()),
            Self::Named(_, subscriber) => Some(subscriber.reader().cursor()),
            Self::Pattern(_) | Self::Group(_) => None,
        }
    }

    /// What was passed over since this was last asked.
    pub(super) fn take_passed_over(&mut self) -> PassedOver {
        match self {
            Self::Plain(_, reader) => reader.take_passed_over(),
            Self::Named(_, subscriber) => subscriber.reader().take_passed_over(),
            Self::Pattern(reader) => reader.take_passed_over(),
            Self::Group(shared) => shared.member.take_passed_over(),
        }
    }

    /// Whether what was consumed is kept under a name.
    pub(super) fn is_durable(&self) -> bool {
        matches!(self, Self::Named(..) | Self::Group(_))
    }

    /// Whether the group must be asked for the next record: it is told then what was written out.
    pub(super) fn is_drained(&self) -> bool {
        matches!(self, Self::Group(shared) if shared.member.is_drained())
    }

    /// All that was printed is written out.
    pub(super) fn written_out(&mut self) {
        if let Self::Group(shared) = self {
            for work in shared.printed.drain(..) {
                shared.member.acknowledge(work);
            }
        }
    }

    /// Keeps what was consumed, where that has a name.
    pub(super) async fn commit(&mut self) -> Result<(), RequestError> {
        match self {
            Self::Plain(..) | Self::Pattern(_) => Ok(()),
            Self::Named(_, subscriber) => subscriber.commit().await,
            Self::Group(shared) => shared.member.commit().await,
        }
    }

    /// Whether another subscriber reads under the same name.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Named(_, subscriber) if subscriber.is_shared())
    }

    /// Ends: commits what was consumed. Returns what a member of a group was given in all.
    pub(super) async fn finish(self) -> Result<Option<GroupCounts>, RequestError> {
        match self {
            Self::Plain(..) | Self::Pattern(_) => Ok(None),
            // Also where nothing was written: records that are not wanted are passed over.
            Self::Named(_, mut subscriber) => subscriber.commit().await.map(|()| None),
            Self::Group(shared) => shared.member.leave().await.map(Some),
        }
    }
}
