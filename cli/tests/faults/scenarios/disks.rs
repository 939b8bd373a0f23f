//! Disks that lose power, fail, lie, hang, and are full.

use super::data::{reason_of, wipe};
use crate::{
    cluster::{SOON, eventually},
    fleet::Fleet,
    load::pace,
    machine::tracer::{Flush, Tracer},
    report::{Outcome, Row},
    stage::Stage,
};

/// Size of a disk, in MiB. A store sets 64 MiB aside.
const DISK: u32 = 256;

pub(super) fn power_cut_of_one() -> Outcome {
    cut_one().into()
}

fn cut_one() -> Result<Row, String> {
    let mut stage = Stage::begin(Fleet::on_disks(4, DISK)?);
    let node = stage.owner();
    stage.faulted.insert(node);
    let mut said = Vec::new();
    for _ in 0..2 {
        cut(&mut stage, &[node])?;
        pace(1.5);
        return_power(&mut stage, &[node], &mut said);
        pace(2.0);
    }
    Ok(stage.finish(format!("power of the owner's disk cut, and restart, twice{}", tail(&said))))
}

pub(super) fn power_cut_of_all() -> Outcome {
    cut_all().into()
}

fn cut_all() -> Result<Row, String> {
    let mut stage = Stage::begin(Fleet::on_disks(4, DISK)?);
    let all = stage.fleet.running();
    stage.faulted.extend(all.iter().copied());
    let mut said = Vec::new();
    for _ in 0..3 {
        stage.wait_for_acknowledgements(200);
        cut(&mut stage, &all)?;
        return_power(&mut stage, &all, &mut said);
    }
    pace(3.0);
    Ok(stage.finish(format!("power of all 4 disks cut at once, three times{}", tail(&said))))
}

fn cut(stage: &mut Stage, nodes: &[usize]) -> Result<(), String> {
    for node in nodes {
        stage.fleet.disks[*node].cut()?;
    }
    for node in nodes {
        // It may have ended by itself when its disk was gone.
        if stage.fleet.ended(*node).is_none() {
            stage.fleet.kill(*node);
        }
    }
    Ok(())
}

/// Brings disks and nodes back. One that refuses its data is wiped, which is said.
fn return_power(stage: &mut Stage, nodes: &[usize], said: &mut Vec<String>) {
    for node in nodes {
        stage.fleet.disks[*node].return_power();
    }
    for node in nodes {
        if let Err(reason) = stage.fleet.launch(*node) {
            said.push(format!("node {node} refused to start ({}), wiped", reason_of(&reason)));
            wipe(&stage.fleet.nodes[*node].data);
            stage.fleet.launch(*node).expect("it starts without data");
        }
    }
}

fn tail(said: &[String]) -> String {
    [&[String::new()], said].concat().join("; ")
}

pub(super) fn flush_fails() -> Outcome {
    if let Some(reason) = Tracer::lacking() {
        return Outcome::Skipped(reason);
    }
    let mut stage = Stage::begin(Fleet::start(5));
    let node = stage.writing_home();
    stage.faulted.insert(node);
    let mut said = Vec::new();
    for flush in [Flush::Fails, Flush::FindsNoSpace] {
        let words = strike(&mut stage, node, flush);
        if words.contains("error") {
            said.push(words);
        } else {
            stage.problem(format!("it ended without a reason: {words}"));
        }
    }
    let said = said.join("; ");
    Outcome::Ran(
        stage.finish(format!("EIO, then ENOSPC from a replica's flushes; it ended: {said}")),
    )
}

pub(super) fn killed_at_flush() -> Outcome {
    if let Some(reason) = Tracer::lacking() {
        return Outcome::Skipped(reason);
    }
    let mut stage = Stage::begin(Fleet::start(5));
    let node = stage.writing_home();
    stage.faulted.insert(node);
    for _ in 0..3 {
        strike(&mut stage, node, Flush::Kills);
    }
    Outcome::Ran(stage.finish("SIGKILL of a replica at the moment of a flush, three times"))
}

/// Lets flushes do so until the node ends, and starts it again; its last words.
fn strike(stage: &mut Stage, node: usize, flush: Flush) -> String {
    let tracer = Tracer::attach(stage.fleet.pid(node), flush);
    let words = eventually("the node ends", SOON, || stage.fleet.ended(node));
    drop(tracer);
    pace(1.5);
    stage.fleet.launch(node).expect("it starts when its disk is well");
    pace(1.5);
    words
}

pub(super) fn flush_lies() -> Outcome {
    lie().into()
}

fn lie() -> Result<Row, String> {
    if let Some(reason) = Tracer::lacking() {
        return Err(reason);
    }
    let mut stage = Stage::begin(Fleet::on_disks(4, DISK)?);
    let node = stage.writing_home();
    stage.faulted.insert(node);
    let tracer = Tracer::attach(stage.fleet.pid(node), Flush::Lies);
    pace(4.0);
    let mut said = Vec::new();
    cut(&mut stage, &[node])?;
    drop(tracer);
    return_power(&mut stage, &[node], &mut said);
    pace(3.0);
    let happened = "flushes of a replica do nothing for 4 s, then its power is cut";
    Ok(stage.finish(format!("{happened}{}", tail(&said))))
}

pub(super) fn flush_hangs() -> Outcome {
    if let Some(reason) = Tracer::lacking() {
        return Outcome::Skipped(reason);
    }
    let mut stage = Stage::begin(Fleet::start(5));
    let owner = stage.owner();
    stage.faulted.insert(owner);
    let tracer = Tracer::attach(stage.fleet.pid(owner), Flush::HangsTwoSeconds);
    pace(8.0);
    drop(tracer);
    pace(3.0);
    Outcome::Ran(stage.finish("every flush of the owner takes 2 s, for 8 s"))
}

pub(super) fn disk_full() -> Outcome {
    fill().into()
}

fn fill() -> Result<Row, String> {
    let mut stage = Stage::begin(Fleet::on_disks(4, DISK)?);
    let node = stage.writing_home();
    stage.faulted.insert(node);
    let other_topic = "scratch".parse().expect("a name");
    stage.fleet.create(&other_topic, 3, 2);
    stage.fleet.disks[node].fill_but(64 * 1024);
    let refused = eventually("a full node refuses", SOON, || {
        stage.fleet.publish(node, &other_topic).err().filter(|error| error.contains("is full"))
    });
    pace(4.0);
    let words = stage.fleet.ended(node);
    let runs = words.is_none();
    if let Some(words) = words {
        stage.problem(format!("it ended: {words}"));
    }
    let readable: Vec<_> = stage.fleet.running();
    for number in readable {
        if let Err(error) = stage.fleet.fetch(number, &stage.topic) {
            stage.problem(format!("node {number} cannot be read meanwhile: {error}"));
        }
    }
    let told = stage.told();
    stage.fleet.disks[node].empty();
    if runs {
        eventually("a node with space again accepts", SOON, || {
            stage.fleet.publish(node, &other_topic).ok()
        });
    } else {
        stage.fleet.launch(node).expect("it starts when there is room");
    }
    pace(3.0);
    Ok(stage.finish(format!(
        "a replica's disk full; it ran on, could be read, and refused (`{refused}`) until there \
         was space; publishers were told: {told}"
    )))
}
