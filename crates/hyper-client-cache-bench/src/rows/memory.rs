//! P13 and P18: how much memory it takes, counted in processes of their own.

use super::Bench;
use crate::Result;
use crate::measure::child::{Counted, counting_program};
use crate::probe::{Subject, What};
use crate::runner::{Claim, Experiment, Role, Unit};

/// What counts hardly differs from run to run.
const ROUNDS: usize = 3;

/// A part of a large body, in bytes.
const PART: f64 = 262_144.0;

/// Ours, on each backend.
const BACKENDS: [(&str, Subject); 2] = [("memory", Subject::Memory), ("SQLite", Subject::Sqlite)];

/// P13: what is allocated while a large body passes, and what becomes resident for a huge one.
///
/// What hyper itself buffers of a response that it reads is the floor of a miss: the claim is about the parts that the
/// cache holds beside it.
pub(super) async fn peaks(bench: &Bench) -> Result<Vec<Experiment>> {
    let program = counting_program().await?;
    let counted = |subject, what| Counted {
        program: program.clone(),
        subject,
        what,
        origin: bench.origin.base().to_owned(),
        count: 1,
    };
    let mut experiments = Vec::new();
    for (backend, subject) in BACKENDS {
        let what = format!("allocated at peak beyond what is kept, 10 MiB miss, {backend}");
        experiments.push(
            Experiment::new("P13", what, Unit::Bytes)
                .steady(ROUNDS)
                .claim(Claim::OverFloor(4.0 * PART))
                .with(Role::Ours, backend, counted(subject, What::PeakOfMiss))
                .with(Role::Floor, "uncached request", counted(Subject::Uncached, What::PeakOfMiss))
                .with(Role::Peer, "moka", counted(Subject::Moka, What::PeakOfMiss))
                .with(Role::Peer, "redb", counted(Subject::Redb, What::PeakOfMiss))
                .with(Role::Peer, "cacache", counted(Subject::Cacache, What::PeakOfMiss)),
        );
    }
    for (backend, subject) in BACKENDS {
        let what = format!("allocated at peak, 10 MiB hit streamed, {backend}");
        experiments.push(
            Experiment::new("P13", what, Unit::Bytes)
                .steady(ROUNDS)
                .claim(Claim::AtMost(4.0 * PART))
                .with(Role::Ours, backend, counted(subject, What::PeakOfHit))
                .with(Role::Peer, "moka", counted(Subject::Moka, What::PeakOfHit))
                .with(Role::Peer, "redb", counted(Subject::Redb, What::PeakOfHit))
                .with(Role::Peer, "cacache", counted(Subject::Cacache, What::PeakOfHit)),
        );
    }
    experiments.push(
        Experiment::new("P13", "resident growth, 1 GiB miss and hit, SQLite", Unit::Bytes)
            .steady(ROUNDS)
            .claim(Claim::AtMost(8.0 * 1024.0 * 1024.0))
            .with(Role::Ours, "SQLite", counted(Subject::Sqlite, What::Growth))
            .with(Role::Floor, "two uncached requests", counted(Subject::Uncached, What::Growth)),
    );
    Ok(experiments)
}

/// P18: what an entry takes in memory.
pub(super) async fn per_entry(bench: &Bench) -> Result<Vec<Experiment>> {
    let program = counting_program().await?;
    let counted = |subject| Counted {
        program: program.clone(),
        subject,
        what: What::BytesPerEntry,
        origin: bench.origin.base().to_owned(),
        count: if bench.quick { 2_000 } else { 20_000 },
    };
    let experiment = Experiment::new("P18", "memory per 2 KiB entry", Unit::Bytes)
        .steady(ROUNDS)
        .claim(Claim::TimesFloor(1.3))
        .with(Role::Ours, "memory", counted(Subject::Memory))
        .with(Role::Floor, "packed", counted(Subject::Packed))
        .with(Role::Peer, "moka", counted(Subject::Moka))
        .with(Role::Peer, "quick_cache", counted(Subject::QuickCache));
    Ok(vec![experiment])
}
