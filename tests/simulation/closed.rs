//! Runs of closed networks: admins admit and remove members, newcomers come by tickets, strangers try
//! to get in, and all that goes wrong elsewhere goes wrong here, too.
//!
//! `SEEDS`, `FIRST` and `SEED` are those of the sweep.

use std::time::Duration;

use crate::{
    sweep::{judged, number, sweep_over},
    world::{
        World, choices::Choices, clients::Kind, closed::Plan, faults::Fault, options::Options,
        run::Outcome,
    },
};

/// Time in which all agree who belongs, beside the time after which a node counts as gone: two that
/// were cut off dial each other, and compare.
const SETTLE_WITHIN: Duration = Duration::from_mins(2);

fn draw(choices: &mut Choices) -> (Options, Plan) {
    let mut options = Options::draw(choices);
    let removes = choices.chance(750);
    let admins = 1 + choices.index(2);
    let closes = removes && choices.chance(700);
    let deceives = choices.chance(300);
    let plan = Plan {
        admins,
        removes,
        closes,
        destroys: options.destructive,
        deceives,
        forges: removes && deceives && choices.chance(600),
    };
    // What a node has that is removed for ever is lost, as if it had been destroyed.
    options.destructive |= removes;
    options.nodes_max = (options.nodes_max + 1 + choices.index(2)).min(9);
    if choices.chance(700) {
        options.faults.push(Fault::Join);
    }
    (options, plan)
}

fn run(mut choices: Choices, verbose: bool) -> Outcome {
    let (options, plan) = draw(&mut choices);
    let mut world = World::empty(choices, options, verbose);
    world.close(plan);
    for _ in 0..world.options.nodes {
        world.add_node();
    }
    world.begin();
    world.begin_admins();
    if world.violation.is_none() {
        world.suffer();
    }
    if world.violation.is_none() {
        world.heal();
        let at_most = SETTLE_WITHIN + world.options.gone_after;
        world.run_until(at_most, World::admins_are_done);
        world.settle_rosters(at_most);
    }
    if world.violation.is_none() {
        world.recover();
    }
    world.outcome()
}

impl World {
    /// Whether nodes have noted all that admins have signed.
    fn admins_are_done(&self) -> bool {
        self.clients.iter().flatten().all(|client| match &client.kind {
            Kind::Admin(admin) => admin.is_done(),
            _ => true,
        })
    }
}

pub(crate) fn run_seed(seed: u64, verbose: bool) -> Result<Outcome, String> {
    judged(|| run(Choices::of_seed(seed), verbose))
}

#[test]
fn sweep() {
    sweep_over("closed", run_seed);
}

#[test]
fn one_seed() {
    let seed = number("SEED");
    let result = run_seed(seed.unwrap_or(1), seed.is_some());
    assert!(result.is_ok(), "{result:?}");
}
