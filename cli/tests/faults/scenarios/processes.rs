//! Processes that are killed, stopped, and come back.

use rustix::process::Signal;

use crate::{fleet::Fleet, load::pace, report::Outcome, stage::Stage};

pub(super) fn owner_killed() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(5));
    let owner = stage.owner();
    stage.faulted.insert(owner);
    stage.fleet.kill(owner);
    pace(4.0);
    stage.fleet.launch(owner).expect("it starts after a kill");
    pace(2.0);
    Outcome::Ran(stage.finish("SIGKILL of the owner of 5 nodes; restarted after 4 s"))
}

pub(super) fn all_replicas_but_one_killed() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(5));
    let killed = stage.homes()[..2].to_vec();
    for number in &killed {
        stage.faulted.insert(*number);
        stage.fleet.kill(*number);
    }
    pace(4.0);
    for number in killed {
        stage.fleet.launch(number).expect("it starts after a kill");
    }
    pace(2.0);
    Outcome::Ran(
        stage.finish("SIGKILL of 2 of the 3 replicas at once, 5 nodes; restarted after 4 s"),
    )
}

pub(super) fn all_nodes_killed() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(5));
    for round in 0..2 {
        for number in stage.fleet.running() {
            stage.faulted.insert(number);
            stage.fleet.kill(number);
        }
        for number in 0..stage.fleet.nodes.len() {
            stage.fleet.launch(number).expect("it starts after a kill");
        }
        if round == 0 {
            stage.wait_for_acknowledgements(200);
        }
    }
    pace(4.0);
    Outcome::Ran(stage.finish("SIGKILL of all 5 nodes at once, and restart, twice"))
}

pub(super) fn owner_paused() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(5));
    let owner = stage.owner();
    stage.faulted.insert(owner);
    stage.fleet.signal(owner, Signal::STOP);
    pace(10.0);
    stage.fleet.signal(owner, Signal::CONT);
    pace(3.0);
    Outcome::Ran(stage.finish("SIGSTOP of the owner of 5 nodes for 10 s, then SIGCONT"))
}

pub(super) fn flapping_paused() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(5));
    let owner = stage.owner();
    stage.faulted.insert(owner);
    for _ in 0..2 {
        stage.fleet.signal(owner, Signal::STOP);
        pace(5.0);
        stage.fleet.signal(owner, Signal::CONT);
        pace(5.0);
    }
    Outcome::Ran(stage.finish("SIGSTOP and SIGCONT of the owner every 5 s for 20 s"))
}

pub(super) fn flapping_killed() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(5));
    let owner = stage.owner();
    stage.faulted.insert(owner);
    for _ in 0..4 {
        stage.fleet.kill(owner);
        pace(2.5);
        stage.fleet.launch(owner).expect("it starts after a kill");
        pace(2.5);
    }
    Outcome::Ran(stage.finish("SIGKILL of the owner every 5 s for 20 s, back after 2.5 s"))
}
