//! `bench`, with as little work as it does.

use crate::cluster::{Cluster, antiphon, finish};

#[test]
fn each_figure_is_an_object_and_the_pictures_and_the_table_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let (plots, csv) = (directory.path().join("plots"), directory.path().join("figures.csv"));
    let mut command =
        antiphon(&["bench", "latency", "fetch", "--short", "--json", "--messages", "30"]);
    command.args(["--rounds", "2", "--plot"]).arg(&plots).arg("--csv").arg(&csv);
    let finished = finish(command, b"").ok();
    let objects = finished.objects();
    let cases: Vec<_> = objects.iter().map(|object| object["case"].as_str().unwrap()).collect();
    assert_eq!(cases, ["latency", "publish-command", "fetch", "fetch-raw"]);
    for object in &objects {
        assert_eq!((&object["nodes"], &object["replicas"]), (&3.into(), &3.into()), "{object}");
        assert!(object["messages"].as_u64().unwrap() > 0 && object["rounds"] == 2, "{object}");
    }
    assert!(objects[0]["p50_us"].as_u64().unwrap() <= objects[0]["max_us"].as_u64().unwrap());
    for picture in ["latency-latency.svg", "latency-latency.png", "fetch-throughput.svg"] {
        assert!(plots.join(picture).is_file(), "{picture}");
    }
    let text = std::fs::read_to_string(csv).unwrap();
    assert!(text.starts_with("case,nodes,replicas,size,in_flight,messages,"), "{text}");
    assert_eq!(text.lines().count(), 1 + objects.len());
}

#[test]
fn a_running_network_is_measured_and_left_running() {
    let cluster = Cluster::start(3);
    let finished = cluster.run(1, &["bench", "publish", "--messages", "200", "--json"]).ok();
    let object = finished.object();
    assert_eq!((&object["case"], &object["messages"]), (&"publish".into(), &200.into()));
    assert_eq!(object["nodes"], 3);
    let topics = cluster.run(2, &["topics"]).ok();
    assert!(topics.lines()[0].starts_with(b"bench-publish-"), "{topics:?}");
}
