//! Gets what is missing: programs from Debian's packages, and servers into the user's cache folder.
//!
//! A folder there has the version in its name, so that a fresh clone finds what an older one installed, and is complete
//! once its marker is written.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};

use crate::sh;

/// Written last.
const MARKER: &str = "installed";

/// The folder of an installed server, made by `install` where it is not there yet.
pub(crate) fn folder(name: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let servers = cache_folder()?;
    std::fs::create_dir_all(&servers).with_context(|| servers.display().to_string())?;
    let folder = servers.join(name);
    // Two runs at once would install into the same folder.
    let lock = File::create(servers.join(format!("{name}.lock")))?;
    lock.lock()?;
    if !folder.join(MARKER).exists() {
        println!("   installing {name} (once)");
        if folder.exists() {
            // An earlier try that did not come to its end.
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        install(&folder)?;
        File::create(folder.join(MARKER))?;
    }
    Ok(folder)
}

/// Where installed servers, and those that a developer left running, have their folders.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let folders = choose_native_strategy().context("this user has no cache folder; set HOME or XDG_CACHE_HOME")?;
    Ok(folders.cache_dir().join("hyper-client-cache").join("services"))
}

/// Makes sure that `program` can be started, from Debian's `package` where it is missing.
pub(crate) fn program(program: &str, package: &str) -> Result<()> {
    if is_there(program) {
        return Ok(());
    }
    println!("   installing {package} (once)");
    debian(package).with_context(|| format!("`{program}` is needed: install the package `{package}`"))?;
    if !is_there(program) {
        bail!("the package `{package}` was installed, and there is still no `{program}` on the PATH");
    }
    Ok(())
}

/// Installs a package of Debian's.
pub(crate) fn debian(package: &str) -> Result<()> {
    if !is_there("apt-get") {
        bail!("there is no `apt-get` here to install it with");
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
        sh::run(&mut command)
    };
    apt(&["update", "-qq"])?;
    apt(&["install", "-qq", "-y", "--no-install-recommends", package])
}

/// Whether a program of this name is on the PATH.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_on_the_path() {
        assert!(is_there("sh"));
        assert!(!is_there("no-such-program-of-anyone"));
    }
}
