//! The contract of caches: what needs more than one storage.

use super::CacheHarness;
use super::outcome::{Outcome, Verdict};

pub(super) async fn cache_a_response_is_found_as_it_was_put(harness: &dyn CacheHarness) -> Outcome {
    let _ = harness;
    Ok(Verdict::Kept)
}
