//! `antiphon topic alter`

use antiphon::{model::RetentionChange, wire};

use super::{create, operator::operating};
use crate::{
    arguments::Alter,
    context::Context,
    exit::{Failure, Status},
    topic_json::{TopicDone, TopicJson},
    values::Floor,
    words::counted,
};

/// Changes the terms of a topic.
pub(super) async fn run(context: &mut Context, arguments: Alter) -> anyhow::Result<Status> {
    let Alter { topic, replicas, min_copies, retain } = arguments;
    let retention = retain.changes();
    if (replicas, min_copies, retention) == (None, None, RetentionChange::default()) {
        let hint = "`antiphon topic alter TOPIC --retain-age 7d`; `antiphon topic alter --help` \
            lists all options";
        return Err(Failure::usage("no option says what to change").with_hint(hint).into());
    }
    let node = operating(context).await?;
    let floor_follows = min_copies == Some(Floor::Auto);
    let min_copies = match min_copies {
        Some(Floor::Copies(floor)) => Some(floor),
        Some(Floor::Auto) | None => None,
    };
    let alter = wire::Alter { name: topic, replicas, min_copies, retention, floor_follows };
    let summary = node.client.alter(alter).await.map_err(|error| node.explain(error))?;
    let done = TopicDone { status: "topic_altered", topic: TopicJson::new(&summary) };
    let replicas = counted(summary.replicas.into(), "replica");
    let terms = create::terms(&summary);
    context
        .printer
        .result(&done, format_args!("altered `{}`: {replicas}. {terms}", summary.name))?;
    create::say_what_lacks(&mut context.printer, &summary);
    Ok(Status::Done)
}
