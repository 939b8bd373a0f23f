//! Networks that are cut, in one direction or both, between some or all.

use crate::{
    fleet::Fleet,
    load::pace,
    machine::proxy::Proxy,
    report::{Outcome, Row},
    stage::Stage,
};

/// How long a network is cut, in seconds: longer than it takes to call a node dead.
const CUT_SECONDS: f64 = 8.0;

pub(super) fn partition() -> Outcome {
    let cut = |stage: &mut Stage| {
        let owner = stage.owner();
        let mut others = stage.fleet.running();
        others.retain(|number| *number != owner);
        let minority = [owner, others.pop().expect("five nodes")];
        stage.faulted.extend(minority);
        lan(stage).cut_apart(&minority, &others);
    };
    on_lan("the owner and another node cut off from the other 3, for 8 s", cut).into()
}

pub(super) fn owner_cut_off() -> Outcome {
    let cut = |stage: &mut Stage| {
        let owner = stage.owner();
        let mut others = stage.fleet.running();
        others.retain(|number| *number != owner);
        stage.faulted.insert(owner);
        lan(stage).cut_apart(&[owner], &others);
    };
    on_lan("the owner cut off from the other 4 nodes, for 8 s", cut).into()
}

pub(super) fn partition_one_way() -> Outcome {
    let cut = |stage: &mut Stage| {
        let owner = stage.owner();
        stage.faulted.insert(owner);
        for other in stage.fleet.running() {
            if other != owner {
                lan(stage).cut(owner, other);
            }
        }
    };
    on_lan("what the owner sends to the other 4 nodes is lost, for 8 s", cut).into()
}

pub(super) fn partition_partial() -> Outcome {
    let cut = |stage: &mut Stage| {
        let homes = stage.homes();
        stage.faulted.extend([homes[0], homes[1]]);
        lan(stage).cut_apart(&homes[..1], &homes[1..2]);
    };
    on_lan("two of the replicas cut off from each other only, for 8 s", cut).into()
}

fn lan(stage: &Stage) -> &crate::machine::lan::Lan {
    stage.fleet.lan.as_ref().expect("the nodes are on hosts of their own")
}

fn on_lan(happened: &str, cut: impl Fn(&mut Stage)) -> Result<Row, String> {
    let mut stage = Stage::begin(Fleet::on_lan(5)?);
    cut(&mut stage);
    pace(CUT_SECONDS);
    lan(&stage).heal();
    pace(4.0);
    Ok(stage.finish(happened))
}

pub(super) fn half_open() -> Outcome {
    let mut fleet = Fleet::start(1);
    let proxy = Proxy::start(fleet.nodes[0].port());
    let direct = fleet.nodes[0].address().expect("it has run");
    let port = format!("/tcp/{}/", fleet.nodes[0].port());
    let through = direct.replace(&port, &format!("/tcp/{}/", proxy.port()));
    for number in 1..4 {
        let home = fleet.home().join(format!("node-{number}"));
        let node = fleet.reserve(home, "127.0.0.1");
        fleet.nodes[node].bootstrap = Some(vec![through.clone()]);
        fleet.launch(node).expect("it starts");
    }
    fleet.wait_until_alive(4);
    let mut stage = Stage::begin(fleet);
    stage.faulted.insert(0);
    let before = proxy.forwarded();
    proxy.stall();
    pace(10.0);
    Outcome::Ran(stage.finish(format!(
        "3 nodes joined through a proxy to the first one ({} KiB went that way), which then took \
         bytes and forwarded none, with connections open",
        before / 1024
    )))
}
