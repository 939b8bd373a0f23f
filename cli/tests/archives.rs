//! Topics to files, and files to topics: exports, and imports here and elsewhere.

use std::path::PathBuf;

use antiphon::{
    model::{
        Batch, Descriptor, Draft, ForkProof, Incarnation, Network, NodeKey, Previous, ProducerId,
        Record, Run, Stamp, WallClock, encode_record,
    },
    wire::archive::{Encoder, Opening, Section},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cluster::{Cluster, Finished, SOON, earthquakes, eventually},
    networks::{Machines, Running},
};

/// A directory for the files of a test.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("its name is text").to_owned()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.0.path()).expect("it can be read");
        let name = |entry: fs_err::DirEntry| entry.file_name().into_string().expect("it is text");
        let mut names: Vec<_> = entries.map_while(Result::ok).map(name).collect();
        names.sort();
        names
    }
}

fn object(cluster: &Cluster, node: usize, words: &[&str]) -> Value {
    cluster.run(node, &[words, &["--json"]].concat()).ok().object()
}

fn fetched(cluster: &Cluster, node: usize, topic: &str) -> Vec<u8> {
    cluster.run(node, &["fetch", topic, "--json"]).ok().stdout
}

fn publish_each(cluster: &Cluster, topic: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        cluster.run(0, &["publish", topic, &format!("record {number}")]).ok();
    }
}

#[track_caller]
fn has(value: &Value, fields: &[(&str, u64)]) {
    for (name, expected) in fields {
        assert_eq!(value[name], *expected, "{name} in {value}");
    }
}

#[test]
fn a_topic_goes_to_another_network_with_its_signatures() {
    let (files, home) = (Files::new(), Cluster::start(3));
    let file = files.text("quakes.antiphon");
    home.run(0, &["create", "quakes"]).ok();
    let events = fs_err::read(earthquakes().0).unwrap();
    // By two writers, in batches of several sizes.
    let lines: Vec<_> = events.split_inclusive(|byte| *byte == b'\n').collect();
    for (number, part) in lines.chunks(200).enumerate() {
        home.run_with(number % 2, &["publish", "quakes"], &part.concat()).ok();
    }
    let exported = object(&home, 2, &["export", "quakes", &file]);
    assert_eq!(exported["status"], "exported");
    has(&exported, &[("records", 1_707), ("bytes", fs_err::metadata(&file).unwrap().len())]);
    assert_eq!(files.names(), ["quakes.antiphon"], "no part is left");

    let mut other = Cluster::start(3);
    let imported = object(&other, 0, &["import", &file]);
    assert_eq!((&imported["status"], &imported["topic"]), (&"imported".into(), &"quakes".into()));
    has(&imported, &[("imported", 1_707), ("present", 0), ("records", 1_707)]);
    let original = fetched(&home, 0, "quakes");
    for node in 0..3 {
        assert!(fetched(&other, node, "quakes") == original, "same ids, writers, numbers, bytes");
    }
    let again = object(&other, 1, &["import", &file]);
    has(&again, &[("imported", 0), ("present", 1_707)]);
    assert!(fetched(&other, 1, "quakes") == original);
    other.wait_until_complete(0, "quakes", 3, SOON);
    let whole = object(&other, 0, &["verify", "quakes"]);
    assert_eq!((&whole["same"], &whole["records"]), (&true.into(), &1_707.into()));

    // It is a topic like any other, also after a crash of all.
    other.run(2, &["publish", "quakes", "one more"]).ok();
    (0..3).for_each(|node| other.kill(node));
    (0..3).for_each(|node| other.restart(node, 0));
    other.wait_until_alive(3);
    assert_eq!(other.run(1, &["fetch", "quakes"]).ok().lines().len(), 1_708);
    let second = files.text("second.antiphon");
    has(&object(&other, 1, &["export", "quakes", &second]), &[("records", 1_708)]);
    has(&object(&home, 1, &["import", &second]), &[("imported", 1), ("present", 1_707)]);

    // No two topics have one id, and no two have one name.
    let taken = home.run(0, &["import", &file, "--as", "copy"]).with_status(1).without_data();
    taken.saying(&["topic `quakes`", "hint: leave out `--as`"]);
    other.run(0, &["create", "mine"]).ok();
    let taken = other.run(0, &["import", &file, "--as", "mine"]).with_status(1).without_data();
    taken.saying(&["topic `mine` exists", "hint: `--as NAME`"]);
}

#[test]
fn an_interrupted_export_goes_on_where_it_ended() {
    let (files, cluster) = (Files::new(), Cluster::start(1));
    cluster.run(0, &["create", "t"]).ok();
    publish_each(&cluster, "t", 0..12);
    let whole = files.path("whole");
    cluster.run(0, &["export", "t", whole.to_str().unwrap()]).ok();
    let bytes = fs_err::read(&whole).unwrap();
    let (file, part) = (files.path("t.antiphon"), files.path("t.antiphon.part"));
    let words = ["export", "t", file.to_str().unwrap()];
    let tails: [&[u8]; 2] = [b"", &[0; 64]];
    for cut in [0, 7, 19, 60, bytes.len() / 2, bytes.len() - 300, bytes.len() - 1, bytes.len()] {
        for tail in tails.iter().filter(|tail| tail.is_empty() || cut > 19) {
            fs_err::write(&part, [&bytes[..cut], tail].concat()).unwrap();
            let exported = object(&cluster, 0, &words);
            has(&exported, &[("records", 12), ("bytes", bytes.len() as u64)]);
            let before = exported["records_before"].as_u64().unwrap();
            assert_eq!(before > 0, cut >= bytes.len() / 2, "cut at {cut}: {before} before");
            assert!(fs_err::read(&file).unwrap() == bytes, "cut at {cut}");
            fs_err::remove_file(&file).unwrap();
        }
    }
    // One that was whole and had not got its name yet; there is more by now.
    fs_err::write(&part, &bytes).unwrap();
    publish_each(&cluster, "t", 12..14);
    has(&object(&cluster, 0, &words), &[("records", 14), ("records_before", 12)]);

    cluster.run(0, &words).with_status(1).without_data().saying(&["exists already", "--force"]);
    has(
        &object(&cluster, 0, &[&words[..], &["--force"]].concat()),
        &[("records", 14), ("records_before", 0)],
    );
    let other = files.text("u.antiphon");
    fs_err::write(files.path("u.antiphon.part"), &bytes).unwrap();
    cluster.run(0, &["create", "u"]).ok();
    let refused = cluster.run(0, &["export", "u", &other]).with_status(1).without_data();
    refused.saying(&["another topic's", "--force"]);
    fs_err::write(files.path("u.antiphon.part"), "my own notes").unwrap();
    let refused = cluster.run(0, &["export", "u", &other]).with_status(1).without_data();
    refused.saying(&["not an export that can be resumed", "--force"]);
    assert_eq!(fs_err::read(files.path("u.antiphon.part")).unwrap(), b"my own notes");
    cluster.run(0, &["export", "nowhere", &files.text("v")]).with_status(1);
    let lines = ["export", "nowhere", &files.text("v"), "--format", "ndjson"];
    cluster.run(0, &lines).with_status(1).saying(&["`nowhere` does not exist"]);
    assert!(!files.names().iter().any(|name| name.starts_with('v')), "nothing is left of it");
}

#[test]
fn a_file_that_is_not_whole_changes_nothing() {
    let (files, home, other) = (Files::new(), Cluster::start(1), Cluster::start(1));
    home.run(0, &["create", "t"]).ok();
    publish_each(&home, "t", 0..5);
    let whole = files.path("whole");
    home.run(0, &["export", "t", whole.to_str().unwrap()]).ok();
    let bytes = fs_err::read(&whole).unwrap();
    let import = |content: &[u8]| -> Finished {
        let path = files.path("file");
        fs_err::write(&path, content).unwrap();
        other.run(0, &["import", path.to_str().unwrap()]).without_data()
    };
    for position in (0..bytes.len()).step_by(bytes.len() / 23) {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        import(&damaged).with_status(1).saying(&["hint: "]);
    }
    let mut damaged = bytes.clone();
    let last = bytes.len() - 200;
    damaged[last] ^= 1;
    let told = ["is damaged after byte", "4 batches with 4 records", "nothing was imported"];
    import(&damaged).with_status(1).saying(&told).saying(&["hint: copy the file again"]);
    let told = [", before its end mark", "batches with", "nothing was imported", "hint: "];
    import(&bytes[..bytes.len() - 1]).with_status(1).saying(&told);
    import(&bytes[..bytes.len() / 2]).with_status(1).saying(&told);
    import(b"").with_status(1).saying(&[", before its end mark", "0 batches with 0 records"]);
    let longer = [&bytes[..], b"x"].concat();
    import(&longer).with_status(1).saying(&["goes on behind its end mark"]);
    let lines = home.run(0, &["fetch", "t", "--json"]).ok().stdout;
    import(&lines).with_status(1).saying(&["is not an exported topic", "antiphon publish"]);
    other.run(0, &["import", "-"]).with_status(2).saying(&["reads its file twice"]);
    other.run(0, &["import", "/nowhere"]).with_status(1).saying(&["/nowhere"]);
    assert_eq!(other.run(0, &["topics"]).ok().stdout, b"", "no topic was created");
    let imported = other.run(0, &["import", whole.to_str().unwrap()]).ok();
    assert_eq!(imported.lines().len(), 1);
    assert!(fetched(&other, 0, "t") == fetched(&home, 0, "t"));
}

#[test]
fn an_export_goes_to_standard_output_and_to_lines() {
    let (files, cluster) = (Files::new(), Cluster::start(1));
    cluster.run(0, &["create", "t"]).ok();
    cluster.run(0, &["publish", "t", "a", "b", "--key", "k", "--header", "source=x"]).ok();
    cluster.run(0, &["export", "t", &files.text("t.antiphon")]).ok();
    let output = cluster.run(0, &["export", "t", "-", "--json"]).ok();
    assert!(output.stdout == fs_err::read(files.path("t.antiphon")).unwrap());
    output.saying(&["\"status\":\"exported\"", "\"records\":2"]);
    let lines = fetched(&cluster, 0, "t");
    let output = cluster.run(0, &["export", "t", "-", "--format", "ndjson"]).ok();
    assert!(output.stdout == lines);
    let words = ["export", "t", &files.text("t.ndjson"), "--format", "ndjson"];
    has(&object(&cluster, 0, &words), &[("records", 2), ("bytes", lines.len() as u64)]);
    assert!(fs_err::read(files.path("t.ndjson")).unwrap() == lines);
    cluster.run(0, &words).with_status(1).without_data().saying(&["exists already", "--force"]);
    assert_eq!(files.names(), ["t.antiphon", "t.ndjson"]);
}

#[test]
fn a_deleted_topic_is_restored_from_its_export() {
    let (files, mut cluster) = (Files::new(), Cluster::start(3));
    let file = files.text("t.antiphon");
    cluster.run(0, &["create", "t"]).ok();
    publish_each(&cluster, "t", 0..10);
    let original = fetched(&cluster, 0, "t");
    cluster.run(0, &["export", "t", &file]).ok();
    cluster.kill(2);
    cluster.run(1, &["delete", "t", "--yes"]).ok();
    let copy = cluster.run(1, &["import", &file, "--as", "u"]).with_status(1).without_data();
    copy.saying(&["topic `t`", "hint: leave out `--as`"]);
    let restored = object(&cluster, 1, &["import", &file]);
    has(&restored, &[("imported", 10), ("present", 0)]);
    assert_eq!(restored["topic_created"], true);
    cluster.restart(2, 0);
    cluster.wait_until_alive(3);
    cluster.wait_until_complete(0, "t", 3, SOON);
    for node in 0..3 {
        cluster.kill(node);
        cluster.restart(node, (node + 1) % 3);
        cluster.wait_until_alive(3);
    }
    cluster.wait_until_complete(0, "t", 3, SOON);
    for node in 0..3 {
        assert!(fetched(&cluster, node, "t") == original, "node {node}");
    }
}

#[test]
fn what_retention_let_go_is_told_at_both_ends() {
    let (files, home, other) = (Files::new(), Cluster::start(1), Cluster::start(1));
    let file = files.text("t.antiphon");
    home.run(0, &["create", "t"]).ok();
    publish_each(&home, "t", 0..40);
    home.run(0, &["alter", "t", "--retain-records", "5"]).ok();
    eventually("the oldest are gone", SOON, || {
        (object(&home, 0, &["info", "t"])["records"] == 5).then_some(())
    });
    let exported = home.run(0, &["export", "t", &file]).ok();
    exported.saying(&["trimmed: 35 records skipped"]);
    home.run(0, &["alter", "t", "--retain-records", "none"]).ok();
    has(&object(&other, 0, &["import", &file]), &[("imported", 5), ("records", 5)]);
    let read = other.run(0, &["fetch", "t"]).ok().saying(&["trimmed: 35 records skipped"]);
    assert_eq!(read.lines().len(), 5);
    assert_eq!(object(&other, 0, &["info", "t"])["retain_records"], 5, "with its terms");
}

#[test]
fn large_records_are_imported_in_several_requests() {
    let (files, home, other) = (Files::new(), Cluster::start(1), Cluster::start(2));
    let (record, file) = (files.path("record"), files.text("t.antiphon"));
    home.run(0, &["create", "t"]).ok();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..4 {
        let content: Vec<u8> = (0..700_000).map(|_| random.u8(..)).collect();
        fs_err::write(&record, content).unwrap();
        home.run(0, &["publish", "t", "--file", record.to_str().unwrap()]).ok();
    }
    home.run(0, &["export", "t", &file]).ok();
    has(&object(&other, 0, &["import", &file]), &[("imported", 4)]);
    has(&object(&other, 1, &["import", &file]), &[("present", 4)]);
    assert!(fetched(&other, 1, "t") == fetched(&home, 0, "t"));
}

#[test]
fn an_import_that_reaches_too_few_replicas_says_so_and_goes_on() {
    let (files, home, mut other) = (Files::new(), Cluster::start(1), Cluster::start(3));
    let (few, more) = (files.text("few"), files.text("more"));
    home.run(0, &["create", "t", "--min-copies", "2"]).ok();
    // Too few nodes for that floor: pending, and stored all the same.
    for number in 0..5 {
        let words = ["publish", "t", &format!("record {number}"), "--timeout", "1s"];
        home.run(0, &words).with_status(3);
        let name = if number == 2 { &few } else { &more };
        home.run(0, &["export", "t", name, "--force"]).ok();
    }
    has(&object(&other, 0, &["import", &few]), &[("imported", 3)]);
    other.kill(1);
    other.kill(2);
    let short = ["import", &more, "--timeout", "2s"];
    let pending = other.run(0, &short).with_status(3).without_data();
    pending.saying(&[
        "too few replicas",
        "stopped with 0 records",
        "run it again, and it resumes",
        "hint: ",
    ]);
    other.restart(1, 0);
    other.restart(2, 0);
    other.wait_until_alive(3);
    let whole = object(&other, 0, &["import", &more]);
    assert_eq!(whole["imported"].as_u64().unwrap() + whole["present"].as_u64().unwrap(), 5);
    assert_eq!(other.run(1, &["fetch", "t"]).ok().lines().len(), 5);

    let lone = Cluster::start(1);
    let refused = lone.run(0, &["import", &few]).with_status(1).without_data();
    refused.saying(&["needs 2 copies, and 1 node is here", "--min-copies 1"]);
    assert_eq!(lone.run(0, &["topics"]).ok().stdout, b"");
    let words = ["import", &few, "--min-copies", "1", "--as", "u"];
    has(&object(&lone, 0, &words), &[("imported", 3)]);
    assert_eq!(lone.run(0, &["fetch", "u"]).ok().lines().len(), 3);
}

/// An archive of a topic whose writer signed two batches for one position.
fn forked_archive() -> Vec<u8> {
    let key = NodeKey::from_secret(&[7; 32]);
    let stamp = |milliseconds| Stamp::at(WallClock(1_700_000_000_000 + milliseconds));
    let mut terms = Descriptor::new("t".parse().expect("it is a name"), key.node(), stamp(0));
    terms.min_copies = 1;
    let network: Network = "elsewhere".parse().expect("it is a name");
    let topic = terms.id(&network.clone().into());
    let terms = terms.sign(&key).expect("the terms are in bounds");
    let opening = Opening::new(network, terms, topic);
    let incarnation = Incarnation(5);
    let seal = |first: u64, previous: Option<&Batch>, payload: &'static str| {
        let mut body = Vec::new();
        encode_record(&Record::new(WallClock(1), payload), &mut body).expect("it is small");
        let previous = previous.map(|batch| Previous {
            incarnation,
            next: batch.header().next(),
            hash: batch.hash(),
        });
        let draft = Draft {
            topic: opening.topic(),
            incarnation,
            previous,
            stamp: stamp(first),
            runs: vec![Run {
                producer: ProducerId([4; 16]),
                first: payload.len() as u64,
                count: 1,
            }],
        };
        draft.seal(&body.into(), &key)
    };
    let trunk = seal(0, None, "t");
    let (one, other) = (seal(1, Some(&trunk), "on"), seal(1, Some(&trunk), "oth"));
    let next = seal(2, Some(&other), "next").filed(Incarnation::of_branch(other.hash()));
    let proof = ForkProof::of(&one, &other).expect("they exclude each other");
    let root =
        |batch: Batch| Section::Batch(batch.clone().filed(Incarnation::of_branch(batch.hash())));
    let sections = [
        Section::Opening(Box::new(opening.clone())),
        Section::Batch(trunk),
        Section::Fork(proof),
        root(one),
        root(other),
        Section::Batch(next),
    ];
    let mut encoder = Encoder::default();
    let mut parts: Vec<_> =
        sections.iter().map(|it| encoder.encode(it).expect("it is in order")).collect();
    parts.push(encoder.finish().expect("it has begun"));
    parts.concat()
}

#[test]
fn branches_of_a_forked_log_go_along_with_their_proofs() {
    let (files, cluster) = (Files::new(), Cluster::start(3));
    let (given, file) = (files.text("given"), files.text("again"));
    fs_err::write(&given, forked_archive()).unwrap();
    has(&object(&cluster, 0, &["import", &given]), &[("imported", 4), ("batches", 4)]);
    cluster.wait_until_complete(0, "t", 3, SOON);
    has(&object(&cluster, 1, &["export", "t", &file]), &[("records", 4), ("batches", 4)]);
    let other = Cluster::start(1);
    has(&object(&other, 0, &["import", &file]), &[("imported", 4)]);
    let lines = cluster.run(2, &["fetch", "t", "--json"]).ok();
    assert_eq!(lines.objects().iter().filter(|line| line["forked"] == true).count(), 3);
    assert!(fetched(&other, 0, "t") == lines.stdout);
    has(&object(&other, 0, &["import", &given]), &[("imported", 0), ("present", 4)]);
}

#[test]
fn a_topic_of_a_closed_network_comes_back_there_and_elsewhere() {
    let machines = Machines::new("archived");
    let first = machines.founded();
    let ticket = machines.ticket(&first, &[]);
    machines.run("second", &["join", &ticket]).ok();
    let second = machines.start("second", &[]);
    machines.wait_until_alive(&first, 2);
    machines.ask(&first, &["create", "quakes", "--replicas", "2"]).ok();
    machines.ask(&first, &["publish", "quakes", "M 5.3", "--acks", "all"]).ok();
    machines.ask(&second, &["publish", "quakes", "M 4", "--acks", "all"]).ok();
    let file = machines.path("first", "quakes.antiphon");
    machines.ask(&first, &["export", "quakes", &file]).ok();
    let both = |machines: &Machines, node: &Running| {
        let read = machines.ask(node, &["fetch", "quakes"]).ok();
        assert_eq!(read.stdout, b"M 5.3\nM 4\n");
    };
    // Nothing is stored twice.
    machines.ask(&second, &["import", &file]).ok();
    both(&machines, &first);
    machines.ask(&first, &["delete", "quakes", "--yes"]).ok();
    machines.ask(&second, &["import", &file]).ok();
    both(&machines, &first);

    let other = Machines::new("archived-elsewhere");
    let node = other.founded();
    other.ask(&node, &["import", &file, "--replicas", "1", "--min-copies", "1"]).ok();
    both(&other, &node);
    let open = Machines::new("archived-open");
    let node = open.start("first", &[]);
    open.ask(&node, &["import", &file, "--replicas", "1", "--min-copies", "1"]).ok();
    both(&open, &node);
}
