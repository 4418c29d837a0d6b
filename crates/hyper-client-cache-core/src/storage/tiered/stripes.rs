//! What a tiered storage knows about its keys, so that front and back never disagree without a lock held while waiting.
//!
//! Keys are spread over stripes.
//! Each stripe has one atomic word: a generation, the number of changes under way, whether somebody fills the front,
//! and whether there are keys in doubt.
//!
//! - A change (write, delete, clear) counts itself and a new generation before it removes the key from the front, and
//!   leaves when the back has answered. So while it is under way, and whatever the back does when, the front holds no
//!   older value.
//! - Only a filler puts anything into the front. It begins with a compare-and-swap against the word that it saw when
//!   the value was known to be current: when the back was asked, or when its own change ended. So nobody changes
//!   anything in between, and there is one filler at a time.
//! - A change that begins while a filler is at work cannot stop it. The filler finds another generation when it is done
//!   and removes what it wrote; until then readers of the stripe pass the front by. A fill is an insertion into memory,
//!   so that is short.
//! - A change that is dropped half-way may reach the back at any later time, and a filler that is dropped may have left
//!   anything in the front: their keys are in doubt, and the front is left out for them until a later change of the
//!   key is through.
//!
//! A hit costs a hash of the key and one load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use twox_hash::XxHash3_64;

use crate::storage::CacheKey;

const STRIPES: usize = 256;

// The word of a stripe, from its lowest bit: a key is in doubt, a filler is at work, 22 bits of changes under way,
// 40 bits of generation.
const DOUBT: u64 = 1;
const FILLER: u64 = 1 << 1;
const CHANGE: u64 = 1 << 2;
const CHANGES: u64 = ((1 << 22) - 1) << 2;
const GENERATION: u64 = 1 << 24;

// More keys in doubt than this, and the whole stripe is.
const MAX_DOUBTS: usize = 64;

const fn generation(word: u64) -> u64 {
    word >> 24
}

/// The state of all keys.
#[derive(Debug)]
pub(super) struct Stripes(Box<[Stripe; STRIPES]>);

#[derive(Debug, Default)]
struct Stripe {
    word: AtomicU64,
    doubts: Mutex<Doubts>,
}

/// Keys that the front must not answer for, each with the generation in which it came into doubt.
#[derive(Debug, Default)]
struct Doubts {
    keys: Vec<(CacheKey, u64)>,
    all: Option<u64>,
}

impl Default for Stripes {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| Stripe::default())))
    }
}

/// The word of a key's stripe at one moment; `None`: at that moment nothing was certain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    stripe: usize,
    word: Option<u64>,
}

impl Stripes {
    /// How things stand for `key` now.
    pub(super) fn look(&self, key: &CacheKey) -> Seen {
        let stripe = index(key);
        Seen { stripe, word: Some(self.at(stripe).word.load(Ordering::SeqCst)) }
    }

    /// Whether the front, if it has the key, has a current value.
    pub(super) fn may_answer(&self, seen: &Seen, key: &CacheKey) -> bool {
        seen.word.is_some_and(|word| {
            word & (FILLER | DOUBT) == 0 || (word & FILLER == 0 && !self.at(seen.stripe).is_in_doubt(key))
        })
    }

    /// Begins to fill the front; `None` where anything has happened since `seen`, or is happening.
    pub(super) fn begin_filling(&self, seen: &Seen, key: &CacheKey) -> Option<Filling<'_>> {
        let word = seen.word.filter(|word| word & (CHANGES | FILLER) == 0)?;
        let stripe = self.at(seen.stripe);
        if word & DOUBT != 0 && stripe.is_in_doubt(key) {
            return None;
        }
        stripe.word.compare_exchange(word, word | FILLER, Ordering::SeqCst, Ordering::Relaxed).ok()?;
        Some(Filling { stripe, key: *key, generation: generation(word), finished: false })
    }

    /// Begins a change of `keys`.
    pub(super) fn begin_change<'a>(&'a self, keys: &'a [CacheKey]) -> Change<'a> {
        let mut stripes: Vec<_> = keys.iter().map(index).collect();
        stripes.sort_unstable();
        stripes.dedup();
        self.begin(Scope::Keys(keys), stripes.into_iter())
    }

    /// Begins a change of everything, `clear`.
    pub(super) fn begin_clear(&self) -> Change<'_> {
        self.begin(Scope::All, 0..STRIPES)
    }

    /// Begins the removal of what is dead, which changes nothing for keys in doubt.
    pub(super) fn begin_expiry(&self) -> Change<'_> {
        self.begin(Scope::Dead, 0..STRIPES)
    }

    fn begin<'a>(&'a self, scope: Scope<'a>, stripes: impl Iterator<Item = usize>) -> Change<'a> {
        let parts = stripes
            .map(|stripe| {
                let before = self.at(stripe).word.fetch_add(GENERATION | CHANGE, Ordering::SeqCst);
                Part { stripe, before }
            })
            .collect();
        Change { stripes: self, scope, parts, certain: false, front_is_clean: false }
    }

    /// Makes sure that nothing enters the front that was read before now.
    pub(super) fn invalidate_fills(&self) {
        for stripe in self.0.iter() {
            stripe.word.fetch_add(GENERATION, Ordering::SeqCst);
        }
    }

    #[allow(clippy::indexing_slicing)] // `index` stays below STRIPES, and so do the ranges here
    fn at(&self, stripe: usize) -> &Stripe {
        &self.0[stripe]
    }
}

impl Stripe {
    fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_in_doubt(&self, key: &CacheKey) -> bool {
        let doubts = self.doubts();
        doubts.all.is_some() || doubts.keys.iter().any(|(other, _)| other == key)
    }

    /// Adds a key, or all where there is none, in a generation of its own.
    fn doubt(&self, key: Option<&CacheKey>) {
        let mut doubts = self.doubts();
        let since = generation(self.word.fetch_add(GENERATION, Ordering::SeqCst)).saturating_add(1);
        match key {
            Some(key) if doubts.keys.len() < MAX_DOUBTS => doubts.keys.push((*key, since)),
            _ => doubts.all = Some(since),
        }
        self.word.fetch_or(DOUBT, Ordering::SeqCst);
    }

    /// Removes the doubts for which `settled` is true, given their generation.
    fn settle(&self, key: Option<&CacheKey>, settled: impl Fn(u64) -> bool) {
        if self.word.load(Ordering::SeqCst) & DOUBT == 0 {
            return;
        }
        let mut doubts = self.doubts();
        doubts.keys.retain(|(other, since)| key.is_some_and(|key| key != other) || !settled(*since));
        if key.is_none() {
            doubts.all = doubts.all.filter(|since| !settled(*since));
        }
        if doubts.keys.is_empty() && doubts.all.is_none() {
            self.word.fetch_and(!DOUBT, Ordering::SeqCst);
        }
    }
}

#[allow(clippy::arithmetic_side_effects)] // the number of stripes is not 0
fn index(key: &CacheKey) -> usize {
    (XxHash3_64::oneshot(key.as_bytes()) % STRIPES as u64) as usize
}

/// What a change is about.
#[derive(Clone, Copy, Debug)]
enum Scope<'a> {
    Keys(&'a [CacheKey]),
    All,
    Dead,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    stripe: usize,
    before: u64,
}

/// A change under way. Dropped before it is complete, it leaves its keys in doubt.
#[derive(Debug)]
#[must_use]
pub(super) struct Change<'a> {
    stripes: &'a Stripes,
    scope: Scope<'a>,
    parts: Vec<Part>,
    certain: bool,
    front_is_clean: bool,
}

impl Change<'_> {
    /// Says whether the front was rid of the keys.
    pub(super) fn set_front_is_clean(&mut self, clean: bool) {
        self.front_is_clean = clean;
    }

    /// The back has answered. What is returned says whether the front may be filled with what was written: not where
    /// another change overlapped this one, because the back alone knows which of them was the last.
    pub(super) fn complete(mut self) -> Seen {
        self.certain = true;
        let [Part { stripe, before }] = *self.parts.as_slice() else { return Seen { stripe: 0, word: None } };
        let stripes = self.stripes;
        drop(self);
        let word = stripes.at(stripe).word.load(Ordering::SeqCst);
        let alone = before & CHANGES == 0 && generation(word) == generation(before).saturating_add(1);
        Seen { stripe, word: alone.then_some(word) }
    }

    fn settle_or_doubt(&self) {
        let sure = self.certain && self.front_is_clean;
        for Part { stripe, before } in &self.parts {
            let at = self.stripes.at(*stripe);
            // What came into doubt before this change began is settled by it; what did so meanwhile is not.
            let settled = |since| since <= generation(*before);
            match self.scope {
                Scope::Keys(keys) => {
                    for key in keys.iter().filter(|key| index(key) == *stripe) {
                        if sure { at.settle(Some(key), settled) } else { at.doubt(Some(key)) }
                    }
                }
                Scope::All if sure => at.settle(None, settled),
                Scope::All => at.doubt(None),
                // What is dead by the clock is invisible in the front too, whatever became of the call.
                Scope::Dead => {}
            }
        }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.settle_or_doubt();
        for part in &self.parts {
            self.stripes.at(part.stripe).word.fetch_sub(CHANGE, Ordering::SeqCst);
        }
    }
}

/// Somebody puts one entry into the front. Dropped before it is finished, it leaves the key in doubt.
#[derive(Debug)]
#[must_use]
pub(super) struct Filling<'a> {
    stripe: &'a Stripe,
    key: CacheKey,
    generation: u64,
    finished: bool,
}

impl Filling<'_> {
    /// Whether nothing has changed since the filling began.
    pub(super) fn is_current(&self) -> bool {
        generation(self.stripe.word.load(Ordering::SeqCst)) == self.generation
    }

    /// The front holds the entry if it is still current, and nothing else.
    pub(super) fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.stripe.doubt(Some(&self.key));
        }
        self.stripe.word.fetch_and(!FILLER, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> CacheKey {
        CacheKey::from_digest([3; 32])
    }

    #[test]
    fn only_one_fills_and_only_if_nothing_happened_since() {
        let (stripes, key) = (Stripes::default(), key());
        let seen = stripes.look(&key);
        let filling = stripes.begin_filling(&seen, &key).unwrap();
        assert!(stripes.begin_filling(&stripes.look(&key), &key).is_none());
        assert!(!stripes.may_answer(&stripes.look(&key), &key), "the front is passed by while it is filled");
        filling.finish();
        assert!(stripes.may_answer(&stripes.look(&key), &key));
        let seen = stripes.look(&key);
        stripes.invalidate_fills();
        assert!(stripes.begin_filling(&seen, &key).is_none());
    }

    #[test]
    fn of_two_changes_that_overlap_none_fills() {
        let (stripes, key) = (Stripes::default(), key());
        for swap in [false, true] {
            let (mut one, mut two) =
                (stripes.begin_change(std::slice::from_ref(&key)), stripes.begin_change(std::slice::from_ref(&key)));
            if swap {
                (one, two) = (two, one);
            }
            for mut change in [one, two] {
                change.set_front_is_clean(true);
                assert!(stripes.begin_filling(&change.complete(), &key).is_none());
            }
        }
        let mut alone = stripes.begin_change(std::slice::from_ref(&key));
        alone.set_front_is_clean(true);
        stripes.begin_filling(&alone.complete(), &key).unwrap().finish();
    }

    #[test]
    fn a_key_is_in_doubt_until_a_later_change_of_it_is_complete() {
        let (stripes, key) = (Stripes::default(), key());
        let mut earlier = stripes.begin_change(std::slice::from_ref(&key));
        drop(stripes.begin_change(std::slice::from_ref(&key)));
        assert!(!stripes.may_answer(&stripes.look(&key), &key));
        earlier.set_front_is_clean(true);
        earlier.complete();
        assert!(!stripes.may_answer(&stripes.look(&key), &key), "it began before the doubt");
        assert!(stripes.begin_filling(&stripes.look(&key), &key).is_none());
        let mut later = stripes.begin_change(std::slice::from_ref(&key));
        later.set_front_is_clean(true);
        later.complete();
        assert!(stripes.may_answer(&stripes.look(&key), &key));
    }

    #[test]
    fn doubts_are_bounded_and_a_complete_clear_settles_all_of_them() {
        let stripes = Stripes::default();
        let keys: Vec<_> = (0..40_000_u32).map(|i| CacheKey::new(&format!("k{i}")).unwrap()).collect();
        for key in &keys {
            drop(stripes.begin_change(std::slice::from_ref(key)));
        }
        for stripe in stripes.0.iter() {
            assert!(stripe.doubts().keys.len() <= MAX_DOUBTS);
        }
        assert!(keys.iter().all(|key| !stripes.may_answer(&stripes.look(key), key)));
        let mut clear = stripes.begin_clear();
        clear.set_front_is_clean(true);
        clear.complete();
        assert!(keys.iter().all(|key| stripes.may_answer(&stripes.look(key), key)));
        for stripe in stripes.0.iter() {
            assert_eq!(stripe.word.load(Ordering::SeqCst) & (CHANGES | FILLER | DOUBT), 0);
        }
    }
}
