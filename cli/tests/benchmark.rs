//! `bench`, with as little work as it does.

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Cluster, SOON, antiphon, eventually, finish};

#[test]
fn each_figure_is_an_object_and_the_pictures_and_the_table_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let (plots, csv) = (directory.path().join("plots"), directory.path().join("figures.csv"));
    let mut command =
        antiphon(&["bench", "latency", "fetch", "--short", "--json", "--records", "30"]);
    command.args(["--rounds", "2", "--plot"]).arg(&plots).arg("--csv").arg(&csv);
    let finished = finish(command, b"").ok();
    let objects = finished.objects();
    let cases: Vec<_> = objects.iter().map(|object| object["case"].as_str().unwrap()).collect();
    assert_eq!(cases, ["latency", "publish-command", "fetch", "fetch-raw"]);
    for object in &objects {
        assert_eq!(
            (&object["nodes"], &object["replicas_wanted"]),
            (&3.into(), &3.into()),
            "{object}"
        );
        assert!(object["records"].as_u64().unwrap() > 0 && object["rounds"] == 2, "{object}");
    }
    assert!(objects[0]["p50_us"].as_u64().unwrap() <= objects[0]["max_us"].as_u64().unwrap());
    for picture in ["latency-latency.svg", "latency-latency.png", "fetch-throughput.svg"] {
        assert!(plots.join(picture).is_file(), "{picture}");
    }
    let text = std::fs::read_to_string(csv).unwrap();
    assert!(text.starts_with("case,nodes,replicas_wanted,size,in_flight,records,"), "{text}");
    assert_eq!(text.lines().count(), 1 + objects.len());
}

#[test]
fn nodes_of_a_closed_network_are_measured_as_well() {
    let words = ["bench", "latency", "publish", "--closed", "--short", "--json"];
    let finished = finish(antiphon(&[&words[..], &["--records", "30"]].concat()), b"").ok();
    assert_eq!(finished.objects().len(), 3);
}

#[test]
fn a_running_network_is_measured_and_left_running() {
    let cluster = Cluster::start(3);
    let finished = cluster.run(1, &["bench", "publish", "--records", "200", "--json"]).ok();
    let object = finished.object();
    assert_eq!((&object["case"], &object["records"]), (&"publish".into(), &200.into()));
    assert_eq!(object["nodes"], 3);
    let topics = || cluster.run(2, &["topics"]).ok().stdout;
    assert_eq!(String::from_utf8_lossy(&topics()), "", "it cleans up after itself");
    cluster.run(1, &["bench", "publish", "--records", "200", "--keep"]).ok();
    assert!(topics().starts_with(b"bench-publish-"), "unless it is to leave them");
}

#[test]
fn a_benchmark_that_is_interrupted_deletes_its_topics() {
    let cluster = Cluster::start(1);
    let words = ["bench", "publish", "--replicas", "1", "--rate", "10", "--records", "1000000"];
    let mut bench = cluster.command(0, &words).spawn().unwrap();
    let topics = || cluster.run(0, &["topics"]).ok().stdout;
    eventually("it has made its topic", SOON, || (!topics().is_empty()).then_some(()));
    kill_process(Pid::from_child(&bench), Signal::INT).unwrap();
    let status = eventually("it ends", SOON, || bench.try_wait().unwrap());
    assert!(!status.success());
    assert_eq!(String::from_utf8_lossy(&topics()), "");
}

#[test]
fn fewer_copies_than_one_might_think_are_told() {
    let words = ["bench", "publish", "--nodes", "1", "--replicas", "3", "--records", "10"];
    finish(antiphon(&words), b"").ok().saying(&["1 node cannot hold 3 replicas"]);
}
