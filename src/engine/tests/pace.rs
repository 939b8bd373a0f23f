//! A home replica that does not show what it was brought is brought the same ever more rarely.

use super::{
    possession::{Lone, stored},
    *,
};
use crate::{
    model::Batch,
    wire::{Compared, Page},
};

/// How often the home replica is brought a batch in some time. It gives a receipt each time. From
/// the number of times, `shows` tells whether it says that it holds all or nothing.
fn brought(
    lone: &mut Lone,
    batch: &Batch,
    time: Duration,
    shows: fn(usize) -> bool,
) -> (usize, Vec<Report>) {
    let (end, mut brought, mut reports) = (lone.script.now.elapsed + time, 0, Vec::new());
    while lone.script.now.elapsed < end {
        let mut outputs = VecDeque::from(lone.script.pass(Duration::from_millis(100)));
        outputs.extend(lone.script.give(Input::Heard(key(2).node(), None)));
        while let Some(output) = outputs.pop_front() {
            let input = match output {
                Output::Read { ticket, .. } => {
                    let page = Page { batches: vec![batch.clone()], ..Page::default() };
                    Input::ReadDone(ticket, Some(page))
                }
                Output::Ask { ask, request: Request::Node(request), .. } => {
                    let response = match request {
                        NodeRequest::Replicate(_) => {
                            brought += 1;
                            stored()
                        }
                        NodeRequest::Frontier(topic, _, _) => {
                            let shown = shows(brought).then(|| lone.frontier(topic));
                            let frontier = shown.unwrap_or_default();
                            Response::Held(Held { frontier, keeps: true, ..Held::default() })
                        }
                        NodeRequest::Compare(..) => Response::Compared(Compared::InStep, None),
                        _ => continue,
                    };
                    Input::Told { ask, result: Ok(response) }
                }
                Output::Report(report) => {
                    reports.push(report);
                    continue;
                }
                _ => continue,
            };
            outputs.extend(lone.script.give(input));
        }
    }
    (brought, reports)
}

#[test]
fn a_home_replica_that_shows_nothing_is_brought_the_same_ever_more_rarely() {
    let mut lone = Lone::new(Duration::from_hours(24));
    let (batch, number, ask) = lone.publish();
    lone.script.give(Input::Durable(number));
    lone.script.give(Input::Told { ask, result: Ok(stored()) });
    let minutes = Duration::from_mins(5);
    // After 2, 4, 8 and 16 s, then every 30 s.
    let (times, reports) = brought(&mut lone, &batch, minutes, |_| false);
    assert!((8..=14).contains(&times), "{times}");
    let told = [Report::ShowsNothing(key(2).node(), batch.header().topic)];
    assert_eq!(reports, told, "once");
    // One that shows it is brought nothing; one that loses it then is brought it at once.
    assert_eq!(brought(&mut lone, &batch, minutes, |_| true), (0, vec![]));
    let again = brought(&mut lone, &batch, Duration::from_secs(70), |times| times > 0);
    assert_eq!(again, (1, vec![]));
}
