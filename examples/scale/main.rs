//! What happens at 1,000, 10,000 and 1,000,000 nodes and topics.
//!
//! `cargo run --release -p antiphon --example scale [-- --short] [--json] [--seed N]`
//!
//! Where it can it runs what nodes run: the engine itself among played nodes, its placement (the
//! search here is tested against it), its limits, and the encoding of its messages. The rest is a
//! model, and each module says what it takes for granted: walks in the Kademlia table (`lookup`),
//! the gossip mesh (`mesh`), and what libp2p adds to a message (`settings`). All tables but
//! `engine` and `memory`, and `state` which rests on that, depend on the seed alone.
//!
//! `docs/scale.md` has the tables of one run and what to read from them.

mod engine;
mod lookup;
mod mesh;
mod node;
mod placement;
mod settings;
mod sizes;
mod space;
mod table;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use sizes::Sizes;
use space::{Place, Space};
use table::Table;

/// Memory of a topic and a member where the system does not tell: what it was on Linux.
const MEMORY_USUAL: (u64, u64) = (1_000, 1_000);

/// What is asked for.
#[derive(Debug)]
struct Options {
    short: bool,
    json: bool,
    seed: u64,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { short: false, json: false, seed: 1 };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--short" => options.short = true,
                "--json" => options.json = true,
                "--seed" => {
                    let value = arguments.next().ok_or("--seed needs a number")?;
                    options.seed = value.parse().map_err(|error| format!("--seed: {error}"))?;
                }
                other => return Err(format!("unknown option `{other}`")),
            }
        }
        Ok(options)
    }

    /// Numbers of nodes and of topics.
    fn scales(&self) -> &'static [usize] {
        if self.short { &[100, 1_000] } else { &[1_000, 10_000, 1_000_000] }
    }

    fn walks(&self) -> usize {
        if self.short { 50 } else { 2_000 }
    }

    fn followers(&self) -> &'static [usize] {
        if self.short { &[10, 100] } else { &[10, 100, 1_000, 10_000] }
    }

    /// Nodes, topics, and for how many seconds of virtual time.
    fn engines(&self) -> &'static [(usize, usize, u64)] {
        if self.short {
            return &[(100, 100, 10)];
        }
        &[
            (100, 1_000, 20),
            (100, 10_000, 10),
            (1_000, 1_000, 10),
            (1_000, 10_000, 5),
            (4_000, 1_000, 5),
            (10_000, 1_000, 5),
            (10_000, 10_000, 3),
        ]
    }

    /// Topics and members for the measurement of memory.
    fn memory(&self) -> (usize, usize) {
        if self.short { (2_000, 500) } else { (50_000, 10_000) }
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            let _ = writeln!(io::stderr(), "scale: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&options, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, out: &mut impl Write) -> io::Result<()> {
    let mut show = |table: &Table| table.print(options.json, out);
    // First, while nothing that was freed can be taken again.
    let (topics, members) = options.memory();
    let memory = engine::memory(topics, members, options.seed).unwrap_or(MEMORY_USUAL);
    let sizes = Sizes::measured();

    let all: Vec<Place> = (0..options.scales().iter().copied().max().unwrap_or(0))
        .map(|number| space::topic(number).place())
        .collect();
    let mut balance = placement::balance_table();
    let mut leave = placement::leave_table();
    let mut lookups = lookup::lookup_table();
    let mut walks = Vec::new();
    let mut spread = 1.0;
    for nodes in options.scales() {
        let mut random = fastrand::Rng::with_seed(options.seed ^ *nodes as u64);
        let space = Space::drawn(*nodes, &mut random);
        for topics in options.scales() {
            let above_mean = placement::balance(&space, &all[..*topics], &mut balance);
            if *nodes == 1_000 {
                spread = above_mean;
            }
            placement::leave(&space, &all[..*topics], &mut random, &mut leave);
        }
        let asked = lookup::lookups(&space, &all, options.walks(), options.seed, &mut lookups);
        walks.push((*nodes, asked));
    }
    show(&balance)?;
    show(&lookups)?;

    let mut random = fastrand::Rng::with_seed(options.seed);
    let copies_each = [false, true].map(|large| {
        let spread = mesh::spread(1_000, mesh::Way { flood: true, large }, &mut random);
        table::number(spread.sent + spread.relayed) / 1_000.0
    });
    show(&sizes::publish_table(copies_each))?;
    show(&mesh::fanout(options.followers(), &mut random))?;
    show(&mesh::followers(options.followers(), sizes.frontier))?;
    show(&node::idle(&walks, &sizes))?;
    show(&engine::engines(options.engines(), options.seed))?;
    show(&leave)?;

    let scales = options.scales();
    let pairs: Vec<_> =
        scales.iter().flat_map(|nodes| scales.iter().map(|topics| (*nodes, *topics))).collect();
    show(&node::catalogue(&pairs, &sizes))?;
    show(&node::memory_table(memory))?;
    show(&node::state(&pairs, memory, &sizes))?;
    show(&sizes.table())?;
    show(&node::limits(&sizes, spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_run_gives_a_line_of_json_for_each_row() {
        let options = Options::parse(["--short", "--json"].map(String::from).into_iter()).unwrap();
        let mut out = Vec::new();
        run(&options, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().count() > 30, "{text}");
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(row["table"].is_string(), "{line}");
        }
    }

    #[test]
    fn unknown_options_are_refused() {
        assert!(Options::parse(["--fast".to_owned()].into_iter()).is_err());
        assert!(Options::parse(["--seed".to_owned()].into_iter()).is_err());
    }
}
