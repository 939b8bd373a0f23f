//! Topics created one after the other through one connection.

use super::{
    super::{
        bed::create,
        measured::{Measured, Outcome},
    },
    Run,
};
use crate::clock;

const TOPICS: u64 = 500;

pub(super) async fn measure(run: &mut Run<'_>) -> anyhow::Result<Vec<Outcome>> {
    let count = run.messages(TOPICS);
    let client = run.bed.client(1).await?;
    let progress = run.progress("create", count);
    let mut measured = Measured::begin();
    for _ in 0..count {
        let began = clock::instant();
        client.create(create(run.bed.name("create")?, run.arguments.replicas)).await?;
        let now = clock::instant();
        measured.done(now, now.duration_since(began));
        progress.inc(1);
    }
    Ok(vec![Outcome::new("create", run.setting(1), measured)])
}
