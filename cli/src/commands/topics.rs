//! `antiphon topics`

use crate::{
    arguments::Topics, context::Context, exit::Status, table::Table, topic_json::TopicJson,
};

/// Lists the topics of the network in the order of their names.
pub(super) async fn run(context: &mut Context, arguments: Topics) -> anyhow::Result<Status> {
    let mut topics = context.client().await?.summaries().await?;
    if let Some(pattern) = &arguments.pattern {
        topics.retain(|topic| pattern.matches(&topic.name));
    }
    let printer = &mut context.printer;
    if printer.is_json() {
        for topic in &topics {
            printer.object(&TopicJson::new(topic))?;
        }
        return Ok(Status::Done);
    }
    if topics.is_empty() {
        match &arguments.pattern {
            Some(pattern) => {
                let hint = part_hint(pattern.as_str());
                printer.note(format_args!("no topic matches `{pattern}`{hint}"));
            }
            None => printer.note("no topics yet; `antiphon create TOPIC` creates one"),
        }
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["TOPIC", "WANTED", "MIN COPIES", "REPLICAS", "RECORDS"]);
    for topic in &topics {
        table.push(vec![
            topic.name.to_string(),
            topic.replicas.to_string(),
            topic.min_copies.to_string(),
            topic.owners.len().to_string(),
            topic.records.to_string(),
        ]);
    }
    printer.table(&table)?;
    Ok(Status::Done)
}

/// What is said of a `*` that is only a piece of a part, as in a shell's `qua*`: it stands for
/// itself.
fn part_hint(pattern: &str) -> String {
    let is_piece = |part: &str| part.len() > 1 && part.contains(['*', '>']);
    if !pattern.split('.').any(is_piece) {
        return String::new();
    }
    let start = pattern.split(['*', '>']).next().unwrap_or_default();
    format!(
        "\nhint: `*` stands for a whole part between dots; `antiphon topics | grep '^{start}'` \
         finds names with that beginning"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shells_pattern_is_explained() {
        assert!(part_hint("qua*").contains("`antiphon topics | grep '^qua'`"));
        assert!(part_hint("a.b>").contains("whole part"));
        for pattern in ["quakes", "*", "a.*", "a.>", ">"] {
            assert_eq!(part_hint(pattern), "");
        }
    }
}
