//! Dead letters: records that were delivered too often.

use antiphon::{
    limits::PUBLISH_TIMEOUT_DEFAULT,
    model::{
        Blob, DEAD_LETTER_SUFFIX as SUFFIX, DEAD_LETTER_TOPIC, ProducerId, Record, SubscriberName,
        TopicName, encode_record,
    },
    wire::{self, Acks, ClientRequest, Create, Publish, Response},
};
use bytes::Bytes;

use super::Work;
use crate::client::{Client, Refusal, RequestError};

/// The topic that they go to.
#[derive(Debug)]
pub(super) struct DeadLetters {
    of: TopicName,
    topic: TopicName,
    group: SubscriberName,
}

impl DeadLetters {
    pub(super) fn of(topic: &TopicName, group: &SubscriberName) -> Result<Self, RequestError> {
        let dead = format!("{topic}{SUFFIX}").parse().map_err(|error| {
            let what = format!("`{topic}{SUFFIX}` cannot take what cannot be delivered: {error}");
            RequestError::Refused(Refusal::Invalid(what))
        })?;
        Ok(Self { of: topic.clone(), topic: dead, group: group.clone() })
    }

    /// Publishes a record there, with the reason in its headers. Where two members do, because the
    /// first one died over it, the record has the same id both times, and readers see one.
    pub(super) async fn publish(
        &self,
        client: &Client,
        work: &Work,
        reason: &str,
    ) -> Result<(), RequestError> {
        match self.try_publish(client, work, reason).await {
            Err(RequestError::Refused(Refusal::UnknownTopic { .. })) => {
                let like = client.survey(&self.of).await?.summary;
                let replicas = Some(like.replicas);
                let create =
                    Create { replicas, if_not_exists: true, ..Create::new(self.topic.clone()) };
                client.create(create).await?;
                self.try_publish(client, work, reason).await
            }
            other => other,
        }
    }

    async fn try_publish(
        &self,
        client: &Client,
        work: &Work,
        reason: &str,
    ) -> Result<(), RequestError> {
        let mut records = Vec::new();
        let marked = self.marked(work, reason);
        if encode_record(&marked, &mut records).is_err() {
            // It has no room for more headers.
            encode_record(&work.record.clone().without_own_headers(), &mut records)
                .map_err(|error| RequestError::Refused(wire::Refusal::from(error).into()))?;
        }
        let publish = Publish {
            topic: self.topic.clone(),
            producer: self.producer(work),
            first: work.number,
            records: Blob(records.into()),
            acks: Acks::Quorum,
            timeout_ms: super::milliseconds(PUBLISH_TIMEOUT_DEFAULT),
            // The member before may have died after it.
            retried: true,
        };
        match client.ask_within(ClientRequest::Publish(publish), PUBLISH_TIMEOUT_DEFAULT).await? {
            // What is pending is in the node's outbox, and will be delivered.
            Response::Published(_) => Ok(()),
            _ => Err(RequestError::Mismatch),
        }
    }

    fn marked(&self, work: &Work, reason: &str) -> Record {
        let mut record = work.record.to_dead_letter();
        let deliveries = work.deliveries.saturating_sub(1).to_string();
        let marks = [
            (DEAD_LETTER_TOPIC, self.of.to_string()),
            ("antiphon-group", self.group.to_string()),
            ("antiphon-record", work.id.to_string()),
            ("antiphon-deliveries", deliveries),
            ("antiphon-reason", reason.to_owned()),
        ];
        let marks = marks.map(|(name, value)| (name.to_owned(), Bytes::from(value)));
        record.headers.extend(marks);
        record
    }

    /// The same for all records of a log that a group could not deal with.
    fn producer(&self, work: &Work) -> ProducerId {
        let (log, _) = work.place();
        let mut hasher = blake3::Hasher::new_derive_key("antiphon 2026-11 buried record v1");
        for part in [self.of.as_str(), self.group.as_str()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.update(log.writer.as_bytes()).update(&log.incarnation.0.to_le_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        ProducerId::random(id)
    }
}
