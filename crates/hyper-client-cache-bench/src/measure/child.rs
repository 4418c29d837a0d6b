//! Measurements in a process of their own: what a contender allocates, and how many instructions a hit takes.
//!
//! The child is this program, or the one on the counting allocator, with `probe` as its first argument; `probe.rs` is
//! what it does then.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use async_trait::async_trait;
use clap::ValueEnum;
use tokio::process::Command;

use crate::Result;
use crate::probe::{Subject, What};
use crate::runner::Measure;

/// Hits in the shorter and in the longer run whose difference is counted.
const HITS: (u64, u64) = (500, 2500);

/// What the counting program prints for a subject.
pub(crate) struct Counted {
    pub(crate) program: PathBuf,
    pub(crate) subject: Subject,
    pub(crate) what: What,
    pub(crate) origin: String,
    pub(crate) count: u64,
}

#[async_trait]
impl Measure for Counted {
    async fn sample(&mut self) -> Result<f64> {
        let output = Command::new(&self.program)
            .args(arguments(self.subject, self.what, &self.origin, self.count))
            .stderr(Stdio::inherit())
            .output()
            .await?;
        if !output.status.success() {
            return Err(format!("the probe ended with {}", output.status).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    }
}

/// Instructions a hit, counted by callgrind: what a longer run takes over a shorter one, so that starting and filling
/// do not count.
pub(crate) struct Instructions {
    pub(crate) subject: Subject,
    pub(crate) origin: String,
}

#[async_trait]
impl Measure for Instructions {
    async fn sample(&mut self) -> Result<f64> {
        let (short, long) = HITS;
        let more = self.run(long).await?.saturating_sub(self.run(short).await?);
        Ok(more as f64 / long.saturating_sub(short) as f64)
    }
}

impl Instructions {
    async fn run(&self, hits: u64) -> Result<u64> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(env::current_exe()?)
            .args(arguments(self.subject, What::Hits, &self.origin, hits))
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        let collected = said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, number)| number.trim());
        match collected {
            Some(number) if output.status.success() => Ok(number.parse()?),
            _ => Err(format!("callgrind ended with {}: {said}", output.status).into()),
        }
    }
}

/// Whether callgrind can be started.
pub(crate) async fn has_callgrind() -> bool {
    Command::new("valgrind").arg("--version").output().await.is_ok_and(|output| output.status.success())
}

/// Builds the program on the counting allocator beside this one, if need be, and says where it is.
pub(crate) async fn counting_program() -> Result<PathBuf> {
    const NAME: &str = "hyper-client-cache-bench-counting";
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", env!("CARGO_PKG_NAME"), "--bin", NAME]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if !build.status().await?.success() {
        return Err(format!("{NAME} cannot be built").into());
    }
    Ok(env::current_exe()?.with_file_name(format!("{NAME}{}", env::consts::EXE_SUFFIX)))
}

fn arguments(subject: Subject, what: What, origin: &str, count: u64) -> Vec<String> {
    let name = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned());
    let mut arguments = vec![String::from("probe")];
    arguments.extend(name(subject.to_possible_value()));
    arguments.extend(name(what.to_possible_value()));
    arguments.extend([origin.to_owned(), count.to_string()]);
    arguments
}
