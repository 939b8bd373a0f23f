//! Following all topics that match: what is stored of each, and then what comes.

use std::{
    collections::{BTreeMap, VecDeque},
    task::{Context, Poll, ready},
};

use antiphon::{
    model::{Batch, Cursor, TopicId, TopicName, TopicPattern},
    wire::TopicPage,
};

use super::{
    TOPICS_MAX,
    questions::{Answer, NOTHING_KNOWN, Questions, too_many},
};
use crate::client::{
    Client, Refusal, RequestError,
    reader::{Delivered, PassedOver, ReaderOptions, Seen, Start, advance_over},
};

/// Producers whose records are remembered, over all topics, to drop second copies: 16 MiB.
const PRODUCERS_MAX: usize = 64 * 1024;

/// A topic, and where it is read.
#[derive(Debug, Default)]
struct Followed {
    /// Up to where it was read; none before its beginning.
    after: Option<Cursor>,
    /// Whether it existed when the reader was started.
    existed: bool,
    /// Whether the node did not know it when it was last asked. Where it was read is kept: a node
    /// may not know a topic yet, and the logs of one that is created again are other ones.
    gone: bool,
    /// Whether it was gone before.
    returned: bool,
}

/// Reads topics, and finds those that are new.
#[derive(Debug)]
pub(super) struct Following {
    client: Client,
    pattern: TopicPattern,
    /// What is read of topics that existed, and of those created later.
    options: ReaderOptions,
    options_later: ReaderOptions,
    topics: BTreeMap<TopicName, Followed>,
    /// The digest of the names that are known.
    known: [u8; 32],
    /// Whether a topic is gone, so that its name is news even if all names are the known ones.
    forgets: bool,
    questions: Questions,
    /// Batches, each with the number in its log from which on it is new.
    ready: VecDeque<(TopicName, u64, Batch)>,
    current: VecDeque<(TopicName, Delivered)>,
    seen: Seen<TopicId>,
}

impl Following {
    pub(super) fn new(
        client: Client,
        pattern: TopicPattern,
        options: ReaderOptions,
        known: [u8; 32],
        starts: Vec<(TopicName, Option<Cursor>)>,
    ) -> Self {
        let mut questions = Questions::default();
        for (name, _) in &starts {
            questions.push(name.clone());
        }
        let followed =
            |(name, after)| (name, Followed { after, existed: true, ..Followed::default() });
        Self {
            client,
            pattern,
            options_later: ReaderOptions { start: Start::Beginning, ..options.clone() },
            options,
            topics: starts.into_iter().map(followed).collect(),
            known,
            forgets: false,
            questions,
            ready: VecDeque::new(),
            current: VecDeque::new(),
            seen: Seen::of_at_most(PRODUCERS_MAX),
        }
    }

    pub(super) fn topics(&self) -> usize {
        self.topics.values().filter(|followed| !followed.gone).count()
    }

    /// The next record. Nothing is asked for while there is one.
    pub(super) fn poll_record(
        &mut self,
        context: &mut Context<'_>,
        passed_over: &mut PassedOver,
    ) -> Poll<Result<(TopicName, Delivered), RequestError>> {
        loop {
            if let Some(next) = self.current.pop_front() {
                return Poll::Ready(Ok(next));
            }
            if self.open_next_batch() {
                continue;
            }
            self.ask();
            let taken = match ready!(self.questions.poll_answer(context)) {
                Some(Answer::Names(names)) => names.and_then(|names| self.take_names(names)),
                Some(Answer::Pages(names, Ok(pages))) => self.take_pages(names, pages, passed_over),
                Some(Answer::Pages(names, Err(error))) => self.take_error(names, error),
                None => Ok(()),
            };
            if let Err(error) = taken {
                self.begin_anew();
                return Poll::Ready(Err(error));
            }
        }
    }

    fn ask(&mut self) {
        if self.questions.lacks_names() {
            let known = if std::mem::take(&mut self.forgets) { NOTHING_KNOWN } else { self.known };
            self.questions.ask_names(&self.client, &self.pattern, known);
        }
        let topics = &self.topics;
        let cursor = |name: &TopicName| topics.get(name).and_then(|topic| topic.after.clone());
        self.questions.ask_records(&self.client, topics.len(), cursor);
    }

    /// Something failed: all is asked again, from where the topics stand.
    fn begin_anew(&mut self) {
        self.questions.clear();
        for (name, _) in self.topics.iter().filter(|(_, followed)| !followed.gone) {
            self.questions.push(name.clone());
        }
    }

    fn take_names(
        &mut self,
        (digest, names): ([u8; 32], Vec<TopicName>),
    ) -> Result<(), RequestError> {
        for name in names {
            if let Some(followed) = self.topics.get_mut(&name) {
                if std::mem::take(&mut followed.gone) {
                    followed.returned = true;
                    self.questions.push(name);
                }
                continue;
            }
            if self.topics.len() >= TOPICS_MAX {
                self.topics.retain(|_, followed| !followed.gone);
            }
            if self.topics.len() >= TOPICS_MAX {
                return Err(too_many());
            }
            self.questions.push(name.clone());
            self.topics.insert(name, Followed::default());
        }
        self.known = digest;
        Ok(())
    }

    /// Takes batches in. The topics that had some are asked for last the next time.
    fn take_pages(
        &mut self,
        names: Vec<TopicName>,
        pages: Vec<TopicPage>,
        passed_over: &mut PassedOver,
    ) -> Result<(), RequestError> {
        let mut pages: BTreeMap<_, _> = pages.into_iter().map(|of| (of.which, of.page)).collect();
        let mut given = Vec::new();
        for (which, name) in (0..).zip(names) {
            let Some(page) = pages.remove(&which) else {
                self.questions.push(name);
                continue;
            };
            let (Some(followed), Some(first)) = (self.topics.get_mut(&name), page.batches.first())
            else {
                return Err(RequestError::Mismatch);
            };
            let start = Cursor::start(first.header().topic);
            let mut after = followed.after.clone().unwrap_or(start);
            let before = after.clone();
            if page.batches.iter().any(|batch| batch.header().topic != before.topic) {
                return Err(RequestError::Mismatch);
            }
            advance_over(&mut after, &page, passed_over)?;
            followed.after = Some(after);
            for batch in page.batches {
                self.ready.push_back((name.clone(), before.next(&batch.log()), batch));
            }
            given.push(name);
        }
        for name in given {
            self.questions.push(name);
        }
        if pages.is_empty() { Ok(()) } else { Err(RequestError::Mismatch) }
    }

    /// A topic that is not there any more is left out, and the others are asked for again.
    fn take_error(
        &mut self,
        names: Vec<TopicName>,
        error: RequestError,
    ) -> Result<(), RequestError> {
        match &error {
            RequestError::Refused(Refusal::UnknownTopic { name: unknown, .. }) => {
                let mut found = false;
                for name in names {
                    match self.topics.get_mut(&name).filter(|_| name.as_str() == unknown) {
                        Some(followed) => {
                            followed.gone = true;
                            self.forgets = true;
                            found = true;
                        }
                        None => self.questions.push(name),
                    }
                }
                if found { Ok(()) } else { Err(error) }
            }
            // Created anew it may be one that the cursor is not of.
            RequestError::Refused(Refusal::Invalid(_)) => {
                let mut returned = false;
                for name in names {
                    if let Some(followed) = self.topics.get_mut(&name)
                        && std::mem::take(&mut followed.returned)
                    {
                        *followed = Followed::default();
                        returned = true;
                    }
                    self.questions.push(name);
                }
                if returned { Ok(()) } else { Err(error) }
            }
            _ => Err(error),
        }
    }

    /// Takes the records out of the next fetched batch; whether there was one.
    fn open_next_batch(&mut self) -> bool {
        let Some((name, from, batch)) = self.ready.pop_front() else { return false };
        let existed = self.topics.get(&name).is_some_and(|followed| followed.existed);
        let options = if existed { &self.options } else { &self.options_later };
        let (header, forked) = (batch.header(), batch.is_of_branch());
        let (topic, writer) = (header.topic, header.writer);
        if options.writer.is_some_and(|wanted| wanted != writer) {
            return true;
        }
        for (number, id, record) in batch.numbered_records() {
            let Ok(record) = record else { break };
            let wanted = number >= from && options.wants(&record) && self.seen.is_new(topic, id);
            if wanted {
                let delivered = Delivered { id, writer, number, record, forked };
                self.current.push_back((name.clone(), delivered));
            }
        }
        true
    }
}
