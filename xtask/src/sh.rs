//! Runs commands: where, with which environment, and what becomes of their output.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, pipe};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// A `cargo` command in the workspace's root, without input and without what the cargo that started this program put
/// into the environment.
pub(crate) fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.args(args).current_dir(root).stdin(Stdio::null());
    // Build scripts that watch these (ring's does) would run again at every change from one caller to another.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_PRIMARY_PACKAGE" {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs to the end with its output where ours goes; an error unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", describe(command)))?;
    check(command, status)
}

/// Runs to the end and returns what it printed to its standard output; an error unless it succeeds.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    command.stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot start {}", describe(command)))?;
    check(command, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("the output of {}", describe(command)))
}

/// Runs to the end and gives each line of output to `line`, standard output and standard error in the order in which
/// they were written.
pub(crate) fn stream(command: &mut Command, mut line: impl FnMut(&str)) -> Result<ExitStatus> {
    let (reader, writer) = pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", describe(command)))?;
    // The command keeps our ends of the pipe open: without this the reader never sees the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        line(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']));
        bytes.clear();
    }
    Ok(child.wait()?)
}

/// The command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed ({status})", describe(command));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_an_error_that_names_it() {
        let mut command = cargo(Path::new("."), &["no-such-subcommand-of-cargo"]);
        command.stderr(Stdio::null());
        let error = run(&mut command).unwrap_err();
        assert!(error.to_string().contains("no-such-subcommand-of-cargo"), "{error}");
    }

    #[test]
    fn both_outputs_are_streamed_line_by_line() {
        let mut lines = Vec::new();
        let status = stream(&mut cargo(Path::new("."), &["--version"]), |line| lines.push(line.to_owned())).unwrap();
        assert!(status.success());
        assert!(lines.iter().any(|line| line.starts_with("cargo ")), "{lines:?}");

        let mut lines = Vec::new();
        let mut failing = cargo(Path::new("."), &["no-such-subcommand-of-cargo"]);
        assert!(!stream(&mut failing, |line| lines.push(line.to_owned())).unwrap().success());
        assert!(lines.iter().any(|line| line.contains("no-such-subcommand")), "{lines:?}");
    }
}
