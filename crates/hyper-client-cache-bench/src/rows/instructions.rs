//! P20: how many instructions a hit takes, which is the same in every run.

use super::Bench;
use crate::Result;
use crate::measure::child::{Instructions, has_callgrind};
use crate::probe::Subject;
use crate::runner::{Experiment, Role, Unit};

/// P20: instructions of a hit in memory. Without callgrind the row is left out, and said to be.
pub(super) async fn per_hit(bench: &Bench) -> Result<Vec<Experiment>> {
    if !has_callgrind().await {
        eprintln!("P20 is left out: valgrind, whose callgrind counts instructions, is not installed");
        return Ok(Vec::new());
    }
    let counted = |subject| Instructions { subject, origin: bench.origin.base().to_owned() };
    let experiment = Experiment::new("P20", "instructions per memory hit", Unit::Instructions)
        .steady(1)
        .with(Role::Ours, "memory", counted(Subject::Memory))
        .with(Role::Floor, "quick_cache, URL parsed and hashed", counted(Subject::Map))
        .with(Role::Peer, "moka", counted(Subject::Moka));
    Ok(vec![experiment])
}
