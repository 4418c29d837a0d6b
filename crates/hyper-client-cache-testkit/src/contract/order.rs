//! Calls that overlap: their answers are those of some order. Case 237, several clients at a time.
//!
//! For each key the calls of a round are taken down with the moments at which they began and ended. They have an order
//! if they can be put one after the other, none before one that had ended when it began, so that a map would have given
//! the same answers (they are *linearizable*). The search for it is that of Wing and Gong, with what was tried remembered.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper_client_cache_core::storage::{CacheKey, Entry, Storage};
use tokio::sync::Barrier;

use super::Harness;
use super::outcome::{Outcome, Verdict, Violation, ensure};
use super::support::keys;

const ROUNDS: usize = 60;
const TASKS: u64 = 4;

/// How many calls a task makes in a round. All of a round and two reads at its end are fewer than the bits of a [`Calls`].
const CALLS: u64 = 8;

/// Whatever tasks do at once on two keys, each key's answers are those of some order of the calls.
pub(super) async fn model_racing_calls_have_an_order(harness: &dyn Harness) -> Outcome {
    let storage = harness.open("order").await;
    for round in 0..ROUNDS {
        let names: Arc<[_]> = keys(&format!("round-{round}"), 2)?.into();
        let (moments, start) = (Arc::new(AtomicU64::new(0)), Arc::new(Barrier::new(TASKS as usize)));
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let storage = storage.handle().unwrap_or_else(|| storage.share());
                let (names, moments, start) = (Arc::clone(&names), Arc::clone(&moments), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    let mut calls = Vec::new();
                    for number in 0..CALLS {
                        let number = task.saturating_mul(CALLS).saturating_add(number);
                        calls.extend(random_call(&*storage, &names, number, &moments).await?);
                    }
                    Ok::<_, Violation>(calls)
                })
            })
            .collect();
        let mut calls = Vec::new();
        for task in tasks {
            calls.extend(task.await.map_err(|error| Violation::new(format!("a task panicked: {error}")))??);
        }
        for name in names.iter() {
            let mut calls: Vec<_> = calls.iter().filter(|(of, _)| of == name).map(|(_, call)| *call).collect();
            calls.push(taken_down(&moments, read(&*storage, name)).await?);
            calls.sort_by_key(|call| call.began);
            ensure!(
                have_an_order(&calls),
                "round {round}: no order of these calls of {name} has their answers: {calls:?}"
            );
        }
    }
    Ok(Verdict::Kept)
}

/// One call, with the key that it is about; clearing is about all.
async fn random_call(
    storage: &dyn Storage,
    names: &[CacheKey],
    number: u64,
    moments: &AtomicU64,
) -> Result<Vec<(CacheKey, Call)>, Violation> {
    let Some(name) = fastrand::choice(names) else { return Err(Violation::new("two keys were made")) };
    let call = match fastrand::u8(0..20) {
        0..8 => {
            taken_down(moments, async {
                storage.write(name, numbered(number)).await?;
                Ok(Act::Write(number))
            })
            .await?
        }
        8..15 => taken_down(moments, read(storage, name)).await?,
        15..19 => taken_down(moments, async { Ok(Act::Delete { there: storage.delete(name).await? }) }).await?,
        _ => {
            let cleared = async {
                storage.clear().await?;
                Ok(Act::Clear)
            };
            let call = taken_down(moments, cleared).await?;
            return Ok(names.iter().map(|name| (*name, call)).collect());
        }
    };
    Ok(vec![(*name, call)])
}

async fn read(storage: &dyn Storage, name: &CacheKey) -> Result<Act, Violation> {
    let found = storage.read(name).await?;
    let number = found.as_ref().map(|found| std::str::from_utf8(&found.head).ok()?.parse().ok());
    match number {
        None => Ok(Act::Read(None)),
        Some(Some(number)) if found == Some(numbered(number)) => Ok(Act::Read(Some(number))),
        Some(_) => Err(Violation::new(format!("a reader saw what nobody wrote: {found:?}"))),
    }
}

async fn taken_down(moments: &AtomicU64, act: impl Future<Output = Result<Act, Violation>>) -> Result<Call, Violation> {
    let began = moments.fetch_add(1, Ordering::SeqCst);
    let act = act.await?;
    Ok(Call { began, ended: moments.fetch_add(1, Ordering::SeqCst), act })
}

/// An entry whose head and body say which write it is of.
fn numbered(number: u64) -> Entry {
    Entry::new(number.to_string(), format!("{number:04} ").repeat(200))
}

/// A call of one key.
#[derive(Clone, Copy, Debug)]
struct Call {
    began: u64,
    ended: u64,
    act: Act,
}

/// What was done, and what the answer was.
#[derive(Clone, Copy, Debug)]
enum Act {
    Write(u64),
    Delete { there: bool },
    Clear,
    Read(Option<u64>),
}

impl Act {
    /// What is stored afterwards, if the answer is right where `stored` was before.
    fn after(self, stored: Option<u64>) -> Option<Option<u64>> {
        match self {
            Self::Write(number) => Some(Some(number)),
            Self::Clear => Some(None),
            Self::Delete { there } => (there == stored.is_some()).then_some(None),
            Self::Read(found) => (found == stored).then_some(stored),
        }
    }
}

/// A set of calls by their places in a list.
type Calls = u64;

/// Whether calls, which find nothing stored at first, can be put in an order in which all answers are right.
fn have_an_order(calls: &[Call]) -> bool {
    let places = || (0_u32..).zip(calls).map(|(place, call)| (1_u64.checked_shl(place).unwrap_or_default(), call));
    let all: Calls = places().fold(0, |all, (place, _)| all | place);
    let mut tried = HashSet::new();
    let mut to_try = vec![(0, None)];
    while let Some((done, stored)) = to_try.pop() {
        if done == all {
            return true;
        }
        if !tried.insert((done, stored)) {
            continue;
        }
        let left = || places().filter(move |(place, _)| done & place == 0);
        // Whatever begins after another has ended comes after it.
        let first_end = left().map(|(_, call)| call.ended).min().unwrap_or_default();
        for (place, call) in left().filter(|(_, call)| call.began < first_end) {
            if let Some(stored) = call.act.after(stored) {
                to_try.push((done | place, stored));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(calls: &[(u64, u64, Act)]) -> bool {
        let calls: Vec<_> = calls.iter().map(|&(began, ended, act)| Call { began, ended, act }).collect();
        have_an_order(&calls)
    }

    #[test]
    fn calls_one_after_the_other_have_the_answers_of_a_map() {
        let gone = Act::Delete { there: true };
        assert!(order(&[]));
        assert!(order(&[(0, 1, Act::Write(1)), (2, 3, Act::Read(Some(1))), (4, 5, gone), (6, 7, Act::Read(None))]));
        assert!(!order(&[(0, 1, Act::Write(1)), (2, 3, Act::Read(None))]), "a write is lost");
        assert!(!order(&[(0, 1, Act::Write(1)), (2, 3, Act::Write(2)), (4, 5, Act::Read(Some(1)))]), "an old one");
        assert!(!order(&[(0, 1, Act::Write(1)), (2, 3, Act::Clear), (4, 5, gone)]), "it was gone");
        assert!(!order(&[(0, 1, Act::Read(Some(1)))]), "nobody wrote it");
    }

    #[test]
    fn calls_that_overlap_may_have_come_either_way_and_only_once() {
        let (one, two) = (Act::Write(1), Act::Write(2));
        let (is_one, is_two) = (Act::Read(Some(1)), Act::Read(Some(2)));
        for last in [is_one, is_two] {
            assert!(order(&[(0, 3, one), (1, 2, two), (4, 5, last)]));
        }
        assert!(order(&[(0, 9, one), (1, 2, Act::Read(None)), (3, 4, is_one)]));
        assert!(!order(&[(0, 9, one), (1, 2, is_one), (3, 4, Act::Read(None))]), "it went without a deletion");
        assert!(!order(&[(0, 9, one), (1, 2, is_one), (3, 4, two), (5, 6, is_two), (7, 8, is_one)]), "it came back");
        assert!(!order(&[(0, 1, one), (2, 5, two), (3, 4, is_two), (6, 7, is_one)]), "later readers see no less");
        let gone = Act::Delete { there: true };
        assert!(!order(&[(0, 1, one), (2, 4, gone), (3, 5, gone)]), "both have removed one entry");
    }
}
