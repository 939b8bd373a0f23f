//! `antiphon subscribe`

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use antiphon::{model::TopicName, wire::Refusal};
use antiphon_node::client::{
    Client, Delivered, End, Reader, ReaderOptions, RequestError, Start, Subscriber,
};
use futures::FutureExt;
use serde_json::json;

use super::fetch::{form, reader_options, tell_passed_over};
use crate::{
    arguments::Subscribe,
    clock,
    context::Context,
    exit::{Failure, Status},
    json::RecordPrinter,
    printer::Printer,
    signals::Signals,
};

/// Longest time that a written record waits until a named subscription's position is kept.
const COMMIT_WITHIN: Duration = Duration::from_millis(500);

/// First and longest pause before a lost connection is tried again.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// Prints what is stored of a topic, and then what comes.
pub(super) async fn run(context: &mut Context, arguments: Subscribe) -> anyhow::Result<Status> {
    let mut signals = Signals::listen()?;
    let options = reader_options(&arguments.reading, End::Never)?;
    if arguments.name.is_some() && matches!(options.end, End::Before(_) | End::BeforeLast(_)) {
        let message = "a named subscription would pass over what is left out";
        let hint = "with `--as`, `--to` takes `end` or a cursor";
        return Err(Failure::usage(message).with_hint(hint).into());
    }
    let records = RecordPrinter::new(form(context, &arguments.reading), &arguments.topic);
    let client = context.client().await?;
    let source = tokio::select! {
        source = open(&mut context.printer, &client, &arguments, options) => source?,
        () = signals.next() => return Ok(Status::Done),
    };
    say_subscribed(&mut context.printer, &arguments);
    let mut subscription = Subscription {
        source,
        records,
        printer: &mut context.printer,
        remaining: arguments.reading.count.unwrap_or(u64::MAX),
        uncommitted_since: None,
        heard: clock::instant(),
        idle: arguments.idle,
        pause: None,
    };
    subscription.follow(&mut signals).await?;
    subscription.finish().await?;
    Ok(Status::Done)
}

async fn open(
    printer: &mut Printer,
    client: &Client,
    arguments: &Subscribe,
    options: ReaderOptions,
) -> Result<Source, RequestError> {
    let topic = arguments.topic.clone();
    let Some(name) = arguments.name.clone() else {
        return Ok(Source::Plain(client.reader(topic, options).await?));
    };
    if options.start != Start::Beginning && client.position(&topic, &name).await?.is_some() {
        printer.note(format_args!("`{name}` goes on where it stopped; --from counts once"));
    }
    Ok(Source::Named(client.subscriber(topic, name, options).await?))
}

fn say_subscribed(printer: &mut Printer, arguments: &Subscribe) {
    let topic: &TopicName = &arguments.topic;
    let name = arguments.name.as_ref().map(ToString::to_string);
    let text = match &name {
        Some(name) => format!("subscribed to `{topic}` as `{name}`; Ctrl-C ends"),
        None => format!("subscribed to `{topic}`; Ctrl-C ends"),
    };
    let value = json!({ "status": "subscribed", "topic": topic.as_str(), "subscriber": name });
    printer.status(&value, text);
}

/// Where records come from.
enum Source {
    Plain(Reader),
    Named(Subscriber),
}

impl Source {
    fn reader(&mut self) -> &mut Reader {
        match self {
            Self::Plain(reader) => reader,
            Self::Named(subscriber) => subscriber.reader(),
        }
    }

    /// Keeps the position, where it has a name.
    async fn commit(&mut self) -> Result<(), RequestError> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Named(subscriber) => subscriber.commit().await,
        }
    }
}

/// What a subscription waited for.
enum Event {
    Next(Result<Option<Delivered>, RequestError>),
    Stop,
    Timer,
}

/// A subscription on its way.
struct Subscription<'a> {
    source: Source,
    records: RecordPrinter,
    printer: &'a mut Printer,
    remaining: u64,
    /// When the first record was written whose position is not kept yet.
    uncommitted_since: Option<Instant>,
    /// When the last record came.
    heard: Instant,
    idle: Option<Duration>,
    /// How long to wait before the node is asked again; none while it answers.
    pause: Option<Duration>,
}

impl Subscription<'_> {
    /// Writes records until there were enough, nothing came for too long, or a signal asks to
    /// stop.
    async fn follow(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        while self.remaining > 0 {
            if self.commit_due().is_some_and(|due| due <= clock::instant()) {
                self.commit().await?;
            }
            match self.wait(signals).await? {
                Event::Next(Ok(Some(delivered))) => self.write(&delivered)?,
                Event::Next(Ok(None)) | Event::Stop => break,
                Event::Next(Err(error)) => {
                    self.note_loss(error)?;
                    if !self.rest(signals).await {
                        break;
                    }
                }
                Event::Timer => {}
            }
            if self.idle_end().is_some_and(|end| end <= clock::instant()) {
                break;
            }
        }
        Ok(())
    }

    /// Waits for the next record, a signal or a deadline. What was written is flushed unless a
    /// record is there at once.
    async fn wait(&mut self, signals: &mut Signals) -> anyhow::Result<Event> {
        let deadline = self.commit_due().into_iter().chain(self.idle_end()).min();
        let mut next = pin!(self.source.reader().next());
        if let Some(result) = next.as_mut().now_or_never() {
            return Ok(Event::Next(result));
        }
        self.printer.flush()?;
        Ok(tokio::select! {
            biased;
            () = signals.next() => Event::Stop,
            result = next => Event::Next(result),
            () = clock::sleep_until(deadline) => Event::Timer,
        })
    }

    fn write(&mut self, delivered: &Delivered) -> anyhow::Result<()> {
        if self.pause.take().is_some() {
            self.printer.note("connected again");
        }
        tell_passed_over(self.printer, self.source.reader());
        self.records.print(self.printer, delivered)?;
        self.remaining -= 1;
        self.heard = clock::instant();
        if matches!(self.source, Source::Named(_)) {
            self.uncommitted_since.get_or_insert(self.heard);
        }
        Ok(())
    }

    /// When the position is to be kept at the latest.
    fn commit_due(&self) -> Option<Instant> {
        self.uncommitted_since.map(|since| since + COMMIT_WITHIN)
    }

    /// When the silence will have lasted too long.
    fn idle_end(&self) -> Option<Instant> {
        self.idle.and_then(|idle| self.heard.checked_add(idle))
    }

    /// Keeps the position after the last record, which is written out first: a record may come
    /// twice after a crash, and never not at all.
    async fn commit(&mut self) -> anyhow::Result<()> {
        self.printer.flush()?;
        match self.source.commit().await {
            Ok(()) => self.uncommitted_since = None,
            Err(error) => {
                self.note_loss(error)?;
                self.uncommitted_since = Some(clock::instant());
            }
        }
        Ok(())
    }

    /// Keeps the position for good.
    async fn finish(mut self) -> anyhow::Result<()> {
        self.printer.flush()?;
        // Also where nothing was written: records that are not wanted are passed over.
        if matches!(self.source, Source::Named(_)) {
            let kept = self.source.commit().await.map_err(anyhow::Error::from);
            kept.map_err(|error| error.context("the position was not kept"))?;
        }
        Ok(())
    }

    /// Says that the connection is lost, once; an error if trying again is of no use.
    fn note_loss(&mut self, error: RequestError) -> Result<(), RequestError> {
        let lasting = matches!(
            error,
            RequestError::Refused(
                Refusal::UnknownTopic { .. }
                    | Refusal::TopicExists(_)
                    | Refusal::Invalid(_)
                    | Refusal::NotAWriter(_)
                    | Refusal::Superseded
                    | Refusal::ForeignCursor
                    | Refusal::Unsupported
            )
        );
        if lasting {
            return Err(error);
        }
        if self.pause.is_none() {
            self.printer.note(format_args!("{error}; trying again"));
            self.pause = Some(PAUSE_FIRST);
        }
        Ok(())
    }

    /// Pauses before the node is asked again, each time longer; false when a signal came.
    async fn rest(&mut self, signals: &mut Signals) -> bool {
        let pause = self.pause.unwrap_or(PAUSE_FIRST);
        self.pause = Some((pause * 2).min(PAUSE_LONGEST));
        let until = clock::instant().checked_add(pause);
        let until = until.into_iter().chain(self.idle_end()).min();
        tokio::select! {
            () = clock::sleep_until(until) => true,
            () = signals.next() => false,
        }
    }
}
