//! `antiphon subscribe`

mod source;

use std::{
    fmt::Write,
    pin::pin,
    time::{Duration, Instant},
};

use antiphon::model::{SubscriberName, TopicName};
use antiphon_node::client::{
    Client, End, GroupCounts, LinkError, NextError, Refusal, RequestError,
};
use futures::FutureExt;
use serde_json::json;

use self::source::{Next, Source, Standing};
use super::{
    counted,
    fetch::{form, reader_options, tell_passed_over, writer},
};
use crate::{
    arguments::Subscribe,
    clock,
    context::Context,
    exit::{Failure, Status},
    json::RecordPrinter,
    output_watch::OutputWatch,
    place::Place,
    printer::{OutputError, Printer},
    signals::Signals,
};

/// Longest time that a written record waits until a named subscription's position is kept.
const COMMIT_WITHIN: Duration = Duration::from_millis(500);

/// How often it is said that another subscriber reads under the name.
const SHARED_SAID_EVERY: Duration = Duration::from_mins(1);

/// First and longest pause before a lost connection is tried again.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// Prints what is stored of a topic, or of all that match, and then what comes.
pub(super) async fn run(context: &mut Context, arguments: Subscribe) -> anyhow::Result<Status> {
    let mut signals = Signals::listen()?;
    let topic = arguments.topic.to_name();
    check(topic.as_ref(), &arguments)?;
    let mut options = reader_options(topic.is_some(), &arguments.reading, End::Never)?;
    if arguments.name.is_some() && matches!(options.end, End::Before(_) | End::BeforeLast(_)) {
        let message =
            "`--as` cannot be combined with this `--to`: skipped records would count as read";
        let hint = "with `--as`, `--to` is `end` or a cursor";
        return Err(Failure::usage(message).with_hint(hint).into());
    }
    let form = form(context, &arguments.reading)?;
    if form.has_cursor() && (topic.is_none() || arguments.group.is_some()) {
        let message = "`--cursor` and `%c` need one topic and one reader";
        let hint = "leave them out, or name one topic and no group";
        return Err(Failure::usage(message).with_hint(hint).into());
    }
    let records = RecordPrinter::new(form);
    let watch = OutputWatch::start();
    let client = context.client().await?;
    options.writer = writer(&client, topic.as_ref(), &arguments.reading).await?;
    let opening = async {
        let is_new = is_new(&client, topic.as_ref(), &arguments).await?;
        let printer = &mut context.printer;
        let source = Source::open(printer, &client, topic, &arguments, options).await?;
        Ok::<_, RequestError>((is_new, source))
    };
    let (is_new, mut source) = tokio::select! {
        opened = opening => opened?,
        () = signals.next() => return Ok(Status::Done),
        () = watch.closed() => return Err(OutputError::Closed.into()),
    };
    let standing = source.standing(is_new);
    say_subscribed(&mut context.printer, &arguments, &source, standing);
    let mut subscription = Subscription {
        source,
        records,
        watch,
        printer: &mut context.printer,
        remaining: arguments.reading.count.unwrap_or(u64::MAX),
        uncommitted_since: None,
        heard: clock::instant(),
        idle: arguments.idle,
        shared_said_again: None,
        pause: None,
        has_said_so: false,
    };
    subscription.follow(&mut signals).await?;
    if let Some(counts) = subscription.finish().await? {
        say_left(&mut context.printer, &arguments, counts);
    }
    Ok(Status::Done)
}

/// Whether a named subscription begins now; false where there is no name.
async fn is_new(
    client: &Client,
    topic: Option<&TopicName>,
    arguments: &Subscribe,
) -> Result<bool, RequestError> {
    match (topic, &arguments.name) {
        (Some(topic), Some(name)) => Ok(client.position(topic, name).await?.is_none()),
        _ => Ok(false),
    }
}

/// Refuses what cannot be meant together.
fn check(topic: Option<&TopicName>, arguments: &Subscribe) -> Result<(), Failure> {
    let reading = &arguments.reading;
    let several =
        "leave `--as` and `--group` out, or name one topic; `antiphon topics PATTERN` lists them";
    let (message, hint) = if topic.is_none() && arguments.name.is_some() {
        ("`--as` needs one topic; a pattern matches several", several)
    } else if topic.is_none() && arguments.group.is_some() {
        ("`--group` needs one topic; a pattern matches several", several)
    } else if arguments.name.is_some() && arguments.group.is_some() {
        (
            "`--as` and `--group` cannot be used together",
            "use `--as NAME` for all records, `--group NAME` for a share of them",
        )
    } else if arguments.group.is_some()
        && (reading.key.is_some() || reading.writer.is_some() || reading.to.is_some())
    {
        (
            "`--group` cannot be combined with `--key`, `--writer` or `--to`",
            "leave them out; `-n` and `--idle` end a member",
        )
    } else {
        return Ok(());
    };
    Err(Failure::usage(message).with_hint(hint))
}

/// What a member of a group did.
fn say_left(printer: &mut Printer, arguments: &Subscribe, counts: GroupCounts) {
    let GroupCounts { records, redelivered, dead_lettered, .. } = counts;
    let topic = &arguments.topic;
    let group = arguments.group.as_ref().map(SubscriberName::as_str);
    let mut text = counted(records, "record");
    if redelivered > 0 {
        let _ = write!(text, ", {redelivered} of them delivered before");
    }
    if dead_lettered > 0 {
        let _ = write!(text, "; {} moved to `{topic}.dead`", counted(dead_lettered, "record"));
    }
    let value = json!({
        "status": "left",
        "topic": topic.as_str(),
        "group": group,
        "records": records,
        "redelivered": redelivered,
        "dead_lettered": dead_lettered,
    });
    printer.status(&value, text);
}

fn say_subscribed(
    printer: &mut Printer,
    arguments: &Subscribe,
    source: &Source,
    standing: Option<Standing>,
) {
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
    let name = arguments.name.as_ref().map(SubscriberName::as_str);
    let group = arguments.group.as_ref().map(SubscriberName::as_str);
    let under = match (name, group) {
        (Some(name), _) => format!(" as `{name}`"),
        (None, Some(group)) => format!(" in group `{group}`"),
        (None, None) => String::new(),
    };
    let from_start = arguments.reading.from.as_ref().is_none_or(|from| *from == Place::Start);
    let stands = match standing {
        Some(Standing::New) if from_start => ", new, from the start".to_owned(),
        Some(Standing::New) => ", new".to_owned(),
        Some(Standing::Behind(0)) => ", up to date".to_owned(),
        Some(Standing::Behind(records)) => format!(", {} behind", counted(records, "record")),
        None => String::new(),
    };
    let text = format!("subscribed to `{topic}`{under}{stands}; Ctrl-C ends");
    let mut value =
        json!({ "status": "subscribed", "topic": topic.as_str(), "subscription": name });
    if let Some(group) = group {
        value["group"] = group.into();
    }
    match standing {
        Some(Standing::New) => value["new"] = true.into(),
        Some(Standing::Behind(records)) => {
            value["new"] = false.into();
            value["records_behind"] = records.into();
        }
        None => {}
    }
    printer.status(&value, text);
}

/// What a subscription waited for.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, most often a record")]
enum Event {
    Next(Result<Option<Next>, NextError>),
    Stop,
    Timer,
}

/// A subscription on its way.
struct Subscription<'a> {
    source: Source,
    records: RecordPrinter,
    watch: OutputWatch,
    printer: &'a mut Printer,
    remaining: u64,
    /// When the first record was written whose position is not kept yet.
    uncommitted_since: Option<Instant>,
    /// When the last record came.
    heard: Instant,
    idle: Option<Duration>,
    /// When it is said again that another subscriber reads under the name, if it was said.
    shared_said_again: Option<Instant>,
    /// How long to wait before the node is asked again; none while it answers.
    pause: Option<Duration>,
    /// Whether it was said that it pauses.
    has_said_so: bool,
}

impl Subscription<'_> {
    /// Writes records until there were enough, nothing came for too long, a signal asks to stop, or
    /// nobody reads them any more.
    async fn follow(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        while self.remaining > 0 {
            if self.commit_due().is_some_and(|due| due <= clock::instant()) {
                self.commit().await?;
            }
            match self.wait(signals).await? {
                Event::Next(Ok(Some(next))) => self.write(&next)?,
                Event::Next(Ok(None)) | Event::Stop => break,
                Event::Next(Err(NextError::Request(error))) => {
                    self.note_loss(error)?;
                    if !self.rest(signals).await? {
                        break;
                    }
                }
                Event::Next(Err(error)) => return Err(error.into()),
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
        if self.source.is_drained() {
            self.write_out()?;
        }
        let deadline = self.commit_due().into_iter().chain(self.idle_end()).min();
        let mut next = pin!(self.source.next());
        if let Some(result) = next.as_mut().now_or_never() {
            return Ok(Event::Next(result));
        }
        self.printer.flush()?;
        Ok(tokio::select! {
            biased;
            () = signals.next() => Event::Stop,
            () = self.watch.closed() => Event::Stop,
            result = next => Event::Next(result),
            () = clock::sleep_until(deadline) => Event::Timer,
        })
    }

    /// Only what was written out counts as consumed.
    fn write_out(&mut self) -> anyhow::Result<()> {
        self.printer.flush()?;
        self.source.written_out();
        Ok(())
    }

    fn write(&mut self, next: &Next) -> anyhow::Result<()> {
        self.pause = None;
        if std::mem::take(&mut self.has_said_so) {
            self.printer.note("the node answers again");
        }
        tell_passed_over(self.printer, &self.source.take_passed_over());
        let Next { topic, delivered, deliveries } = next;
        let cursor = self.source.cursor();
        self.records.print(self.printer, topic, delivered, *deliveries, cursor)?;
        self.remaining -= 1;
        self.heard = clock::instant();
        if self.source.is_durable() {
            self.uncommitted_since.get_or_insert(self.heard);
        }
        Ok(())
    }

    /// When the position must be committed at the latest.
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
        self.write_out()?;
        match self.source.commit().await {
            Ok(()) => {
                self.uncommitted_since = None;
                self.warn_if_shared();
            }
            Err(error) => {
                self.note_loss(error)?;
                self.uncommitted_since = Some(clock::instant());
            }
        }
        Ok(())
    }

    /// Says that another subscriber reads under the name, now and then.
    fn warn_if_shared(&mut self) {
        let now = clock::instant();
        if !self.source.is_shared() || self.shared_said_again.is_some_and(|again| now < again) {
            return;
        }
        self.shared_said_again = now.checked_add(SHARED_SAID_EVERY);
        self.printer.warning(
            "another subscriber reads under the same name; both get all records, and both move \
                its position",
            "use another name with `--as`, or share the records with `--group`",
        );
    }

    /// Commits the position. Returns what a member of a group was given.
    async fn finish(mut self) -> anyhow::Result<Option<GroupCounts>> {
        self.write_out()?;
        let kept = self.source.finish().await.map_err(anyhow::Error::from);
        kept.map_err(|error| error.context("the position was not kept"))
    }

    /// Says that the connection is lost, once; an error if trying again is of no use.
    fn note_loss(&mut self, error: RequestError) -> Result<(), RequestError> {
        let lasting = matches!(
            error,
            RequestError::Refused(
                Refusal::UnknownTopic { .. }
                    | Refusal::TopicExists(_)
                    | Refusal::Invalid(_)
                    | Refusal::TooManyTopics(_)
                    | Refusal::NotAWriter(_)
                    | Refusal::Superseded
                    | Refusal::NotAGroup(_)
                    | Refusal::Group(_)
                    | Refusal::ForeignCursor
                    | Refusal::Unsupported(_)
            )
        );
        if lasting {
            return Err(error);
        }
        if self.pause.is_none() {
            // That there is no node is said where the connection is watched.
            let is_away = matches!(
                error,
                RequestError::Link(LinkError::NotSent(_) | LinkError::Unreachable(_))
            );
            if !is_away {
                self.printer.note(format_args!("{error}; trying again"));
                self.has_said_so = true;
            }
            self.pause = Some(PAUSE_FIRST);
        }
        Ok(())
    }

    /// Pauses before the node is asked again, each time longer; false when a signal came.
    async fn rest(&mut self, signals: &mut Signals) -> Result<bool, OutputError> {
        let pause = self.pause.unwrap_or(PAUSE_FIRST);
        self.pause = Some((pause * 2).min(PAUSE_LONGEST));
        let until = clock::instant().checked_add(pause);
        let until = until.into_iter().chain(self.idle_end()).min();
        tokio::select! {
            () = clock::sleep_until(until) => Ok(true),
            () = signals.next() => Ok(false),
            () = self.watch.closed() => Err(OutputError::Closed),
        }
    }
}
