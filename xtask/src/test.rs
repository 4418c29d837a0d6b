//! `cargo xtask test`: every test of every crate with all features, then the quick examples, then one closing line.
//!
//! The servers that the tests need are started before and ended after, also when the run is interrupted.
//! Only the bench crate is left out, for its peers take longer to compile than everything else together.
//! [`summary`](crate::summary) adds up, [`examples`](crate::examples) runs the examples.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;
use serde::Deserialize;

use crate::services::{Servers, Service, install};
use crate::summary::Summary;
use crate::workspace::{UMBRELLA, Workspace};
use crate::{examples, sh};

#[derive(Debug, Default)]
struct Options {
    packages: Vec<String>,
    allowed_skips: Vec<String>,
    without: Vec<Service>,
    no_examples: bool,
    /// Handed on to the test binaries.
    rest: Vec<String>,
}

/// Runs the tests that `args` select, all without any.
pub(crate) fn main(args: Vec<String>) -> Result<()> {
    let started = Instant::now();
    let options = Options::parse(args)?;
    let workspace = Workspace::load()?;
    for name in &options.packages {
        workspace.package(name)?;
    }
    let left_out = options.left_out(&workspace);
    let mut selection = if options.packages.is_empty() { workspace.all_but_bench() } else { Vec::new() };
    selection.extend(options.packages.iter().flat_map(|name| ["--package", name]));
    if options.packages.is_empty() {
        selection.extend(left_out.iter().flat_map(|name| ["--exclude", name]));
    }
    selection.push("--all-features");

    let mut needed = Service::needed_by(&options.packages);
    needed.retain(|service| !options.without.contains(service));
    tracer(&options.packages)?;
    let servers = Servers::start(&needed)?;
    let built = build(&workspace, &selection)?;
    let mut summary = Summary::new(built.tests);
    let mut command = sh::cargo(&workspace.root, &["test", "--no-fail-fast"]);
    command.args(&selection).arg("--").args(&options.rest).envs(servers.environment.iter().cloned());
    let status = sh::stream(&mut command, |line| {
        println!("{line}");
        summary.line(line);
    })?;
    summary.close();
    if !options.no_examples {
        examples::run(&built.examples, &options.without, &servers.environment, &mut summary)?;
    }
    println!("\nall tests: {:.1} s", started.elapsed().as_secs_f64());
    drop(servers);
    for service in &options.without {
        println!("left out by name: {}, and with it the tests of {}", service.name(), service.package());
    }
    close(&summary, &options.allowed_skips, status.success())
}

/// Gets what kills processes at their system calls, where the tests of these crates do: SQLite's, on Linux.
fn tracer(packages: &[String]) -> Result<()> {
    const LEFT_OUT: &str = "HCC_WITHOUT_STRACE";
    let sqlite = format!("{UMBRELLA}-sqlite");
    let is_needed = cfg!(target_os = "linux") && (packages.is_empty() || packages.contains(&sqlite));
    if !is_needed || std::env::var_os(LEFT_OUT).is_some() {
        return Ok(());
    }
    install::program("strace", "strace").with_context(|| format!("`{LEFT_OUT}=1` leaves out what needs it"))
}

/// Prints table and closing line; an error where anything failed, was skipped without leave, or nothing ran.
fn close(summary: &Summary, allowed_skips: &[String], succeeded: bool) -> Result<()> {
    let total = summary.total();
    let forbidden = summary.forbidden_skips(allowed_skips);
    println!("\n{summary}");
    for name in &forbidden {
        println!("skipped without leave: {name} (run it, or name it with `--allow-skip`)");
    }
    println!("{total}");
    if total.failed > 0 || !succeeded {
        bail!("tests failed");
    }
    if total.skipped > 0 && !forbidden.is_empty() {
        bail!("{} ignored tests fail the run", forbidden.len());
    }
    if total.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

impl Options {
    fn parse(args: Vec<String>) -> Result<Self> {
        let mut options = Self::default();
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Short('p') | Long("package") => options.packages.push(parser.value()?.string()?),
                Long("allow-skip") => options.allowed_skips.push(parser.value()?.string()?),
                Long("without") => options.without.push(Service::named(&parser.value()?.string()?)?),
                Long("no-examples") => options.no_examples = true,
                // What follows `--` comes as values.
                Value(value) => options.rest.push(value.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(options)
    }

    /// The crates that cannot be tested without the servers that are left out.
    fn left_out(&self, workspace: &Workspace) -> Vec<String> {
        let packages = self.without.iter().map(|service| service.package());
        packages.filter(|name| workspace.package(name).is_ok()).collect()
    }
}

/// The executables of a build.
#[derive(Debug, Default)]
struct Built {
    /// Crate and target of each test binary, by the file name of its executable.
    tests: BTreeMap<String, String>,
    /// Each example's crate, name and executable.
    examples: Vec<examples::Example>,
}

/// Builds what the tests will run, so that what does not compile is said once and at the beginning.
fn build(workspace: &Workspace, selection: &[&str]) -> Result<Built> {
    let mut command = sh::cargo(&workspace.root, &["test", "--no-run", "--message-format=json-render-diagnostics"]);
    let messages = sh::output(command.args(selection)).context("not everything compiles, so nothing was run")?;
    Built::from_messages(&messages, |id| {
        workspace.packages.iter().find(|package| package.id == id).map(|package| package.name.clone())
    })
}

impl Built {
    fn from_messages(messages: &str, package_name: impl Fn(&str) -> Option<String>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Message {
            reason: String,
            package_id: Option<String>,
            target: Option<Target>,
            executable: Option<PathBuf>,
        }
        #[derive(Deserialize)]
        struct Target {
            name: String,
            kind: Vec<String>,
        }
        let mut built = Self::default();
        for line in messages.lines().filter(|line| line.starts_with('{')) {
            let message: Message = serde_json::from_str(line).context("cargo's messages")?;
            let (Some(id), Some(target), Some(executable)) = (message.package_id, message.target, message.executable)
            else {
                continue;
            };
            let Some(package) = package_name(&id).filter(|_| message.reason == "compiler-artifact") else { continue };
            match target.kind.first().map(String::as_str) {
                Some("example") => built.examples.push(examples::Example { package, name: target.name, executable }),
                Some("test") => built.name(&executable, format!("{package} tests/{}", target.name)),
                _ => built.name(&executable, format!("{package} unit tests")),
            }
        }
        built.examples.sort();
        Ok(built)
    }

    fn name(&mut self, executable: &Path, name: String) {
        if let Some(file) = executable.file_name() {
            self.tests.insert(file.to_string_lossy().into_owned(), name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn ran(output: &str) -> Summary {
        let mut summary = Summary::new(BTreeMap::new());
        output.lines().for_each(|line| summary.line(line));
        summary
    }

    #[test]
    fn arguments_are_understood_and_unknown_ones_refused() {
        let options =
            Options::parse(words("-p one --package=two --allow-skip x --no-examples -- --exact name")).unwrap();
        assert_eq!(options.packages, ["one", "two"]);
        assert_eq!(options.allowed_skips, ["x"]);
        assert_eq!(options.rest, ["--exact", "name"]);
        assert_eq!(Options::parse(words("--without mongo")).unwrap().without, [Service::Mongo]);
        assert!(options.no_examples);
        assert!(Options::parse(words("--no-such")).is_err());
        assert!(Options::parse(words("--without oracle")).is_err());
    }

    #[test]
    fn a_run_without_tests_or_with_a_forbidden_skip_fails() {
        assert!(close(&ran(""), &[], true).is_err());
        let good = "test result: ok. 1 passed; 0 failed; 0 ignored;";
        assert!(close(&ran(good), &[], true).is_ok());
        assert!(close(&ran(good), &[], false).is_err(), "cargo itself failed");
        let skipped = "test slow ... ignored\ntest result: ok. 1 passed; 0 failed; 1 ignored;";
        assert!(close(&ran(skipped), &[], true).is_err());
        assert!(close(&ran(skipped), &["slow".to_owned()], true).is_ok());
    }

    #[test]
    fn executables_are_named_by_crate_and_target() {
        let line = |kind: &str, name: &str, file: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"id","target":{{"name":"{name}","kind":["{kind}"]}},"executable":"/t/{file}"}}"#
            )
        };
        let messages =
            [line("lib", "a", "a-1"), line("test", "it", "it-1"), line("example", "demo", "demo")].join("\n");
        let built = Built::from_messages(&messages, |_| Some("crate-a".to_owned())).unwrap();
        assert_eq!(built.tests["a-1"], "crate-a unit tests");
        assert_eq!(built.tests["it-1"], "crate-a tests/it");
        assert_eq!(built.examples[0].name, "demo");
    }
}
