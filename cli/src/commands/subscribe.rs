//! `antiphon subscribe`

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use antiphon::{model::TopicName, wire::Refusal};
use antiphon_node::client::{
    Client, Delivered, End, PassedOver, PatternReader, Reader, ReaderOptions, RequestError, Start,
    Subscriber,
};
use futures::FutureExt;
use serde_json::json;

use super::{
    counted,
    fetch::{form, reader_options, tell_passed_over},
};
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

/// Prints what is stored of a topic, or of all that match, and then what comes.
pub(super) async fn run(context: &mut Context, arguments: Subscribe) -> anyhow::Result<Status> {
    let mut signals = Signals::listen()?;
    let topic = arguments.topic.to_name();
    if topic.is_none() && arguments.name.is_some() {
        let message = "a named subscription is of one topic, and a pattern stands for several";
        let hint =
            "leave out `--as`, or name one of the topics that `antiphon topics PATTERN` lists";
        return Err(Failure::usage(message).with_hint(hint).into());
    }
    let options = reader_options(topic.is_some(), &arguments.reading, End::Never)?;
    if arguments.name.is_some() && matches!(options.end, End::Before(_) | End::BeforeLast(_)) {
        let message = "a named subscription would pass over what is left out";
        let hint = "with `--as`, `--to` takes `end` or a cursor";
        return Err(Failure::usage(message).with_hint(hint).into());
    }
    let records = RecordPrinter::new(form(context, &arguments.reading));
    let client = context.client().await?;
    let source = tokio::select! {
        source = open(&mut context.printer, &client, topic, &arguments, options) => source?,
        () = signals.next() => return Ok(Status::Done),
    };
    say_subscribed(&mut context.printer, &arguments, &source);
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
    topic: Option<TopicName>,
    arguments: &Subscribe,
    options: ReaderOptions,
) -> Result<Source, RequestError> {
    let Some(topic) = topic else {
        let reader = client.pattern_reader(arguments.topic.clone(), options).await?;
        return Ok(Source::Pattern(reader));
    };
    let Some(name) = arguments.name.clone() else {
        let reader = client.reader(topic.clone(), options).await?;
        return Ok(Source::Plain(topic, reader));
    };
    if options.start != Start::Beginning && client.position(&topic, &name).await?.is_some() {
        printer.note(format_args!("`{name}` goes on where it stopped; --from counts once"));
    }
    let subscriber = client.subscriber(topic.clone(), name, options).await?;
    Ok(Source::Named(topic, subscriber))
}

fn say_subscribed(printer: &mut Printer, arguments: &Subscribe, source: &Source) {
    let topic = &arguments.topic;
    if let Source::Pattern(reader) = source {
        let count = reader.topics();
        let text = match count {
            0 => format!("subscribed to `{topic}`, which no topic matches yet; Ctrl-C ends"),
            _ => {
                format!("subscribed to `{topic}`, {}; Ctrl-C ends", counted(count as u64, "topic"))
            }
        };
        let value = json!({ "status": "subscribed", "pattern": topic.as_str(), "topics": count });
        return printer.status(&value, text);
    }
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
    Plain(TopicName, Reader),
    Named(TopicName, Subscriber),
    Pattern(PatternReader),
}

impl Source {
    /// The next record, and its topic.
    async fn next(&mut self) -> Result<Option<(TopicName, Delivered)>, RequestError> {
        let (topic, next) = match self {
            Self::Plain(topic, reader) => (topic, reader.next().await),
            Self::Named(topic, subscriber) => (topic, subscriber.reader().next().await),
            Self::Pattern(reader) => return reader.next().await,
        };
        next.map(|next| next.map(|delivered| (topic.clone(), delivered)))
    }

    /// What was passed over since this was last asked.
    fn take_passed_over(&mut self) -> PassedOver {
        match self {
            Self::Plain(_, reader) => reader.take_passed_over(),
            Self::Named(_, subscriber) => subscriber.reader().take_passed_over(),
            Self::Pattern(reader) => reader.take_passed_over(),
        }
    }

    /// Keeps the position, where it has a name.
    async fn commit(&mut self) -> Result<(), RequestError> {
        match self {
            Self::Plain(..) | Self::Pattern(_) => Ok(()),
            Self::Named(_, subscriber) => subscriber.commit().await,
        }
    }
}

/// What a subscription waited for.
enum Event {
    Next(Result<Option<(TopicName, Delivered)>, RequestError>),
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
                Event::Next(Ok(Some((topic, delivered)))) => self.write(&topic, &delivered)?,
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
        let mut next = pin!(self.source.next());
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

    fn write(&mut self, topic: &TopicName, delivered: &Delivered) -> anyhow::Result<()> {
        if self.pause.take().is_some() {
            self.printer.note("connected again");
        }
        tell_passed_over(self.printer, &self.source.take_passed_over());
        self.records.print(self.printer, topic, delivered)?;
        self.remaining -= 1;
        self.heard = clock::instant();
        if matches!(self.source, Source::Named(..)) {
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
        if matches!(self.source, Source::Named(..)) {
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
