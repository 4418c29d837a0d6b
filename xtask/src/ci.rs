//! `cargo xtask ci`: everything that a change must pass, cheapest first, the tests last so that their closing line is
//! the last line.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{deny, features, no_arguments, sh, test, tidy};

type Step = (&'static str, fn(&Workspace) -> Result<()>);

const STEPS: &[Step] = &[
    ("lock file", lock_file),
    ("format", format),
    ("tidy", |_| tidy::main(&[])),
    ("licences, bans, sources", deny::check),
    ("lints", lints),
    ("docs", docs),
    ("feature combinations", features::check),
    ("tests", |_| test::main(Vec::new())),
];

/// Runs each step; the first that fails ends the run.
pub(crate) fn main(args: &[String]) -> Result<()> {
    no_arguments("ci", args)?;
    let workspace = Workspace::load()?;
    for (index, (name, step)) in STEPS.iter().enumerate() {
        println!("== {name} ({} of {})", index.saturating_add(1), STEPS.len());
        let started = Instant::now();
        step(&workspace).with_context(|| format!("the step `{name}` failed"))?;
        // The tests say their time themselves, so that nothing follows their closing line.
        if index.saturating_add(1) < STEPS.len() {
            println!("== {name}: {:.1} s", started.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

fn lock_file(workspace: &Workspace) -> Result<()> {
    let mut command = sh::cargo(&workspace.root, &["metadata", "--locked", "--format-version=1"]);
    sh::output(&mut command).context("Cargo.lock is not up to date: run `cargo check` and commit it").map(drop)
}

fn format(workspace: &Workspace) -> Result<()> {
    sh::run(&mut sh::cargo(&workspace.root, &["fmt", "--all", "--check"]))
}

fn lints(workspace: &Workspace) -> Result<()> {
    let mut command = sh::cargo(&workspace.root, &["clippy", "--quiet", "--all-targets", "--all-features"]);
    sh::run(command.args(workspace.all_but_bench()).args(["--", "-D", "warnings"]))
}

fn docs(workspace: &Workspace) -> Result<()> {
    let mut command = sh::cargo(&workspace.root, &["doc", "--quiet", "--no-deps", "--all-features"]);
    // The task runner is nobody's library.
    command.args(workspace.all_but_bench()).args(["--exclude", "xtask"]).env("RUSTDOCFLAGS", "-D warnings");
    sh::run(&mut command)
}
