//! The topics that a benchmark makes in a network that others run: they are deleted when it ends,
//! however it does.

use std::sync::{Arc, Mutex, PoisonError};

use antiphon::model::TopicName;
use antiphon_node::client::{Client, Refusal, RequestError};
use futures::{StreamExt, stream};

use crate::{printer::Printer, words::counted};

/// Topics that are being deleted at a time.
const AT_A_TIME: usize = 64;

/// The topics that were made, or may have been.
#[derive(Debug, Default, Clone)]
pub(super) struct Made(Arc<Mutex<Vec<TopicName>>>);

impl Made {
    /// A topic is about to be made.
    pub(super) fn add(&self, topic: TopicName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(topic);
    }

    /// All of them, once.
    pub(super) fn take(&self) -> Vec<TopicName> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Deletes topics, and names one that is left.
pub(super) async fn delete(client: &Client, printer: &mut Printer, topics: Vec<TopicName>) {
    let deleting = stream::iter(topics).map(async |topic| {
        let outcome = client.delete(&topic).await;
        (topic, outcome)
    });
    let mut deleting = deleting.buffer_unordered(AT_A_TIME);
    let (mut deleted, mut left) = (0, Vec::new());
    while let Some((topic, outcome)) = deleting.next().await {
        match outcome {
            Ok(()) => deleted += 1,
            // It was not made after all.
            Err(RequestError::Refused(Refusal::UnknownTopic { .. })) => {}
            Err(error) => left.push((topic, error)),
        }
    }
    if deleted > 0 {
        printer.note(format_args!("deleted {} of this benchmark", counted(deleted, "topic")));
    }
    if let Some((topic, error)) = left.first() {
        let count = counted(left.len() as u64, "topic");
        let text =
            format!("{count} of this benchmark could not be deleted, such as `{topic}`: {error}");
        let hint = format!("`antiphon topic delete {topic}` deletes it, for the node's operator");
        printer.warning(text, &hint);
    }
}
