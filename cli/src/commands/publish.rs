//! `antiphon publish`

mod following;
mod input;
mod lost;
mod tally;

use std::{collections::VecDeque, time::Duration};

use antiphon::{
    limits::RECORD_BYTES_MAX,
    model::{Record, RecordError, RecordId, TopicName},
};
use antiphon_node::client::{Delivery, PublishError, PublishOptions, Publisher, Receipt};
use bytes::Bytes;
use futures::FutureExt;
use indicatif::ProgressBar;

use self::{
    following::{Followed, Following},
    input::Item,
    lost::{Fate, Unit},
    tally::{Stored, Tally},
};
use super::counted;
use crate::{
    arguments::{Patience, Publish},
    clock,
    context::Context,
    exit::{Failure, Status},
    printer::{Printer, unless_closed},
    signals::Signals,
};

/// Time for records that are under way to be answered when a signal ends the publish.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Publishes the arguments, a file, or the lines of standard input.
pub(super) async fn run(context: &mut Context, arguments: Publish) -> anyhow::Result<Status> {
    check_id(&arguments)?;
    let file = match &arguments.file {
        Some(path) => Some(input::file(path)?),
        None => None,
    };
    let client = context.client().await?;
    let options = PublishOptions::new()
        .acks(arguments.acks.into())
        .timeout(context.options.timeout)
        .outbox_at_once(arguments.wait.is_some())
        .stop_at_failure(true);
    let from_lines = arguments.messages.is_empty() && file.is_none();
    let mut publishing = Publishing {
        publisher: client.publisher(arguments.topic.clone(), options),
        template: Record {
            key: arguments.key.map(Bytes::from),
            headers: arguments.headers,
            ..Record::default()
        },
        pending: VecDeque::new(),
        tally: Tally::new(
            &arguments.topic,
            if from_lines { Unit::Line } else { Unit::Message },
            arguments.id.is_some() || arguments.id_from.is_some(),
        ),
        id: arguments.id,
        id_from: arguments.id_from,
        key_from: arguments.key_from,
        following: arguments.wait.is_some().then(Following::default),
        receipts: arguments.receipts || (!from_lines && !context.printer.is_silent()),
        names_lost: arguments.receipts,
        progress: if from_lines && !input::is_typed() {
            context.printer.progress()
        } else {
            ProgressBar::hidden()
        },
        printer: &mut context.printer,
    };
    let messages = arguments.messages.into_iter().map(Bytes::from).chain(file);
    let result = publishing.run(messages, from_lines).await;
    publishing.progress.finish_and_clear();
    let deadline = arguments.wait.and_then(Patience::deadline);
    let result = match publishing.following.take().filter(|following| following.count() > 0) {
        Some(following) => {
            let followed = following.run(deadline, &mut *publishing.printer).await?;
            publishing.note_followed(followed).and(result).map(|status| publishing.status(status))
        }
        None => result,
    };
    let (receipts, tally) = (publishing.receipts, publishing.tally);
    let status = match result {
        Ok(status) => status,
        Err(error) => {
            let printer = &mut context.printer;
            if from_lines && !receipts && printer.is_json() && tally.is_worth_a_summary() {
                unless_closed(printer.object(&tally.summary()))?;
            }
            return Err(tally.explain(error));
        }
    };
    if tally.count() == 0 {
        // With nothing to publish the topic has not been looked for yet.
        client.survey(&arguments.topic).await?;
    }
    conclude(&mut context.printer, &tally, receipts && from_lines, from_lines)?;
    Ok(status)
}

/// An id is one record's.
fn check_id(arguments: &Publish) -> anyhow::Result<()> {
    let records = arguments.messages.len() + usize::from(arguments.file.is_some());
    if arguments.id.is_none() || records == 1 {
        return Ok(());
    }
    let message = match records {
        0 => "`--id` names one record, and each line of standard input is a record".to_owned(),
        more => format!("`--id` names one record, and these are {more}"),
    };
    let hint = "publish each record with its own command, or lines of JSON with `--id-from FIELD`";
    Err(Failure::usage(message).with_hint(hint).into())
}

fn conclude(
    printer: &mut Printer,
    tally: &Tally,
    receipts: bool,
    from_lines: bool,
) -> anyhow::Result<()> {
    if receipts {
        printer.note(tally.summary_text());
    } else if from_lines {
        unless_closed(printer.result(&tally.summary(), tally.summary_text()))?;
    }
    if let Some(hint) = tally.pending_hint() {
        printer.warning("not enough copies in time", &hint);
    }
    Ok(unless_closed(printer.flush())?)
}

/// A publish on its way.
struct Publishing<'a> {
    publisher: Publisher,
    /// Key and headers, which all records share.
    template: Record,
    /// What the record is published under, where it is one.
    id: Option<String>,
    /// The field that has the id of each record.
    id_from: Option<String>,
    /// The field that has the key of each record.
    key_from: Option<String>,
    /// Records under way, in order.
    pending: VecDeque<Sent>,
    tally: Tally,
    /// What is pending, with `--wait`.
    following: Option<Following>,
    /// Whether each record gets a line of output.
    receipts: bool,
    /// Whether those that are not stored get one, too.
    names_lost: bool,
    progress: ProgressBar,
    printer: &'a mut Printer,
}

/// A record under way, and its number in the input.
struct Sent {
    number: u64,
    delivery: Delivery,
}

impl Publishing<'_> {
    /// Publishes all of it, or what there is before a signal comes.
    async fn run(
        &mut self,
        messages: impl Iterator<Item = Bytes>,
        from_lines: bool,
    ) -> anyhow::Result<Status> {
        let mut signals = Signals::listen()?;
        let published =
            async { if from_lines { self.lines().await } else { self.messages(messages).await } };
        let caught = tokio::select! {
            result = published => return result,
            caught = signals.caught() => caught,
        };
        self.settle_soon(&mut signals).await?;
        Err(self.tally.interrupted(caught))
    }

    async fn messages(&mut self, messages: impl Iterator<Item = Bytes>) -> anyhow::Result<Status> {
        let error = self.send_messages(messages).await.err();
        self.settle(error).await
    }

    async fn send_messages(&mut self, messages: impl Iterator<Item = Bytes>) -> anyhow::Result<()> {
        for (number, message) in (1_u64..).zip(messages) {
            let id = self.id.clone();
            let published = self.publish(number, message, id, None).await;
            published.map_err(|error| unpublished(error, Unit::Message, number))?;
        }
        Ok(())
    }

    async fn lines(&mut self) -> anyhow::Result<Status> {
        input::say_how_to_end(self.printer);
        let error = self.send_lines().await.err();
        self.settle(error).await
    }

    async fn send_lines(&mut self) -> anyhow::Result<()> {
        let mut lines = input::lines();
        let mut number = 0;
        loop {
            tokio::select! {
                biased;
                (number, id, outcome) = front(&mut self.pending) => self.note(number, id, outcome)?,
                chunk = lines.recv() => {
                    let Some(items) = chunk.transpose()? else { return Ok(()) };
                    for item in items {
                        number += 1;
                        self.send_line(item, number).await?;
                    }
                }
            }
            self.note_ready()?;
        }
    }

    async fn send_line(&mut self, item: Item, number: u64) -> anyhow::Result<()> {
        let published = match item {
            Item::Line(line) => {
                let line = if number == 1 { input::without_mark(line, self.printer) } else { line };
                let id = field_of(&line, self.id_from.as_deref(), "--id-from", number)?;
                let key = field_of(&line, self.key_from.as_deref(), "--key-from", number)?;
                self.publish(number, line, id, key.map(Bytes::from)).await
            }
            Item::TooLong(size) => Err(RecordError::TooLarge { size }.into()),
        };
        published.map_err(|error| unpublished(error, Unit::Line, number))
    }

    async fn publish(
        &mut self,
        number: u64,
        payload: Bytes,
        id: Option<String>,
        key: Option<Bytes>,
    ) -> Result<(), PublishError> {
        let template = self.template.clone();
        let key = key.or(template.key);
        let record = Record { time: Some(clock::now()), payload, key, id, ..template };
        let delivery = self.publisher.publish(record).await?;
        self.pending.push_back(Sent { number, delivery });
        Ok(())
    }

    /// Records the outcomes that are known without waiting.
    fn note_ready(&mut self) -> anyhow::Result<()> {
        while let Some((number, id, outcome)) = front(&mut self.pending).now_or_never() {
            self.note(number, id, outcome)?;
        }
        Ok(unless_closed(self.printer.flush())?)
    }

    /// Waits for all that is under way. The first error is the one that counts; what was sent
    /// before it stays published.
    async fn settle(&mut self, mut first_error: Option<anyhow::Error>) -> anyhow::Result<Status> {
        // That the publisher has stopped follows from an error that is to come yet.
        let follows =
            |error: &anyhow::Error| matches!(error.downcast_ref(), Some(PublishError::Stopped));
        while !self.pending.is_empty() {
            let (number, id, outcome) = front(&mut self.pending).await;
            if let Err(error) = self.note(number, id, outcome)
                && first_error.as_ref().is_none_or(follows)
            {
                first_error = Some(error);
            }
        }
        unless_closed(self.printer.flush())?;
        match first_error {
            Some(error) => Err(error),
            None => Ok(self.status(Status::Done)),
        }
    }

    /// Waits a moment for all that is under way, or until one more signal comes. The rest is not
    /// known.
    async fn settle_soon(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let until = clock::instant().checked_add(LAST_ANSWERS);
        tokio::select! {
            // Its error is told by the records that it is about.
            _ = self.settle(None) => {}
            () = clock::sleep_until(until) => {}
            _ = signals.caught() => {}
        }
        for Sent { number, delivery } in std::mem::take(&mut self.pending) {
            self.lose(number, delivery.id(), Fate::Unknown)?;
        }
        if let Some(following) = self.following.take() {
            self.note_followed(following.give_up())?;
        }
        Ok(unless_closed(self.printer.flush())?)
    }

    /// The status of a publish that would have this one if nothing were pending.
    fn status(&self, status: Status) -> Status {
        if self.tally.pending() > 0 { Status::Pending } else { status }
    }

    /// Records what became of records that were pending.
    fn note_followed(&mut self, followed: Vec<Followed>) -> anyhow::Result<()> {
        followed.into_iter().flat_map(Followed::records).try_for_each(|it| self.note_stored(it))?;
        Ok(unless_closed(self.printer.flush())?)
    }

    fn note(&mut self, number: u64, id: RecordId, outcome: Outcome) -> anyhow::Result<()> {
        match outcome {
            Ok(receipt) => self.note_stored(receipt.into()),
            Err(PublishError::Pending(pending)) => {
                let following = self.following.as_mut();
                let left = match following {
                    Some(following) => following.take(pending),
                    None => Some(pending),
                };
                left.map_or(Ok(()), |pending| self.note_stored((&pending).into()))
            }
            Err(error) => {
                self.lose(number, id, Fate::of(&error))?;
                Err(error.into())
            }
        }
    }

    /// Counts a record that was not acknowledged, and names it where receipts were asked for.
    fn lose(&mut self, number: u64, id: RecordId, fate: Fate) -> anyhow::Result<()> {
        let (value, text) = self.tally.lose(number, id, fate);
        if self.names_lost || (self.receipts && fate == Fate::Unknown) {
            unless_closed(self.printer.data(&value, text))?;
        }
        Ok(())
    }

    fn note_stored(&mut self, stored: Stored) -> anyhow::Result<()> {
        self.tally.add(stored);
        self.progress.set_position(self.tally.acknowledged());
        if self.receipts {
            // The records go on their way whether or not somebody reads the receipts.
            let (value, text) = self.tally.receipt(stored);
            unless_closed(self.printer.data(&value, text))?;
        }
        Ok(())
    }
}

/// What a line has in a field, where one is named.
fn field_of(
    line: &Bytes,
    field: Option<&str>,
    option: &str,
    number: u64,
) -> Result<Option<String>, Failure> {
    field.map(|field| input::field_of(line, field, option, number)).transpose()
}

type Outcome = Result<Receipt, PublishError>;

/// The number, the name and the outcome of the first record under way; waits for ever when there is
/// none. Cancel-safe.
async fn front(pending: &mut VecDeque<Sent>) -> (u64, RecordId, Outcome) {
    let Some(Sent { number, delivery }) = pending.front_mut() else {
        return std::future::pending().await;
    };
    let (number, id) = (*number, delivery.id());
    let outcome = delivery.await;
    pending.pop_front();
    (number, id, outcome)
}

/// Says which record was not published.
fn unpublished(error: PublishError, unit: Unit, number: u64) -> anyhow::Error {
    let what = unit.name();
    let text = match &error {
        // Because of a record before, which has the error.
        PublishError::Stopped => return error.into(),
        PublishError::Record(RecordError::TooLarge { size }) => {
            format!("{what} {number} has {size} bytes, more than the limit of {RECORD_BYTES_MAX}")
        }
        other => format!("{what} {number}: {other}"),
    };
    let failure = Failure::failed(text);
    match crate::hints::hint("antiphon publish", &error.into()) {
        Some(hint) => failure.with_hint(hint).into(),
        None => failure.into(),
    }
}

/// The topic's name for messages.
fn named(topic: &TopicName) -> String {
    format!("`{topic}`")
}

/// Records and their number for messages.
fn records(count: u64) -> String {
    counted(count, "record")
}
