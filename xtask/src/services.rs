//! `cargo xtask services`: the servers that tests need, by name.

use anyhow::{Result, bail};

/// The servers that some test needs. The memory backend keeps its data in the process and SQLite in files, and the
/// origin servers of tests run inside the tests, so that none is needed.
const SERVICES: &[&str] = &[];

/// Starts, stops or shows the servers.
pub(crate) fn main(args: &[String]) -> Result<()> {
    match args {
        [task] if ["up", "down", "status"].contains(&task.as_str()) => {
            println!("no servers are needed: the backends keep their data in memory and in SQLite files");
            Ok(())
        }
        _ => bail!("`cargo xtask services` takes one of up, down, status"),
    }
}

/// Fails where `name` is no server that tests could leave out.
pub(crate) fn validate(name: &str) -> Result<()> {
    if SERVICES.contains(&name) {
        return Ok(());
    }
    let known = if SERVICES.is_empty() { "no test needs one".to_owned() } else { SERVICES.join(", ") };
    bail!("`--without {name}`: no such server ({known})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_server_cannot_be_left_out() {
        assert!(validate("oracle").unwrap_err().to_string().contains("`--without oracle`"));
    }

    #[test]
    fn an_unknown_subtask_is_an_error() {
        assert!(main(&["restart".to_owned()]).is_err());
        assert!(main(&["status".to_owned()]).is_ok());
    }
}
