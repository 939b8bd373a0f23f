//! `antiphon bench`
//!
//! Measures what users would ask about, by the same ways that they use: processes, clients, disks.
//! Every case has nodes of its own, each a process on this machine, unless `--node` names a
//! running one. No promise is weakened for a figure: what was acknowledged is read back and
//! counted.

mod bed;
mod cases;
mod load;
mod made;
mod measured;
mod payloads;
mod plots;
mod reading;
mod usage;

use std::{collections::BTreeSet, fmt::Write as _};

use self::{
    bed::Bed,
    cases::Run,
    made::Made,
    measured::{BRIEF, COLUMNS, Outcome},
    payloads::Payloads,
    plots::Plots,
};
use super::operator::operating;
use crate::{
    arguments::{Bench, BenchCase},
    context::Context,
    exit::{Failure, Status},
    printer::{OutputError, Printer},
    signals::Signals,
    table::Table,
};

/// What is measured where the command line names nothing.
const CASES_DEFAULT: [BenchCase; 4] =
    [BenchCase::Publish, BenchCase::Latency, BenchCase::Fetch, BenchCase::Fanout];

/// Nodes and replicas that are tried for the plots.
const NODES_TRIED: std::ops::RangeInclusive<u16> = 1..=8;
const REPLICAS_TRIED: std::ops::RangeInclusive<u16> = 1..=5;

/// Measures, and prints what came of it.
pub(super) async fn run(context: &mut Context, arguments: Bench) -> anyhow::Result<Status> {
    // From here on a signal ends the nodes that were started, too.
    let mut signals = Signals::listen()?;
    let made = Made::default();
    let result = tokio::select! {
        result = measure(context, &arguments, &made) => result.map(|()| Status::Done),
        () = signals.next() => Err(Failure::failed("interrupted").into()),
    };
    let topics = made.take();
    if !arguments.keep && !topics.is_empty() {
        let asked = operating(context).await?;
        tokio::select! {
            () = made::delete(&asked.client, &mut context.printer, topics) => {}
            () = signals.next() => {}
        }
    }
    result
}

async fn measure(context: &mut Context, arguments: &Bench, made: &Made) -> anyhow::Result<()> {
    let is_running = !context.options.nodes().is_empty();
    let own = match (arguments.nodes, arguments.probation, arguments.closed) {
        (Some(_), ..) => Some("`--nodes` starts nodes"),
        (None, Some(_), _) => Some("`--probation` is for nodes that it starts"),
        (None, None, true) => Some("`--closed` is for nodes that it starts"),
        (None, None, false) => None,
    };
    if let Some(own) = own.filter(|_| is_running) {
        let failure = Failure::usage(format!("{own}, `--node` names one that runs"));
        return Err(failure.with_hint("leave one of them away").into());
    }
    let payloads = match &arguments.payload_from {
        Some(path) => Payloads::from_file(path)?,
        None => Payloads::noise(),
    };
    let plots = arguments.plot.as_deref().map(Plots::into_directory).transpose()?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for case in chosen(arguments, is_running)? {
        let median = rounds(context, arguments, &payloads, case, is_running, made).await?;
        for outcome in &median {
            if context.printer.is_json() {
                context.printer.object(&outcome.to_json())?;
                context.printer.flush()?;
            }
            if let Some(plots) = &plots {
                plots.outcome(outcome)?;
            }
        }
        outcomes.extend(median);
        if let (BenchCase::Publish, Some(plots)) = (case, &plots) {
            outcomes.extend(
                Box::pin(vary(context, arguments, &payloads, plots, is_running, made)).await?,
            );
        }
    }
    if !context.printer.is_json() {
        show(&mut context.printer, &outcomes)?;
    }
    if let Some(path) = &arguments.csv {
        fs_err::write(path, csv(&outcomes))?;
    }
    Ok(())
}

/// All figures for a program; for a person those that fit a terminal, and the others below.
fn show(printer: &mut Printer, outcomes: &[Outcome]) -> Result<(), OutputError> {
    let is_brief = printer.is_brief();
    let shown: Vec<usize> = if is_brief { BRIEF.to_vec() } else { (0..COLUMNS.len()).collect() };
    let header: Vec<_> = shown.iter().map(|at| COLUMNS[*at]).collect();
    let mut table = Table::new(&header);
    for row in outcomes.iter().map(Outcome::to_row) {
        table.push(shown.iter().map(|at| row[*at].clone()).collect());
    }
    printer.table(&table)?;
    let remarks = outcomes.iter().filter_map(Outcome::remark).filter(|_| is_brief);
    remarks.into_iter().try_for_each(|remark| printer.line(remark))
}

/// The cases in the order in which they are measured, each once.
fn chosen(arguments: &Bench, is_running: bool) -> anyhow::Result<Vec<BenchCase>> {
    let named: BTreeSet<_> = arguments.cases.iter().copied().collect();
    let wanted = |case: &BenchCase| {
        if named.is_empty() {
            CASES_DEFAULT.contains(case)
        } else {
            named.contains(case) || named.contains(&BenchCase::All)
        }
    };
    let mut chosen: Vec<_> = BenchCase::EACH.into_iter().filter(wanted).collect();
    if is_running {
        if let Some(case) = chosen.iter().find(|case| case.is_disruptive() && named.contains(case))
        {
            let name = clap::ValueEnum::to_possible_value(case);
            let name = name.map_or(String::new(), |name| name.get_name().to_owned());
            let message = format!("`{name}` stops and starts nodes, so it needs its own");
            return Err(Failure::usage(message).with_hint("run it without `--node`").into());
        }
        chosen.retain(|case| !case.is_disruptive());
    }
    Ok(chosen)
}

/// Measures a case as often as is wanted; the median of each of its figures.
async fn rounds(
    context: &mut Context,
    arguments: &Bench,
    payloads: &Payloads,
    case: BenchCase,
    is_running: bool,
    made: &Made,
) -> anyhow::Result<Vec<Outcome>> {
    let nodes = arguments.nodes.unwrap_or_else(|| case.nodes_default(arguments.short));
    if !is_running && nodes < arguments.replicas {
        let here = super::counted(nodes.into(), "node");
        let replicas = super::counted(arguments.replicas.into(), "replica");
        context.printer.warning(
            format_args!("{here} cannot hold {replicas}: records have fewer copies than that"),
            "`--nodes N` starts more nodes, `--replicas N` asks for fewer replicas",
        );
    }
    let mut figures: Vec<Vec<Outcome>> = Vec::new();
    for _ in 0..arguments.rounds {
        let mut bed = bed(context, arguments, nodes, is_running, made).await?;
        let mut run = Run { bed: &mut bed, arguments, printer: &context.printer, payloads };
        let measured = case.measure(&mut run).await;
        bed.stop().await;
        let measured = measured?;
        figures.resize_with(measured.len(), Vec::new);
        for (figure, outcome) in figures.iter_mut().zip(measured) {
            figure.push(outcome);
        }
    }
    Ok(figures.into_iter().map(Outcome::median).collect())
}

fn nodes_for_publish(arguments: &Bench) -> u16 {
    arguments.nodes.unwrap_or_else(|| BenchCase::Publish.nodes_default(arguments.short))
}

async fn bed(
    context: &mut Context,
    arguments: &Bench,
    nodes: u16,
    is_running: bool,
    made: &Made,
) -> anyhow::Result<Bed> {
    if is_running {
        Bed::running(context, made.clone()).await
    } else {
        Bed::start(nodes.into(), arguments).await
    }
}

/// Varies the publishing load, and draws what comes of it.
async fn vary(
    context: &mut Context,
    arguments: &Bench,
    payloads: &Payloads,
    plots: &Plots,
    is_running: bool,
    made: &Made,
) -> anyhow::Result<Vec<Outcome>> {
    let nodes = nodes_for_publish(arguments);
    let mut bed = bed(context, arguments, nodes, is_running, made).await?;
    let run = Run { bed: &mut bed, arguments, printer: &context.printer, payloads };
    let by_size = run.by_size().await?;
    plots.by_size(&by_size)?;
    let by_in_flight = run.by_in_flight().await?;
    plots.by_in_flight(&by_in_flight)?;
    bed.stop().await;
    let mut all = [by_size, by_in_flight].concat();
    if is_running {
        return Ok(all);
    }
    let mut by_nodes = Vec::new();
    for nodes in NODES_TRIED {
        let mut bed = Bed::start(nodes.into(), arguments).await?;
        let run = Run { bed: &mut bed, arguments, printer: &context.printer, payloads };
        by_nodes.push(run.with_replicas(arguments.replicas).await?);
        bed.stop().await;
    }
    plots.by_nodes(&by_nodes)?;
    let mut by_replicas = Vec::new();
    let mut bed = Bed::start((*REPLICAS_TRIED.end()).into(), arguments).await?;
    for replicas in REPLICAS_TRIED {
        let run = Run { bed: &mut bed, arguments, printer: &context.printer, payloads };
        by_replicas.push(run.with_replicas(replicas).await?);
    }
    bed.stop().await;
    plots.by_replicas(&by_replicas)?;
    all.extend(by_nodes);
    all.extend(by_replicas);
    Ok(all)
}

/// The figures with a header; what has no value is empty.
fn csv(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let object = outcome.to_json();
        // What only some cases tell has no column.
        let cells = object.as_object().into_iter().flatten().filter(|(name, _)| *name != "also");
        if text.is_empty() {
            let names: Vec<_> = cells.clone().map(|(name, _)| name.as_str()).collect();
            let _ = writeln!(text, "{}", names.join(","));
        }
        let values: Vec<_> = cells
            .map(|(_, value)| match value {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            })
            .collect();
        let _ = writeln!(text, "{}", values.join(","));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};

    fn arguments(line: &str) -> Bench {
        let words: Vec<_> = line.split(' ').map(std::ffi::OsString::from).collect();
        match Arguments::read(&words).unwrap().command {
            Command::Bench(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn cases_are_measured_once_and_in_their_order() {
        let chosen = |line, is_running| chosen(&arguments(line), is_running).unwrap();
        assert_eq!(chosen("antiphon bench", false), CASES_DEFAULT);
        assert_eq!(chosen("antiphon bench all publish", false), BenchCase::EACH);
        let two = [BenchCase::Publish, BenchCase::Failover];
        assert_eq!(chosen("antiphon bench failover publish failover", false), two);
        let all = chosen("antiphon bench all", true);
        assert!(!all.is_empty() && !all.iter().any(|case| case.is_disruptive()));
    }

    #[test]
    fn nodes_of_others_are_not_stopped() {
        let refused = chosen(&arguments("antiphon bench catch-up"), true).unwrap_err();
        assert!(refused.to_string().contains("`catch-up` stops and starts nodes"), "{refused}");
    }
}
