//! Reading back what was published, and live.

use std::time::{Duration, Instant};

use antiphon::model::TopicName;
use antiphon_node::{
    Client,
    client::{Reader, ReaderOptions, Start},
};
use anyhow::Context as _;
use indicatif::ProgressBar;

use super::{measured::Measured, payloads::due};
use crate::{clock, exit::Failure};

/// Records between two looks at the clock, where no record's own time is wanted.
const RECORDS_PER_LOOK: u64 = 256;

/// Time for a live reader to get the next record, while records are published.
const RECORD_WITHIN: Duration = Duration::from_secs(30);

/// Reads all that is stored.
pub(super) async fn read_all(
    client: &Client,
    topic: &TopicName,
    progress: &ProgressBar,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::begin();
    let mut reader = client.reader(topic.clone(), ReaderOptions::default()).await?;
    let mut since_look = 0;
    while reader.try_next().await?.is_some() {
        since_look += 1;
        if since_look == RECORDS_PER_LOOK {
            measured.counted(clock::instant(), since_look);
            progress.inc(since_look);
            since_look = 0;
        }
    }
    measured.counted(clock::instant(), since_look);
    Ok(measured)
}

/// Fails unless the topic has just as many records as were acknowledged.
pub(super) async fn check(
    client: &Client,
    topic: &TopicName,
    acknowledged: u64,
) -> anyhow::Result<Measured> {
    let read = read_all(client, topic, &ProgressBar::hidden()).await?;
    if read.messages == acknowledged {
        return Ok(read);
    }
    let there = read.messages;
    let text = format!("{acknowledged} records were acknowledged in `{topic}`, {there} are there");
    Err(Failure::failed(text).into())
}

/// A reader of what is to come.
pub(super) async fn follow(client: &Client, topic: &TopicName) -> anyhow::Result<Reader> {
    let options = ReaderOptions::follow().start(Start::End);
    Ok(client.reader(topic.clone(), options).await?)
}

/// Takes records from a live reader: how long after each was due it came, or, unless
/// `timed`, only how many came when.
pub(super) async fn receive(
    mut reader: Reader,
    count: u64,
    started: Instant,
    timed: bool,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::begin_at(started);
    let mut since_look = 0;
    for received in 0..count {
        let next = tokio::time::timeout(RECORD_WITHIN, reader.try_next()).await;
        let next = next
            .with_context(|| format!("a subscriber got {received} of {count} records, no more"))?;
        let delivered = next?.context("the subscription ended")?;
        if timed {
            let now = clock::instant();
            let due = due(&delivered.record.payload).context("not a record of this benchmark")?;
            measured.done(now, now.duration_since(started).saturating_sub(due));
            continue;
        }
        since_look += 1;
        if since_look == RECORDS_PER_LOOK || received + 1 == count {
            measured.counted(clock::instant(), since_look);
            since_look = 0;
        }
    }
    Ok(measured)
}
