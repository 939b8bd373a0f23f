//! `antiphon publish`

mod following;
mod input;
mod tally;

use std::{collections::VecDeque, time::Duration};

use antiphon::{
    limits::RECORD_BYTES_MAX,
    model::{Record, RecordError, TopicName},
};
use antiphon_node::client::{Delivery, PublishError, PublishOptions, Publisher, Receipt};
use bytes::Bytes;
use futures::FutureExt;
use indicatif::ProgressBar;

use self::{
    following::{Followed, Following},
    input::Item,
    tally::Tally,
};
use super::counted;
use crate::{
    arguments::{Patience, Publish},
    clock,
    context::Context,
    exit::{Failure, Status},
    printer::{Printer, unless_closed},
};

/// Time for the copies of a publish whose records are followed anyway.
const BEFORE_PENDING: Duration = Duration::from_secs(1);

/// Publishes the arguments, a file, or the lines of standard input.
pub(super) async fn run(context: &mut Context, arguments: Publish) -> anyhow::Result<Status> {
    check_id(&arguments)?;
    let file = match &arguments.file {
        Some(path) => Some(input::file(path)?),
        None => None,
    };
    let client = context.client().await?;
    let mut options = PublishOptions {
        acks: arguments.acks.into(),
        timeout: context.options.timeout,
        outbox_at_once: arguments.wait.is_some(),
        ..PublishOptions::default()
    };
    if options.outbox_at_once {
        options.timeout = options.timeout.min(BEFORE_PENDING);
    }
    let acks = options.acks;
    let from_lines = arguments.messages.is_empty() && file.is_none();
    let mut publishing = Publishing {
        publisher: client.publisher(arguments.topic.clone(), options),
        template: Record {
            key: arguments.key.map(Bytes::from),
            headers: arguments.headers,
            ..Record::default()
        },
        pending: VecDeque::new(),
        tally: Tally::new(&arguments.topic, arguments.id.is_some() || arguments.id_from.is_some()),
        id: arguments.id,
        id_from: arguments.id_from,
        key_from: arguments.key_from,
        following: arguments.wait.is_some().then(Following::default),
        receipts: !from_lines || arguments.receipts,
        progress: if from_lines && !input::is_typed() {
            context.printer.progress()
        } else {
            ProgressBar::hidden()
        },
        printer: &mut context.printer,
    };
    let result = if from_lines {
        publishing.lines().await
    } else {
        publishing.messages(arguments.messages.into_iter().map(Bytes::from).chain(file)).await
    };
    publishing.progress.finish_and_clear();
    let deadline = arguments.wait.and_then(Patience::deadline);
    let result = match publishing.following.take().filter(|following| following.count() > 0) {
        Some(following) => {
            let topic = &arguments.topic;
            let printer = &mut *publishing.printer;
            let followed = following.run(&client, topic, acks, deadline, printer).await?;
            publishing.note_followed(followed).and(result).map(|status| publishing.status(status))
        }
        None => result,
    };
    let (receipts, tally) = (publishing.receipts, publishing.tally);
    let status = result.map_err(|error| tally.explain(error))?;
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
        0 => "`--id` is for one record, and each line of standard input is one".to_owned(),
        more => format!("`--id` is for one record, and these are {more}"),
    };
    let hint =
        "publish each record by a command of its own, or lines of JSON with `--id-from FIELD`";
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
        unless_closed(printer.data(&tally.summary(), tally.summary_text()))?;
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
    pending: VecDeque<Delivery>,
    tally: Tally,
    /// What is pending, where that is to be followed.
    following: Option<Following>,
    /// Whether each record gets a line of output.
    receipts: bool,
    progress: ProgressBar,
    printer: &'a mut Printer,
}

impl Publishing<'_> {
    async fn messages(&mut self, messages: impl Iterator<Item = Bytes>) -> anyhow::Result<Status> {
        let error = self.send_messages(messages).await.err();
        self.settle(error).await
    }

    async fn send_messages(&mut self, messages: impl Iterator<Item = Bytes>) -> anyhow::Result<()> {
        for (number, message) in (1_u64..).zip(messages) {
            let id = self.id.clone();
            let published = self.publish(message, id, None).await;
            published.map_err(|error| unpublished(error, "message", number))?;
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
                outcome = front(&mut self.pending) => self.note(outcome)?,
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
                let id = field_of(&line, self.id_from.as_deref(), "--id-from", number)?;
                let key = field_of(&line, self.key_from.as_deref(), "--key-from", number)?;
                self.publish(line, id, key.map(Bytes::from)).await
            }
            Item::TooLong(size) => Err(RecordError::TooLarge { size }.into()),
        };
        published.map_err(|error| unpublished(error, "line", number))
    }

    async fn publish(
        &mut self,
        payload: Bytes,
        id: Option<String>,
        key: Option<Bytes>,
    ) -> Result<(), PublishError> {
        let template = self.template.clone();
        let key = key.or(template.key);
        let record = Record { time: clock::now(), payload, key, ..template };
        let delivery = match id {
            Some(id) => self.publisher.publish_with_id(&record, &id).await?,
            None => self.publisher.publish(&record).await?,
        };
        self.pending.push_back(delivery);
        Ok(())
    }

    /// Takes note of what is known without waiting.
    fn note_ready(&mut self) -> anyhow::Result<()> {
        while let Some(delivery) = self.pending.front_mut() {
            let Some(outcome) = delivery.now_or_never() else {
                break;
            };
            self.pending.pop_front();
            self.note(outcome)?;
        }
        Ok(unless_closed(self.printer.flush())?)
    }

    /// Waits for all that is under way. The first error is the one that counts; what was sent
    /// before it stays published.
    async fn settle(&mut self, mut first_error: Option<anyhow::Error>) -> anyhow::Result<Status> {
        while !self.pending.is_empty() {
            let outcome = front(&mut self.pending).await;
            if let Err(error) = self.note(outcome) {
                first_error.get_or_insert(error);
            }
        }
        unless_closed(self.printer.flush())?;
        match first_error {
            Some(error) => Err(error),
            None => Ok(self.status(Status::Done)),
        }
    }

    /// The status of a publish that would have this one if nothing were pending.
    fn status(&self, status: Status) -> Status {
        if self.tally.pending() > 0 { Status::Pending } else { status }
    }

    /// Takes note of what became of records that were pending.
    fn note_followed(&mut self, followed: Vec<Followed>) -> anyhow::Result<()> {
        for Followed { ids, published } in followed {
            ids.into_iter().try_for_each(|id| self.note_receipt(Receipt { id, published }))?;
        }
        Ok(unless_closed(self.printer.flush())?)
    }

    fn note(&mut self, outcome: Outcome) -> anyhow::Result<()> {
        let receipt = outcome.inspect_err(|_| self.tally.fail())?;
        let following = self.following.as_mut();
        match following.map_or(Some(receipt), |following| following.take(receipt)) {
            Some(receipt) => self.note_receipt(receipt),
            None => Ok(()),
        }
    }

    fn note_receipt(&mut self, receipt: Receipt) -> anyhow::Result<()> {
        self.tally.add(receipt);
        self.progress.set_position(self.tally.acknowledged());
        if self.receipts {
            // The records go on their way whether or not somebody reads the receipts.
            let (value, text) = self.tally.receipt(receipt);
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

/// The outcome of the first record under way; waits for ever when there is none. Cancel-safe.
async fn front(pending: &mut VecDeque<Delivery>) -> Outcome {
    let Some(delivery) = pending.front_mut() else {
        return std::future::pending().await;
    };
    let outcome = delivery.await;
    pending.pop_front();
    outcome
}

/// Says which record was not published.
fn unpublished(error: PublishError, what: &str, number: u64) -> anyhow::Error {
    let text = match &error {
        PublishError::Record(RecordError::TooLarge { size }) => {
            format!("{what} {number} has {size} bytes, more than the limit of {RECORD_BYTES_MAX}")
        }
        other => format!("{what} {number}: {other}"),
    };
    let failure = Failure::failed(text);
    match crate::hints::hint(&error.into()) {
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
