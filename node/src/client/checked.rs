//! A client that belongs to a closed network takes records of its members alone.
//!
//! A node checks what other nodes give it. But the client's own node may lie. So the client checks
//! as well, by statements that admins have signed. The writer of each batch must be a node that may
//! write to the topic, or was one. Then the batch must not lie beyond the cut of its log. What the
//! client cannot know is a removal or a cut that its node keeps from it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use antiphon::{
    model::{
        Batch, LogId, SignedDescriptor, TopicId, TopicName,
        roster::{Excluded, Grant, Kept, Rights, Roster, Standing},
    },
    wire::{ClientRequest, Page, Request, Response, TopicPage},
};
use futures::{FutureExt, future::BoxFuture};

use super::{Client, Connection, Link, LinkError};
use crate::platform::clock::{Clock, wall};

/// A node is asked who belongs to the network once in this time, when a writer is not known.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// Imported topics that are remembered as such.
const IMPORTED_MAX: usize = 1_024;

/// The name of a topic, and a page of it that a node gave.
type Given<'a> = (&'a TopicName, &'a Page);

/// A link whose answers are checked.
#[derive(Debug)]
pub(super) struct CheckedLink {
    inner: Arc<dyn Link>,
    clock: Clock,
    known: Mutex<Known>,
    /// When a node may be asked for more. One reader asks at a time, and the others read on.
    ask_at: tokio::sync::Mutex<Duration>,
}

/// What the client knows of its network.
#[derive(Debug)]
struct Known {
    roster: Roster,
    /// Topics whose records were signed in another network.
    imported: BTreeSet<TopicId>,
}

impl CheckedLink {
    /// Checks the answers of a link by what a member's file says of the network.
    pub(super) fn over(inner: Arc<dyn Link>, kept: &Kept) -> Self {
        let mut roster = Roster::new(kept.charter.clone());
        for statement in kept.own.statements() {
            // A newer charter may forbid it.
            let _refused = roster.insert(statement);
        }
        let known = Mutex::new(Known { roster, imported: BTreeSet::new() });
        let ask_at = tokio::sync::Mutex::new(Duration::ZERO);
        Self { inner, clock: Clock::start(), known, ask_at }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks the pages of topics, each with the topic's name.
    async fn check(&self, pages: &[Given<'_>], timeout: Duration) -> Result<(), LinkError> {
        if self.known().foreign(pages).is_none() {
            return Ok(());
        }
        let mut ask_at = self.ask_at.lock().await;
        // Another reader may have asked meanwhile.
        if self.known().foreign(pages).is_none() {
            return Ok(());
        }
        let pause = ask_at.saturating_sub(self.clock.now().elapsed);
        tokio::time::sleep(pause).await;
        *ask_at = self.clock.now().elapsed + ASK_INTERVAL;
        let node = Client { link: Arc::clone(&self.inner), timeout };
        let mut roster = self.known().roster.clone();
        // Without an answer the writer stays unknown.
        let _failed = node.read_roster(&mut roster).await;
        self.known().roster = roster.clone();
        loop {
            let foreign = self.known().foreign(pages);
            let Some((topic, batch)) = foreign else { return Ok(()) };
            let id = batch.header().topic;
            if !self.is_imported(&roster, topic, id, timeout).await {
                let writer = batch.header().writer;
                return Err(LinkError::ForeignWriter { writer, topic: topic.to_string() });
            }
            let mut known = self.known();
            if known.imported.len() >= IMPORTED_MAX {
                known.imported.clear();
            }
            known.imported.insert(id);
        }
    }

    /// Whether a member that may manage a topic, or a former member, has signed that it was
    /// imported under this id.
    async fn is_imported(
        &self,
        roster: &Roster,
        topic: &TopicName,
        id: TopicId,
        timeout: Duration,
    ) -> bool {
        let request = ClientRequest::Describe(topic.clone());
        let Ok(Response::Described(Some(bytes))) = self.inner.ask(request.into(), timeout).await
        else {
            return false;
        };
        let Ok(signed) = SignedDescriptor::verify(bytes.0) else { return false };
        let terms = signed.descriptor();
        let manages = |grant: &Grant| grant.gives(Rights::MANAGE, topic);
        let may = match roster.member(&terms.creator, wall()) {
            Ok(member) => member.grants.iter().any(manages),
            Err(why) => why != Excluded::Unknown,
        };
        terms.name == *topic && terms.origin == Some(id) && may
    }
}

impl Known {
    /// The first batch of a writer that may not write to the topic, or that lies beyond the cut of
    /// its log.
    fn foreign<'a>(&self, pages: &[Given<'a>]) -> Option<(&'a TopicName, &'a Batch)> {
        let now = wall();
        for &(topic, page) in pages {
            let mut last: Option<(LogId, Standing)> = None;
            for batch in &page.batches {
                let (id, log) = (batch.header().topic, batch.log());
                if self.imported.contains(&id) {
                    continue;
                }
                let known = last.filter(|(of, _)| *of == log).map(|(_, standing)| standing);
                let standing = known.unwrap_or_else(|| self.roster.writer((&id, topic), &log, now));
                let counts = match standing {
                    Standing::Writes | Standing::Frozen => true,
                    Standing::Closed(cut) => cut.takes(batch.header().next(), batch.hash()),
                    Standing::Stranger => false,
                };
                if !counts {
                    return Some((topic, batch));
                }
                last = Some((log, standing));
            }
        }
        None
    }
}

impl Link for CheckedLink {
    fn ask(
        &self,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Response, LinkError>> {
        let topics: Vec<TopicName> = match &request {
            Request::Client(ClientRequest::Read(read)) => vec![read.topic.clone()],
            Request::Client(ClientRequest::ReadMany(read)) => {
                read.topics.iter().map(|read| read.topic.clone()).collect()
            }
            _ => Vec::new(),
        };
        async move {
            let response = self.inner.ask(request, timeout).await?;
            let pages: Vec<Given<'_>> = match &response {
                Response::Page(page) => topics.iter().map(|topic| (topic, page)).collect(),
                Response::Pages(found) => {
                    // Who asked leaves out pages of topics that were not asked for.
                    let topic = |it: &TopicPage| topics.get(usize::try_from(it.which).ok()?);
                    found.iter().filter_map(|it| Some((topic(it)?, &it.page))).collect()
                }
                _ => Vec::new(),
            };
            self.check(&pages, timeout).await?;
            Ok(response)
        }
        .boxed()
    }

    fn connection(&self) -> Connection {
        self.inner.connection()
    }
}

#[cfg(test)]
mod tests;
