//! Data that is lost, old, doubled or damaged.

use std::path::{Path, PathBuf};

use crate::{
    fleet::{Fleet, tool},
    load::{PAYLOAD_BYTES, pace},
    report::Outcome,
    stage::Stage,
};

/// Time for a node to find by itself what is damaged in two segments, and to fetch it. What nobody
/// reads it cannot know of before.
const SCRUBBED_SECONDS: f64 = 25.0;

/// Bits that are flipped in the files of one kind.
const FLIPS: usize = 4;

pub(super) fn data_wiped() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(5));
    let node = stage.writing_home();
    stage.faulted.insert(node);
    stage.fleet.kill(node);
    wipe(&stage.fleet.nodes[node].data);
    pace(1.0);
    stage.fleet.launch(node).expect("it starts without data");
    pace(4.0);
    Outcome::Ran(stage.finish("SIGKILL of a replica; its data wiped, its key kept; restarted"))
}

pub(super) fn old_copy_restored() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(5));
    let node = stage.writing_home();
    stage.faulted.insert(node);
    let data = stage.fleet.nodes[node].data.clone();
    let backup = stage.fleet.home().join("backup");
    assert_eq!(stage.fleet.stop(node), 0);
    copy(&data, &backup);
    stage.fleet.launch(node).expect("it starts again");
    pace(3.0);
    stage.fleet.kill(node);
    fs_err::remove_dir_all(&data).expect("it is there");
    copy(&backup, &data);
    stage.fleet.launch(node).expect("it starts from a backup");
    pace(4.0);
    Outcome::Ran(stage.finish("a replica's data replaced by a copy that was 3 s old"))
}

pub(super) fn data_cloned() -> Outcome {
    let mut fleet = Fleet::start(3);
    let clone = fleet.reserve(fleet.home().join("clone"), "127.0.0.1");
    let peer = fleet.nodes[1].peer.clone();
    fleet.nodes[clone].peer = peer;
    // The last publisher knows the clone only, and begins when it is there.
    let orders = vec![vec![0, 1, 2], vec![1, 2, 0], vec![2, 0, 1], vec![clone]];
    let mut stage = Stage::begin_at(fleet, &orders, PAYLOAD_BYTES);
    stage.faulted.extend([1, clone]);
    assert_eq!(stage.fleet.stop(1), 0);
    copy(&stage.fleet.nodes[1].data.clone(), &stage.fleet.nodes[clone].data.clone());
    stage.fleet.launch(1).expect("it starts again");
    let said = if let Err(reason) = stage.fleet.launch(clone) {
        format!("the copy was refused: {reason}")
    } else {
        pace(6.0);
        if let Some(words) = stage.fleet.ended(clone) {
            format!("the copy ended by itself: {words}")
        } else {
            stage.fleet.kill(clone);
            "both ran for 6 s, then the copy was killed".to_owned()
        }
    };
    if let Some(words) = stage.fleet.ended(1) {
        stage.problem(format!("the first one ended: {words}"));
        stage.fleet.launch(1).expect("it starts again");
    }
    // It is no node of its own.
    stage.fleet.nodes[clone].peer = None;
    pace(3.0);
    Outcome::Ran(stage.finish(format!("a node's directory copied, and both started; {said}")))
}

pub(super) fn journal_cut_short() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(4));
    let node = stage.writing_home();
    stage.faulted.insert(node);
    let data = stage.fleet.nodes[node].data.clone();
    for half in ["its second half missing", "its second half zero"] {
        stage.wait_for_acknowledgements(200);
        stage.fleet.kill(node);
        for file in files_of(&data, ".seg") {
            let mut content = fs_err::read(&file).expect("it is readable");
            let written = content.iter().rposition(|byte| *byte != 0).unwrap_or(0);
            if half.ends_with("missing") {
                content.truncate(written / 2);
            } else {
                content[written / 2..].fill(0);
            }
            fs_err::write(&file, content).expect("it is writable");
        }
        must_start(&mut stage, node, &format!("after each segment had {half}"));
        pace(0.5);
        stage.check_read(node, &format!("after each segment had {half}"));
    }
    pace(SCRUBBED_SECONDS);
    Outcome::Ran(stage.finish(
        "each segment of a stopped replica damaged: its second half missing, then zero; it started",
    ))
}

pub(super) fn stored_batches_damaged() -> Outcome {
    let mut stage = Stage::begin_large(Fleet::start(3), 24 * 1024);
    let node = stage.writing_home();
    stage.faulted.insert(node);
    let data = stage.fleet.nodes[node].data.clone();
    stage.wait_for_acknowledgements(400);
    // There is much to read at the end.
    stage.load.stop_publishing();
    stage.fleet.kill(node);
    flip(&written_segments(&data), 1);
    must_start(&mut stage, node, "with damaged batches");
    pace(SCRUBBED_SECONDS);
    Outcome::Ran(stage.finish(format!(
        "{FLIPS} random bits flipped in the batches of a stopped replica; it started"
    )))
}

/// One bit in the segments of every replica, each elsewhere. Where damage costs what is damaged
/// and no more, each record is still whole in two places.
pub(super) fn journals_damaged_everywhere() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(3));
    stage.wait_for_acknowledgements(1_000);
    for node in 0..3 {
        stage.faulted.insert(node);
        stage.fleet.kill(node);
    }
    for node in 0..3 {
        let file = written_segments(&stage.fleet.nodes[node].data).remove(0);
        let mut content = fs_err::read(&file).expect("it is readable");
        let written = content.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        // The magic of a frame, in the middle. No other place has these bytes.
        let from = written / 4 * (node + 1);
        let magic = content[from..].windows(4).position(|bytes| bytes == FRAME_MAGIC);
        content[from + magic.expect("there are frames")] ^= 0x80;
        fs_err::write(&file, content).expect("it is writable");
        // What is lost is found when it is sought, and what is still there too.
        fs_err::remove_dir_all(stage.fleet.nodes[node].data.join("store/index"))
            .expect("it is there");
    }
    for node in 0..3 {
        must_start(&mut stage, node, "with a damaged segment");
    }
    Outcome::Ran(stage.finish(
        "one bit flipped in the segments of each of 3 replicas, each elsewhere, and their indexes \
         deleted",
    ))
}

/// Starts a node whose data is damaged. It is a problem if it does not start with what it has.
fn must_start(stage: &mut Stage, node: usize, how: &str) {
    if let Err(reason) = stage.fleet.launch(node) {
        stage.problem(format!("it refused to start {how}: {}", reason_of(&reason)));
        wipe(&stage.fleet.nodes[node].data);
        stage.fleet.launch(node).expect("it starts without data");
    }
}

pub(super) fn bits_flipped() -> Outcome {
    let mut stage = Stage::begin(Fleet::start(4));
    let node = stage.writing_home();
    stage.faulted.insert(node);
    let data = stage.fleet.nodes[node].data.clone();
    let peer = stage.fleet.nodes[node].peer.clone();
    let mut said = Vec::new();
    for (round, kind) in KINDS.iter().enumerate() {
        stage.wait_for_acknowledgements(200);
        stage.fleet.kill(node);
        let files = if *kind == ".seg" { written_segments(&data) } else { files_of(&data, kind) };
        if files.is_empty() {
            said.push(format!("{kind}: no such file"));
            stage.fleet.launch(node).expect("nothing was damaged");
            continue;
        }
        let key = fs_err::read(data.join("key")).expect("it has a key");
        flip(&files, round as u64 + 1);
        match stage.fleet.launch(node) {
            Ok(()) if stage.fleet.nodes[node].peer == peer => {
                said.push(format!("{kind}: it started"));
            }
            Ok(()) => {
                said.push(format!("{kind}: it started under another name"));
                stage.fleet.kill(node);
                heal(&mut stage, node, &key);
            }
            // A key has no second copy; all else the node must make the best of.
            Err(reason) => {
                let reason = reason_of(&reason);
                if *kind != KEY {
                    stage.problem(format!("{kind}: it refused to start: {reason}"));
                }
                said.push(format!("{kind}: refused to start ({reason}), wiped"));
                heal(&mut stage, node, &key);
            }
        }
        pace(0.5);
        if let Some(words) = stage.fleet.ended(node) {
            stage.problem(format!("{kind}: it ended: {}", reason_of(&words)));
            heal(&mut stage, node, &key);
        }
        // While the damage may still be there.
        stage.check_read(node, &format!("after damage to {kind}"));
    }
    Outcome::Ran(stage.finish(format!(
        "{FLIPS} random bits flipped in each kind of file of a stopped replica: {}",
        said.join("; ")
    )))
}

/// Kinds of files, by a part of their path.
const KINDS: &[&str] = &[".seg", ".jnl", "/tables/", "/current", "/v", "index/version", KEY];

/// The kind of the node's key.
const KEY: &str = "/key";

/// The first bytes of each frame of a segment.
const FRAME_MAGIC: [u8; 4] = [0xa7, b'A', b'f', 0x1e];

/// Segments with something in them.
fn written_segments(data: &Path) -> Vec<PathBuf> {
    let mut files = files_of(data, ".seg");
    let is_written =
        |file: &PathBuf| fs_err::read(file).expect("it is readable").iter().any(|byte| *byte != 0);
    files.retain(is_written);
    files
}

fn files_of(data: &Path, kind: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(data, &mut files);
    files.retain(|file| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_manifest = name.strip_prefix('v').is_some_and(|rest| rest.parse::<u64>().is_ok());
        match kind {
            "/v" => is_manifest,
            _ => file.to_string_lossy().contains(kind) && !is_manifest,
        }
    });
    if kind == KEY {
        files.retain(|file| file.file_name().is_some_and(|name| name == "key"));
    }
    files.retain(|file| fs_err::metadata(file).is_ok_and(|file| file.len() > 0));
    files.sort();
    files
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(directory).expect("it is readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// Flips bits at random places of the part of the files that was written.
fn flip(files: &[PathBuf], seed: u64) {
    let mut state = seed;
    for _ in 0..FLIPS {
        // The multiplier of PCG; good enough to be nowhere in particular.
        let mut draw = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).expect("31 bits") % below
        };
        let file = &files[draw(files.len())];
        let mut content = fs_err::read(file).expect("it is readable");
        let written = content.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        let (at, bit) = (draw(written), draw(8));
        content[at] ^= 1 << bit;
        fs_err::write(file, content).expect("it is writable");
    }
}

fn heal(stage: &mut Stage, node: usize, key: &[u8]) {
    let data = stage.fleet.nodes[node].data.clone();
    wipe(&data);
    fs_err::write(data.join("key"), key).expect("it is writable");
    stage.fleet.launch(node).expect("it starts without data");
}

/// Removes all but the key.
pub(super) fn wipe(data: &Path) {
    fs_err::remove_dir_all(data.join("store")).expect("it is there");
}

fn copy(from: &Path, to: &Path) {
    let words = ["-a", from.to_str().expect("text"), to.to_str().expect("text")];
    tool("cp", &words).expect("it is copied");
}

pub(super) fn reason_of(log: &str) -> String {
    let line = log.lines().find(|line| line.contains("error")).or_else(|| log.lines().next());
    let line = line.unwrap_or_default();
    let object = serde_json::from_str::<serde_json::Value>(line).unwrap_or_default();
    let error = object["error"].as_str().unwrap_or(line);
    error.split_once("cannot be used: ").map_or(error, |(_, reason)| reason).to_owned()
}
