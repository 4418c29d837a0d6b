//! `cargo xtask bench`: starts the servers that some rows need, builds the bench crate with its peers and runs it. Writes
//! nothing itself.

use anyhow::Result;

use crate::services::{Servers, Service};
use crate::sh;
use crate::workspace::{BENCH, Workspace};

/// Hands `args` on to the bench crate, but for `--without SERVICE`, which leaves a server out, and its rows with it.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    workspace.package(BENCH)?;
    let (services, rest) = select(args)?;
    // First, for what does not compile needs no servers; and nothing else shall run while it is measured.
    sh::run(&mut sh::cargo(&workspace.root, &["build", "--release", "--package", BENCH]))?;
    let servers = Servers::start(&services)?;
    let mut command = sh::cargo(&workspace.root, &["run", "--release", "--package", BENCH, "--"]);
    sh::run(command.args(rest).envs(servers.environment.iter().cloned()))
}

/// The servers to start, and what is not about them.
fn select(args: &[String]) -> Result<(Vec<Service>, Vec<String>)> {
    let mut services = Service::needed_by(&[]);
    let mut rest = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let left_out = match arg.strip_prefix("--without=") {
            Some(name) => Some(name),
            None if arg == "--without" => Some(args.next().map_or("", String::as_str)),
            None => None,
        };
        match left_out {
            Some(name) => {
                let left_out = Service::named(name)?;
                services.retain(|service| *service != left_out);
            }
            None => rest.push(arg.clone()),
        }
    }
    Ok((services, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn servers_are_left_out_by_name_and_the_rest_is_handed_on() {
        let (services, rest) = select(&words("P1 --without mongo --quick --without=redis")).unwrap();
        assert_eq!(services, [Service::DynamoDb]);
        assert_eq!(rest, ["P1", "--quick"]);
        assert!(select(&words("--without oracle")).is_err());
        assert!(select(&words("--without")).is_err());
    }
}
