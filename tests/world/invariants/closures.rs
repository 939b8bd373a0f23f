//! Once everything is healed, no member holds anything of a closed log beyond its cut.

use antiphon::model::roster::Standing;

use crate::world::World;

pub(crate) const NAME: &str = "closed logs end at their cuts";

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
