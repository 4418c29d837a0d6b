//! Runs the examples that finish by themselves, each in an empty folder of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::services::{Service, Variable};
use crate::summary::Summary;

/// Examples that are compiled but not run, and why.
const NOT_RUN: &[(&str, &str)] = &[("large_body", "moves gigabytes; run it by hand")];

/// After how long an example counts as hung.
const LIMIT: Duration = Duration::from_secs(120);

/// An example, built.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Example {
    pub(crate) package: String,
    pub(crate) name: String,
    pub(crate) executable: PathBuf,
}

/// Runs each and adds a row for it; a failing one does not keep the others from running.
///
/// An example that has the name of a server needs it, and is left out with it.
pub(crate) fn run(
    examples: &[Example],
    without: &[Service],
    environment: &[Variable],
    summary: &mut Summary,
) -> Result<()> {
    for example in examples {
        if without.iter().any(|service| service.name() == example.name) {
            println!("\n     Example {} is compiled, not run: its server is left out", example.name);
            continue;
        }
        if let Some((_, reason)) = NOT_RUN.iter().find(|(name, _)| *name == example.name) {
            println!("\n     Example {} is compiled, not run: {reason}", example.name);
            continue;
        }
        println!("\n     Example {} of {}", example.name, example.package);
        let mut command = Command::new(&example.executable);
        let passed = run_one(command.envs(environment.iter().cloned()), LIMIT)
            .with_context(|| format!("cannot run {}", example.executable.display()))?;
        summary.add(format!("{} example {}", example.package, example.name), passed);
    }
    Ok(())
}

/// Whether it ends well within `limit`.
fn run_one(command: &mut Command, limit: Duration) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    // Whatever it leaves behind goes with the folder.
    command.current_dir(folder.path()).env("XDG_CACHE_HOME", folder.path()).env("TMPDIR", folder.path());
    let mut child = command.stdin(Stdio::null()).spawn()?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                println!("the example failed ({status})");
            }
            return Ok(status.success());
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            println!("the example was ended after {} s", limit.as_secs());
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cargo(args: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    #[test]
    fn an_example_passes_only_if_it_ends_well_and_in_time() {
        assert!(run_one(&mut cargo(&["--version"]), LIMIT).unwrap());
        assert!(!run_one(&mut cargo(&["no-such-subcommand-of-cargo"]), LIMIT).unwrap());
        assert!(!run_one(&mut cargo(&["--version"]), Duration::ZERO).unwrap(), "longer than no time at all");
    }

    #[test]
    fn an_example_that_cannot_be_started_is_an_error() {
        let missing = Example { package: "a".into(), name: "b".into(), executable: PathBuf::from("/no/such/file") };
        assert!(run(&[missing], &[], &[], &mut Summary::new([].into())).is_err());
    }

    #[test]
    fn an_example_on_the_list_is_not_run() {
        let (name, _) = NOT_RUN[0];
        let listed = Example { package: "a".into(), name: name.into(), executable: PathBuf::from("/no/such/file") };
        let mut summary = Summary::new([].into());
        run(&[listed], &[], &[], &mut summary).unwrap();
        assert_eq!(summary.total().to_string(), "0 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn an_example_whose_server_is_left_out_is_not_run() {
        let example = Example { package: "a".into(), name: "mongo".into(), executable: PathBuf::from("/no/such/file") };
        let mut summary = Summary::new([].into());
        run(&[example], &[Service::Mongo], &[], &mut summary).unwrap();
        assert_eq!(summary.total().to_string(), "0 passed, 0 failed, 0 skipped");
    }
}
