//! Licences, banned crates (cases 124 and 125) and sources: runs cargo-deny, which it installs where it is missing.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};

use crate::sh;
use crate::workspace::Workspace;

const VERSION: &str = "0.20.2";

/// Checks `deny.toml` without asking any advisory database.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let program = find_or_install(workspace)?;
    let mut command = Command::new(program);
    command
        .args(["--all-features", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
        .current_dir(&workspace.root)
        .stdin(Stdio::null());
    sh::run(&mut command)
}

fn find_or_install(workspace: &Workspace) -> Result<PathBuf> {
    let on_path = PathBuf::from("cargo-deny");
    if is_wanted(&on_path) {
        return Ok(on_path);
    }
    // The version is in the name, so that a change of it never meets an old one.
    let folder = tools_folder()?.join(format!("cargo-deny-{VERSION}"));
    let installed = folder.join("bin").join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    if !is_wanted(&installed) {
        println!("   installing cargo-deny {VERSION} (once)");
        let args = ["install", "--quiet", "--locked", "cargo-deny", "--version", VERSION, "--root"];
        sh::run(sh::cargo(&workspace.root, &args).arg(&folder)).with_context(|| {
            format!("cargo-deny {VERSION} is needed: put it on the PATH with `cargo install --locked cargo-deny --version {VERSION}`")
        })?;
    }
    Ok(installed)
}

fn tools_folder() -> Result<PathBuf> {
    let folders = choose_native_strategy().context("this user has no cache folder; set HOME or XDG_CACHE_HOME")?;
    Ok(folders.cache_dir().join("hyper-client-cache").join("tools"))
}

fn is_wanted(program: &PathBuf) -> bool {
    // Run as cargo would: cargo-deny expects its own name first.
    let output = Command::new(program).args(["deny", "--version"]).stdin(Stdio::null()).output();
    output.is_ok_and(|output| is_version(&String::from_utf8_lossy(&output.stdout)))
}

fn is_version(output: &str) -> bool {
    output.trim().strip_prefix("cargo-deny ") == Some(VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_not_taken() {
        assert!(is_version(&format!("cargo-deny {VERSION}\n")));
        assert!(!is_version("cargo-deny 0.1.0\n"));
        assert!(!is_version(""));
        assert!(!is_wanted(&PathBuf::from("/no/such/file")));
    }
}
