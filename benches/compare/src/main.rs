//! Antiphon, NATS JetStream and Redis Streams in turn, in one run, under the same load.
//!
//! `./run` installs what is missing, builds and starts this; see `README.md`.

mod cases;
mod clock;
mod contenders;
mod payloads;
mod plot;
mod processes;
mod report;
mod systems;

use std::{
    env,
    io::{self, Write as _},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use rustix::fs::statfs;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cases::CASES,
    contenders::{Contender, Programs},
    report::{Report, Run},
};

/// Runs Antiphon, NATS JetStream and Redis Streams in turn and compares them.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often everyone is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// About how long a measurement is to take.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// One round of a few records, to see that all of it works.
    #[arg(long)]
    short: bool,
    /// Measures only these.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<Contender>,
    /// JSON lines on standard output, and the tables on standard error.
    #[arg(long)]
    json: bool,
    /// Writes compare.svg and compare.png to this directory.
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Where everyone's data goes; it should be on a real disk.
    #[arg(long, value_name = "DIR", default_value_os_t = env::temp_dir())]
    data: PathBuf,
    /// The command `antiphon`.
    #[arg(long, value_name = "PATH", default_value = "../../target/release/antiphon")]
    #[arg(overrides_with = "antiphon")] // `run` names it before whoever calls `run`
    antiphon: PathBuf,
    /// The server of NATS.
    #[arg(long, value_name = "PATH", default_value = "nats-server")]
    #[arg(overrides_with = "nats_server")]
    nats_server: PathBuf,
    /// The server of Redis.
    #[arg(long, value_name = "PATH", default_value = "redis-server")]
    redis_server: PathBuf,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // Whichever way this ends, the processes that it owns are dropped, and so end too.
        tokio::select! {
            result = Box::pin(compare(arguments)) => result,
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })
}

async fn compare(arguments: Arguments) -> Result<()> {
    let contenders = if arguments.only.is_empty() {
        Contender::value_variants().to_vec()
    } else {
        arguments.only.clone()
    };
    let programs = Programs {
        antiphon: arguments.antiphon.clone(),
        nats_server: arguments.nats_server.clone(),
        redis_server: arguments.redis_server.clone(),
    };
    let data = arguments.data.as_path();
    let machine = machine(&programs, &contenders, data)?;
    // What is for people makes room for what is for programs.
    let say = |text: &str| -> io::Result<()> {
        if arguments.json {
            writeln!(io::stderr(), "{text}")
        } else {
            writeln!(io::stdout(), "{text}")
        }
    };
    say(&format!("{}\n", describe(&machine)))?;
    say(&report::guarantees(&contenders))?;

    let (rounds, seconds) =
        if arguments.short { (1, 0.2) } else { (arguments.rounds, arguments.seconds) };
    ensure!(rounds > 0 && seconds > 0.0, "nothing to measure");
    let mut report = Report::default();
    for round in 1..=rounds {
        for case in &CASES {
            // A B A B: what is compared was measured within the same minute.
            for contender in contenders.iter().copied().filter(|contender| contender.takes(case)) {
                let directory = tempfile::Builder::new().prefix("compare-").tempdir_in(data)?;
                let messages = contender.messages(case, seconds);
                let measured = contender
                    .measure(&programs, directory.path(), case, messages)
                    .await
                    .with_context(|| format!("{}, {}", contender.name(), case.name))?;
                let run = Run { round, case, contender, measured };
                eprintln!("{}", run.progress());
                report.runs.push(run);
            }
        }
    }

    say(&report.tables())?;
    if arguments.json {
        let mut output = io::stdout().lock();
        writeln!(output, "{machine}")?;
        for line in report.lines(&contenders) {
            writeln!(output, "{line}")?;
        }
    }
    if let Some(directory) = &arguments.plot {
        plot::draw(&report, directory)?;
        say(&format!("drawn in {}", directory.display()))?;
    }
    Ok(())
}

/// What was compared, and where.
fn machine(programs: &Programs, contenders: &[Contender], data: &Path) -> Result<Value> {
    // A flush to memory costs nothing, so with one the figures would mean nothing.
    const TMPFS: u32 = 0x0102_1994;
    let kind = statfs(data).with_context(|| format!("no directory {}", data.display()))?.f_type;
    let in_memory = u32::try_from(kind).is_ok_and(|kind| kind == TMPFS);
    let mut versions = serde_json::Map::new();
    for (prefix, program) in [
        ("antiphon", &programs.antiphon),
        ("nats", &programs.nats_server),
        ("redis", &programs.redis_server),
    ] {
        if contenders.iter().any(|contender| contender.name().starts_with(prefix)) {
            versions.insert(prefix.to_owned(), processes::version(program)?.into());
        }
    }
    Ok(json!({
        "kind": "machine",
        "processors": thread::available_parallelism().map_or(1, NonZeroUsize::get),
        "data": data.display().to_string(), "data_in_memory": in_memory, "versions": versions,
    }))
}

fn describe(machine: &Value) -> String {
    let versions = machine["versions"].as_object().into_iter().flatten();
    let mut text: Vec<String> =
        versions.map(|(_, version)| version.as_str().unwrap_or_default().to_owned()).collect();
    text.push(format!("{} processors, data in {}", machine["processors"], machine["data"]));
    if machine["data_in_memory"] == true {
        text.push("WARNING: the data is in memory, so no flush is one; see --data".to_owned());
    }
    text.join("\n")
}
