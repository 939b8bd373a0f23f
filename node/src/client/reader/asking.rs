//! What a reader asks, one question at a time.
//!
//! No task stands behind a reader: it asks when it is polled and has no record left. The question
//! stays under way when the program stops waiting. So a reader in a `select!` asks
//! no more often than one that is awaited.

use std::{
    fmt,
    task::{Context, Poll, ready},
};

use antiphon::{model::Cursor, wire::Page};
use futures::{FutureExt, future::BoxFuture};

use super::{End, Reader};
use crate::client::RequestError;

/// The question under way, if there is one.
#[derive(Default)]
pub(super) struct Asked(Option<BoxFuture<'static, Result<Answer, RequestError>>>);

/// What a reader is told.
enum Answer {
    /// What follows.
    Page(Page),
    /// Where a read of what is stored ends now.
    End(Cursor),
}

impl fmt::Debug for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Asked").field(&self.0.is_some()).finish()
    }
}

impl Reader {
    /// Fetches the next page; whether there may be more.
    pub(in crate::client) fn poll_fetch(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<bool, RequestError>> {
        loop {
            if self.asked.0.is_none() {
                let Some(question) = self.ask() else { return Poll::Ready(Ok(false)) };
                self.asked.0 = Some(question);
            }
            let Some(question) = &mut self.asked.0 else { continue };
            let answer = ready!(question.poll_unpin(context));
            self.asked.0 = None;
            match answer? {
                Answer::Page(page) => return Poll::Ready(self.take_page(page)),
                Answer::End(end) => {
                    self.stored_end = end;
                    (self.end_is_late, self.ended) = (false, false);
                }
            }
        }
    }

    /// The next question; none at the end.
    fn ask(&mut self) -> Option<BoxFuture<'static, Result<Answer, RequestError>>> {
        let client = self.client.clone();
        if let Some(read) = self.question() {
            return Some(async move { client.read_page(read).await.map(Answer::Page) }.boxed());
        }
        if !self.end_is_late || self.options.end != End::Stored {
            return None;
        }
        // Of each key the newest record is read that there is when the read ends.
        let topic = self.topic.clone();
        Some(async move { Ok(Answer::End(client.survey(&topic).await?.end)) }.boxed())
    }
}
