//! The arguments, and the run that they ask for.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::alloc::Allocator;
use crate::probe::Probe;
use crate::rows::{self, Bench, Row};
use crate::runner::{self, Outcome};
use crate::{Result, table};

/// Measures hyper-client-cache beside hand-written floors and its peers, and prints Markdown tables.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The rows to measure, such as P1; all of them where none is named.
    rows: Vec<String>,

    /// How many rounds count.
    #[arg(long, default_value_t = 9)]
    rounds: usize,

    /// Shorter samples and smaller stores: to see that it runs, not to quote.
    #[arg(long)]
    quick: bool,

    /// How many entries large stores have: a million, or 20,000 with `--quick`. In files at most 100,000.
    #[arg(long)]
    entries: Option<u64>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// One measurement in this process; the bench starts this itself.
    #[command(hide = true)]
    Probe(Probe),
}

/// Runs the program on the command line's arguments. `allocator` is what counts, where the program runs on one.
pub fn main(allocator: Option<Allocator>) -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::Probe(probe)) => probe.run(allocator).map(|value| println!("{value}")),
        None => bench(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> Result<()> {
    let rows = rows::select(&arguments.rows)?;
    let budget = Duration::from_millis(if arguments.quick { 20 } else { 100 });
    let many = arguments.entries.unwrap_or(if arguments.quick { 20_000 } else { 1_000_000 });
    let bench = Bench::new(budget, many, arguments.quick)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut outcomes = Vec::new();
    let mut failed = Vec::new();
    for row in rows {
        // One row that fails does not lose what the others have measured.
        let measured = runtime.block_on(async {
            let measured = measure(row, &bench, arguments.rounds, &mut outcomes).await;
            measured.and(bench.clean_up().await)
        });
        if let Err(error) = measured {
            eprintln!("{row:?} failed: {error}");
            failed.push(row);
        }
    }
    println!("{}\n{}", table::summary(&outcomes), table::details(&outcomes));
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {failed:?}").into()) }
}

async fn measure(row: Row, bench: &Bench, rounds: usize, outcomes: &mut Vec<Outcome>) -> Result<()> {
    for experiment in row.experiments(bench).await? {
        eprintln!("{}: {}", experiment.row, experiment.what);
        outcomes.push(runner::run(experiment, rounds).await?);
    }
    Ok(())
}
