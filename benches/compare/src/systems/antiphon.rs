//! Antiphon: its own command starts the cluster, measures, and checks what is there.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    cases::{Case, Measured},
    processes::Process,
};

/// Runs `antiphon bench` once.
pub(crate) async fn measure(
    program: &Path,
    directory: &Path,
    case: &Case,
    messages: usize,
) -> Result<Measured> {
    let name = if case.one_at_a_time() { "latency" } else { "publish" };
    let mut command = Command::new(program);
    command.args(["bench", name, "--nodes", "3", "--replicas", "3", "--json"]);
    command.args(["--size", &case.size.to_string(), "--records", &messages.to_string()]);
    if !case.one_at_a_time() {
        command.args(["--in-flight", &case.in_flight.to_string()]);
    }
    // So its data is on the same disk as everyone's.
    command.env("TMPDIR", directory).env_remove("ANTIPHON_NODE");
    let process = Process::start("antiphon bench", directory, &mut command)?.asked_to_end();
    let output = process.output(Duration::from_mins(5)).await?;
    read(&output, name, case, messages).with_context(|| format!("what it printed: {output}"))
}

/// The figures in the line of this case.
fn read(output: &str, name: &str, case: &Case, messages: usize) -> Result<Measured> {
    let line = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["case"] == name)
        .with_context(|| format!("no line of the case {name}"))?;
    let number = |key: &str| line[key].as_f64().with_context(|| format!("no number {key}"));
    for (key, value) in [("replicas_wanted", 3), ("size", case.size), ("records", messages)] {
        ensure!(line[key] == value, "{key} is {}, not {value}", line[key]);
    }
    if !case.one_at_a_time() {
        ensure!(line["in_flight"] == case.in_flight, "in_flight is {}", line["in_flight"]);
    }
    let latency =
        if case.one_at_a_time() { Some((number("p50_us")?, number("p99_us")?)) } else { None };
    Ok(Measured { messages, per_second: number("records_per_s")?, latency })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::CASES;

    const LINE: &str = r#"{"case":"publish","nodes":3,"replicas_wanted":3,"size":128,"in_flight":512,"records":10,"records_per_s":250000,"mb_per_s":32,"p50_us":1000,"p90_us":1100,"p99_us":1900.5,"p999_us":2000,"max_us":2100}"#;

    #[test]
    fn reads_the_line_of_its_case() {
        let output = format!("{{\"case\":\"other\"}}\n{LINE}\n");
        let measured = read(&output, "publish", &CASES[0], 10).expect("read");
        assert!((measured.per_second - 250_000.0).abs() < 0.5);
        assert!(read(&output, "latency", &CASES[0], 10).is_err());
    }

    #[test]
    fn refuses_figures_of_another_load() {
        assert!(read(LINE, "publish", &CASES[1], 10).is_err());
        assert!(read(LINE, "publish", &CASES[0], 11).is_err());
    }
}
