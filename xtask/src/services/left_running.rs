//! Servers that a developer leaves running between test runs: `up`, `down`, `status`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::process::{Launcher, accepts};
use super::{Service, install, start_all};

/// What `up` started, for `down` and `status`.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Left {
    servers: Vec<LeftServer>,
    environment: Vec<(String, String)>,
}

#[derive(Debug, Deserialize, Serialize)]
struct LeftServer {
    name: String,
    port: u16,
    process: u32,
}

/// Starts the servers and prints what a shell must export.
pub(super) fn up(services: &[Service]) -> Result<()> {
    let folder = folder()?;
    if record(&folder).exists() {
        bail!("servers are running already: see `cargo xtask services status`, or end them with `down`");
    }
    let mut launcher = Launcher::detached(folder.clone())?;
    let started = start_all(services, &mut launcher);
    let servers =
        launcher.detached_servers().map(|(name, port, process)| LeftServer { name: name.to_owned(), port, process });
    let mut left = Left { servers: servers.collect(), environment: Vec::new() };
    match started {
        Ok(environment) => {
            left.environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            fs::write(record(&folder), serde_json::to_vec_pretty(&left)?)?;
            print_exports(&left);
            Ok(())
        }
        Err(error) => {
            end(&left, &folder)?;
            Err(error)
        }
    }
}

/// Ends what `up` started, and removes its data.
pub(super) fn down() -> Result<()> {
    let folder = folder()?;
    match read(&folder)? {
        Some(left) => end(&left, &folder),
        None => {
            println!("no servers were left running");
            Ok(())
        }
    }
}

/// Says what runs.
pub(super) fn status() -> Result<()> {
    let Some(left) = read(&folder()?)? else {
        println!("no servers were left running");
        return Ok(());
    };
    for server in &left.servers {
        let state = if accepts(server.port) { "answers" } else { "does not answer" };
        println!("   {} on port {} (process {}) {state}", server.name, server.port, server.process);
    }
    print_exports(&left);
    Ok(())
}

fn print_exports(left: &Left) {
    println!();
    for (name, value) in &left.environment {
        println!("export {name}='{value}'");
    }
}

fn end(left: &Left, folder: &Path) -> Result<()> {
    for server in &left.servers {
        // A process id may have been given to another program since: only one that listens there is ours.
        if accepts(server.port) {
            let process = server.process.to_string();
            Command::new("kill").arg(&process).stdin(Stdio::null()).status().context("cannot start `kill`")?;
            println!("   ended {} (process {process})", server.name);
        }
    }
    remove(folder, Duration::from_secs(20)).with_context(|| folder.display().to_string())
}

/// Removes a folder in which programs that are ending may still write their last files, and tries for so long.
fn remove(folder: &Path, patience: Duration) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && began.elapsed() < patience => {
                thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}

fn read(folder: &Path) -> Result<Option<Left>> {
    let path = record(folder);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read(&path).with_context(|| path.display().to_string())?;
    Ok(Some(serde_json::from_slice(&text).with_context(|| path.display().to_string())?))
}

fn folder() -> Result<PathBuf> {
    Ok(install::cache_folder()?.join("running"))
}

fn record(folder: &Path) -> PathBuf {
    folder.join("servers.json")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_folder_is_removed_although_a_program_writes_its_last_files() {
        let folder = std::env::temp_dir().join(format!("hyper-client-cache-remove-{}", std::process::id()));
        fs::create_dir_all(folder.join("server")).unwrap();
        let is_gone = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0_u32;
                // Ends by itself once the folder of the program is not there any more.
                while fs::write(folder.join("server").join(number.to_string()), "log").is_ok() {
                    number += 1;
                }
                is_gone.store(true, Ordering::Release);
            });
            remove(&folder, Duration::from_secs(60)).unwrap();
        });
        assert!(is_gone.load(Ordering::Acquire));
        assert!(!folder.exists());
    }
}
