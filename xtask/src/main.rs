//! The only task runner of this repository: `cargo xtask <task>`.
//!
//! Each task is one file: [`test`] runs every test, [`ci`] everything that a change must pass, [`tidy`] the rules that
//! no compiler checks, [`bench`] the measurements, [`services`] the servers that tests need.
//! [`features`] holds the one list of feature combinations, [`workspace`] what cargo knows about the crates, and
//! [`sh`] runs commands.

mod bench;
mod ci;
mod deny;
mod examples;
mod features;
mod services;
mod sh;
mod summary;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask <task>

  test      run all tests of all crates, and the quick examples; ends with `N passed, N failed, N skipped`
              -p, --package CRATE   only this crate (may be repeated)
              --allow-skip NAME     an ignored test that does not fail the run (may be repeated)
              --without SERVICE     leave out what needs this server (may be repeated)
              --no-examples         run no examples
              -- ARGS               handed on to the test binaries, a name filter for one
  tidy      check the rules that no compiler checks
  ci        everything that a change must pass: format, lints, docs, tidy, licences, feature combinations, tests
  bench     measure, beside floors and peers; arguments are handed on to the bench crate
  services  up | down | status: the servers that tests need, left running for a developer
              --without SERVICE     do not start this one (with `up`; may be repeated)
";

fn main() -> ExitCode {
    match dispatch(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(mut args: Vec<String>) -> Result<()> {
    if args.is_empty() {
        print!("{HELP}");
        return Ok(());
    }
    let rest = args.split_off(1);
    match args.first().map(String::as_str) {
        Some("test") => test::main(rest),
        Some("tidy") => tidy::main(&rest),
        Some("ci") => ci::main(&rest),
        Some("bench") => bench::main(&rest),
        Some("services") => services::main(&rest),
        Some("help" | "-h" | "--help") => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("no task `{}`\n\n{HELP}", other.unwrap_or_default()),
    }
}

/// Fails where a task that takes no arguments was given some.
fn no_arguments(task: &str, args: &[String]) -> Result<()> {
    match args.first() {
        None => Ok(()),
        Some(arg) => bail!("`cargo xtask {task}` takes no arguments, not `{arg}` either"),
    }
}
