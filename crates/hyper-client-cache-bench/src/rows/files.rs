//! P6: what a hit in files takes.

use super::Bench;
use super::hits::{ENTRIES, SMALL, cacache, filled, rate, time};
use crate::Result;
use crate::floors::file::Files;
use crate::ours::Ours;
use crate::runner::{Claim, Experiment, Role, Unit};

/// P6: a hit in files, and hits from many tasks.
pub(super) async fn hits(bench: &Bench) -> Result<Vec<Experiment>> {
    const FLOOR: &str = "one file read on a blocking thread";
    let targets = bench.targets(ENTRIES, SMALL);
    let ours = async || -> Result<_> { filled(Ours::files(&bench.folder()?.join("ours")).await?, &targets).await };
    let floor = || Files::filled(&bench.folder()?, &targets.urls, SMALL as usize);
    let peer = async || -> Result<_> { filled(cacache(bench)?, &targets).await };
    Ok(vec![
        Experiment::new("P6", "files hit, p50", Unit::Time)
            .claim(Claim::TimesFloor(1.3))
            .with(Role::Ours, "files", time(ours().await?, &targets))
            .with(Role::Floor, FLOOR, time(floor()?, &targets))
            .with(Role::Peer, "cacache", time(peer().await?, &targets)),
        Experiment::new("P6", "files hits/s, 64 tasks", Unit::Rate)
            .claim(Claim::TimesFloor(1.3))
            .with(Role::Ours, "files", rate(ours().await?, &targets))
            .with(Role::Floor, FLOOR, rate(floor()?, &targets))
            .with(Role::Peer, "cacache", rate(peer().await?, &targets)),
    ])
}
