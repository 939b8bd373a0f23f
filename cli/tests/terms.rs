//! How long topics keep their records, changing that, and deleting topics.

use crate::cluster::{Cluster, Finished, SOON, earthquakes, eventually};

fn records(cluster: &Cluster, node: usize, topic: &str) -> u64 {
    let info = cluster.run(node, &["info", topic, "--json"]).ok().object();
    info["records"].as_u64().expect("a number of records")
}

fn status(finished: &Finished) -> Vec<serde_json::Value> {
    finished.stderr.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

#[test]
fn a_topic_keeps_its_newest_records_and_says_what_is_gone() {
    let mut cluster = Cluster::start(3);
    let words = ["create", "quakes", "--retain-records", "320", "--json"];
    let created = cluster.run(0, &words).ok().object();
    assert_eq!(created["retain_records"], 320);
    let (path, lines) = earthquakes();
    let events = fs_err::read(path).unwrap();
    // In small batches, for whole batches go.
    for part in events.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>().chunks(40) {
        cluster.run_with(0, &["publish", "quakes"], &part.concat()).ok();
    }
    // At every replica: each lets go in its own time, up to a thirty-second part and a batch more
    // than is to be kept.
    eventually("the oldest are gone", SOON, || {
        (records(&cluster, 1, "quakes") <= 320 + 10 + 40).then_some(())
    });
    let all = cluster.run(2, &["fetch", "quakes"]).ok();
    let all = all.saying(&["trimmed: ", "deleted by retention"]);
    let kept: Vec<_> = all.stdout.split_inclusive(|byte| *byte == b'\n').collect();
    assert!((320..=370).contains(&kept.len()), "{} records", kept.len());
    let newest: Vec<u8> = lines[lines.len() - kept.len()..].join(&b'\n');
    assert!(all.stdout.strip_suffix(b"\n") == Some(&newest), "the newest, in order");

    let read = cluster.run(1, &["subscribe", "quakes", "-n", "10", "--json"]).ok();
    assert_eq!(read.objects().len(), 10);
    let told: Vec<_> = status(&read).into_iter().filter(|it| it["status"] == "trimmed").collect();
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(told["records"], (lines.len() - kept.len()) as u64);
    assert_eq!(
        (&told["ranges"][0]["from"], &told["ranges"][0]["to"]),
        (&0.into(), &told["records"])
    );

    cluster.kill(2);
    cluster.restart(2, 0);
    cluster.wait_until_alive(3);
    cluster.wait_until_complete(2, "quakes", 3, SOON);
    assert_eq!(records(&cluster, 2, "quakes"), kept.len() as u64, "nothing came back");
}

#[test]
fn terms_are_altered_at_any_node() {
    let cluster = Cluster::start(3);
    cluster.run(0, &["create", "t"]).ok();
    for number in 0..20 {
        cluster.run(0, &["publish", "t", &number.to_string()]).ok();
    }
    let altered = cluster.run(1, &["alter", "t", "--retain-records", "5", "--json"]).ok().object();
    assert_eq!(
        (&altered["status"], &altered["retain_records"]),
        (&"topic_altered".into(), &5.into())
    );
    eventually("the oldest are gone", SOON, || (records(&cluster, 2, "t") <= 6).then_some(()));
    cluster.run(2, &["alter", "t", "--retain-records", "none", "--replicas", "2"]).ok();
    let info = cluster.run(0, &["info", "t", "--json"]).ok().object();
    assert_eq!(
        (&info["retain_records"], &info["replicas_wanted"]),
        (&serde_json::Value::Null, &2.into())
    );
    let shown = cluster.run(0, &["info", "t"]).ok().stdout;
    assert!(String::from_utf8_lossy(&shown).contains("keeps     all records"));

    let wrong = |words: &[&str], status, texts: &[&str]| {
        cluster.run(0, words).with_status(status).without_data().saying(texts);
    };
    wrong(&["alter", "t"], 2, &["no option says what to change", "hint: "]);
    wrong(&["alter", "nowhere", "--replicas", "2"], 1, &["does not exist", "hint: "]);
    wrong(&["alter", "t", "--min-copies", "3"], 2, &["3 copies", "hint: "]);
    wrong(&["alter", "t", "--retain-age", "0s"], 2, &["the limit is zero", "`none`"]);
    wrong(&["create", "u", "--retain-bytes", "0"], 2, &["the limit is zero", "`none`"]);
    assert_eq!(
        cluster.run(0, &["info", "t", "--json"]).ok().object()["min_copies"],
        info["min_copies"]
    );
}

#[test]
fn a_deleted_topic_does_not_come_back_and_its_name_can_be_used() {
    let mut cluster = Cluster::start(4);
    cluster.run(0, &["create", "t"]).ok();
    cluster.run(0, &["publish", "t", "old"]).ok();
    cluster.run(0, &["subscribe", "t", "--as", "alice", "-n", "1"]).ok();
    let cursor = cluster.run(0, &["info", "t", "--json"]).ok().object()["cursor"].clone();
    cluster.run(1, &["delete", "t"]).with_status(2).saying(&["confirmed", "--yes"]);
    let owners = cluster.replicas(0, "t");
    let away = cluster.number(owners[0]["peer"].as_str().unwrap());
    let here = (0..4).find(|number| *number != away).unwrap();
    cluster.kill(away);
    let deleted = cluster.run(here, &["delete", "t", "--yes", "--json"]).ok().object();
    assert_eq!((&deleted["status"], &deleted["topic"]), (&"topic_deleted".into(), &"t".into()));
    for words in [&["publish", "t", "m"][..], &["fetch", "t"], &["delete", "t", "--yes"]] {
        cluster.run(here, words).with_status(1).without_data().saying(&["does not exist"]);
    }
    cluster.run(here, &["create", "t"]).ok();
    cluster.run(here, &["publish", "t", "new"]).ok();
    cluster.restart(away, here);
    cluster.wait_until_alive(4);
    cluster.wait_until_complete(here, "t", 3, SOON);
    eventually("the one that was away knows of it", SOON, || {
        // It may learn that while it is asked.
        let read = cluster.run(away, &["fetch", "t"]);
        (read.status == 0 && read.stdout == b"new\n").then_some(())
    });
    for number in 0..4 {
        assert_eq!(cluster.run(number, &["fetch", "t"]).ok().stdout, b"new\n");
    }
    let fresh = cluster.run(away, &["subscribe", "t", "--as", "alice", "-n", "1"]).ok();
    assert_eq!(fresh.stdout, b"new\n", "the subscription is gone with its topic");
    let words = ["fetch", "t", "--from", cursor.as_str().unwrap()];
    let foreign = cluster.run(here, &words).with_status(2).without_data();
    foreign.saying(&["belongs to another topic", "antiphon info"]);
}
