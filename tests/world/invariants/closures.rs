//! No node takes anything of a closed log beyond its cut, and once everything is healed, no member
//! holds any. A writer that is a member again writes to new logs alone.

use antiphon::model::{Batch, roster::Standing};

use crate::world::World;

pub(crate) const NAME: &str = "closed logs end at their cuts";

/// A node stores a batch, by the roster that its engine told last. It may have written it just now.
pub(crate) fn appended(
    world: &World,
    index: usize,
    batch: &Batch,
    is_new: bool,
) -> Result<(), String> {
    let node = &world.nodes[index];
    let Some(roster) = node.admission.as_ref().and_then(|it| it.roster.as_deref()) else {
        return Ok(());
    };
    let (header, log) = (batch.header(), batch.log());
    let Some(number) = world.topic_number(&header.topic) else { return Ok(()) };
    if header.writer != node.id {
        let name = world.options.topics[number].name.parse().unwrap();
        let standing = roster.writer((&header.topic, &name), &log, node.wall(world.now));
        let Standing::Closed(cut) = standing else { return Ok(()) };
        if !cut.takes(header.next(), batch.hash()) {
            return Err(format!("node {index} takes {batch:?}, whose log ends at {cut:?}"));
        }
    } else if is_new {
        if let Some(cut) = roster.cut(&header.topic, &log) {
            return Err(format!("node {index} writes {batch:?}, and the log ends at {cut:?}"));
        }
        let name = world.options.topics[number].name.parse().unwrap();
        let standing = roster.writer((&header.topic, &name), &log, node.wall(world.now));
        if matches!(standing, Standing::Closed(_)) && world.knows_itself_back(index) {
            return Err(format!("node {index} is back, and {batch:?} is of a closed log"));
        }
        if world.is_of_before(index, batch) {
            return Err(format!("node {index} writes {batch:?} to a log of the time before"));
        }
    }
    Ok(())
}

/// No member holds anything beyond a cut.
pub(crate) fn at_end(world: &World) -> Result<(), String> {
    for index in world.running() {
        let node = &world.nodes[index];
        let Some(roster) = node.admission.as_ref().and_then(|it| it.roster.as_deref()) else {
            continue;
        };
        let logs = node.disk.image.tables.logs.iter();
        for (topic, (log, held)) in
            logs.flat_map(|(topic, logs)| logs.iter().map(move |it| (topic, it)))
        {
            let number = world.topic_number(topic);
            let Some(number) = number.filter(|_| log.writer != node.id) else { continue };
            let name = world.options.topics[number].name.parse().unwrap();
            let standing = roster.writer((topic, &name), log, node.wall(world.now));
            let Standing::Closed(cut) = standing else { continue };
            let beyond = |next: u64| next > cut.next;
            let spans = held.spans.iter();
            if beyond(held.low) || spans.clone().any(|span| beyond(span.next)) {
                return Err(format!(
                    "node {index} holds {held:?} of {log:?}, which ends at {cut:?}"
                ));
            }
            let other = spans.last().filter(|it| it.next == cut.next && Some(it.head) != cut.head);
            if let Some(other) = other {
                return Err(format!("node {index} holds {other:?} at the cut {cut:?} of {log:?}"));
            }
        }
    }
    Ok(())
}
