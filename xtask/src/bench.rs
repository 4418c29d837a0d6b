//! `cargo xtask bench`: builds the bench crate with its peers and runs it. Writes nothing itself.

use anyhow::Result;

use crate::sh;
use crate::workspace::{BENCH, Workspace};

/// Hands `args` on to the bench crate.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    workspace.package(BENCH)?;
    let mut command = sh::cargo(&workspace.root, &["run", "--release", "--package", BENCH, "--"]);
    sh::run(command.args(args))
}
