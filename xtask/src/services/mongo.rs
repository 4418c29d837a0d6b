//! A server that speaks MongoDB's protocol: `mongod` where there is one on the PATH, else SecantusDB from PyPI.
//!
//! SecantusDB is a process of its own: nothing of it is linked to or shipped.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::process::{Launcher, accepts, free_port};
use super::{Variable, install};
use crate::sh;

pub(super) const VARIABLE: &str = "HCC_MONGO_URL";

const VERSION: &str = "0.7.0b3";

pub(super) fn start(launcher: &mut Launcher) -> Result<Vec<Variable>> {
    let port = free_port(u16::MAX, |_| true)?;
    let data = launcher.folder("mongo")?.join("data");
    std::fs::create_dir_all(&data)?;
    let mut command = if install::is_there("mongod") { mongod(&data) } else { secantus(&data)? };
    command.args(["--port", &port.to_string()]);
    launcher.start("mongo", port, &command, accepts)?;
    Ok(vec![(VARIABLE, format!("mongodb://127.0.0.1:{port}/?directConnection=true"))])
}

fn mongod(data: &Path) -> Command {
    let mut command = Command::new("mongod");
    command.args(["--bind_ip", "127.0.0.1", "--setParameter", "enableTestCommands=1", "--dbpath"]).arg(data);
    command
}

fn secantus(data: &Path) -> Result<Command> {
    let folder = install::folder(&format!("secantusdb-{VERSION}"), |folder| {
        install::program("python3", "python3-venv")?;
        let mut environment = Command::new("python3");
        environment.args(["-m", "venv"]).arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
        if sh::run(&mut environment).is_err() {
            // Debian's Python comes without the module's other half.
            install::debian("python3-venv")?;
            sh::run(&mut environment)?;
        }
        let mut pip = Command::new(folder.join("bin").join("pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]).arg(format!("SecantusDB=={VERSION}"));
        sh::run(pip.stdin(Stdio::null()))
    })?;
    let mut command = Command::new(folder.join("bin").join("secantusd-py"));
    command.args(["--host", "127.0.0.1", "--standalone", "--enable-test-commands", "--log-level", "WARNING"]);
    command.arg("--storage-path").arg(data);
    Ok(command)
}
