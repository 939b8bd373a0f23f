//! Nodes that come and go for good.

use crate::{fleet::Fleet, load::pace, report::Outcome, stage::Stage};

pub(super) fn nodes_added_and_removed() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(3));
    for _ in 0..3 {
        stage.fleet.add();
        pace(1.5);
    }
    stage.fleet.wait_until_alive(6);
    // One by one, with time for the others to hold what it held.
    stage.faulted.extend([1, 2]);
    assert_eq!(stage.fleet.stop(1), 0);
    pace(4.0);
    stage.fleet.kill(2);
    pace(4.0);
    // Their places are taken at once, not only after the ten minutes that a node may be away.
    for gone in [1, 2] {
        if let Err(reason) = stage.fleet.forget(0, gone) {
            stage.problem(format!("node {gone} is not forgotten: {reason}"));
        }
    }
    Outcome::Ran(stage.finish("3 nodes joined 3, then 2 of the first left for ever"))
}

pub(super) fn nodes_leave() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(5));
    for _ in 0..2 {
        let owner = stage.owner();
        stage.faulted.insert(owner);
        if let Err(reason) = stage.fleet.leave(owner) {
            stage.problem(format!("node {owner} did not leave: {reason}"));
        }
        stage.wait_for_acknowledgements(200);
    }
    Outcome::Ran(stage.finish("the owner of 5 nodes handed everything over and left, twice"))
}
