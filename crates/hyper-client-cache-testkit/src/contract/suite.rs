//! The list of all tests, written once: the macros make `#[test]`s from it, the runner a table.

use std::fmt;
use std::sync::Arc;

use super::runner::Running;
use super::{
    CacheHarness, Harness, atomic, cache, content, damage, expiry, keys, lifecycle, looking, model, order, parts,
    victim,
};

/// One test of the contract.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Test<H: ?Sized> {
    /// The rule that it is about: `S1` to `S15`, `model`, or `cache`.
    pub rule: &'static str,
    /// What it shows: its name in every backend's tests.
    pub name: &'static str,
    pub(crate) body: for<'a> fn(&'a Arc<H>) -> Running<'a>,
}

impl<H: ?Sized> fmt::Debug for Test<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Test").field("rule", &self.rule).field("name", &self.name).finish()
    }
}

/// Calls another macro with the list of all tests of storages.
#[doc(hidden)]
#[macro_export]
macro_rules! __storage_tests {
    ($callback:ident! $($arguments:tt)*) => {
        $crate::$callback! { [$($arguments)*]
            S1 content s01_what_was_written_is_read,
            S1 content s01_a_deadline_is_never_rounded_down,
            S1 content s01_many_are_written_and_read_in_order,
            S2 content s02_a_write_replaces_the_whole_entry,
            S2 content s02_a_refresh_replaces_head_and_deadline,
            S3 atomic s03_a_dropped_write_leaves_a_whole_entry,
            S3 atomic s03_a_dropped_call_leaves_the_storage_usable,
            S3 atomic s03_a_reader_beside_a_writer_sees_no_mix,
            S3 victim s03_a_killed_writer_leaves_whole_entries,
            S4 keys s04_deleting_what_is_not_there_is_fine,
            S4 keys s04_any_number_of_keys_is_accepted,
            S5 expiry s05_the_dead_are_invisible_to_every_reader,
            S5 expiry s05_removing_or_refreshing_the_dead_finds_nothing,
            S5 expiry s05_what_is_written_dead_is_never_seen,
            S5 expiry s05_the_living_are_visible_to_the_last_moment,
            S6 expiry s06_only_the_dead_go_and_are_counted,
            S6 expiry s06_no_body_is_decoded,
            S6 expiry s06_the_cost_is_that_of_the_dead,
            S7 keys s07_namespaces_do_not_see_each_other,
            S7 keys s07_a_name_is_no_pattern,
            S8 keys s08_each_key_is_listed_once,
            S8 keys s08_listing_beside_writers_lists_what_stays_once,
            S9 content s09_any_bytes_and_the_longest_key_work,
            S10 content s10_over_the_limit_is_refused_and_changes_nothing,
            S11 lifecycle s11_after_close_each_call_says_closed,
            S11 lifecycle s11_clones_are_handles_on_the_same_thing,
            S12 atomic s12_racing_writers_leave_one_entry,
            S13 lifecycle s13_what_persists_is_there_after_reopening,
            S14 lifecycle s14_debug_shows_nothing_that_is_stored,
            S14 lifecycle s14_no_credential_is_shown,
            S15 damage s15_damaged_bytes_are_a_counted_miss,
            S15 damage s15_no_call_fails_on_damaged_bytes,
            S15 damage s15_a_flipped_bit_in_any_byte_is_noticed,
            S15 damage s15_damaged_bytes_are_removed_and_newer_ones_kept,
            model model model_a_random_history_is_that_of_a_map,
            model order model_racing_calls_have_an_order,
        }
    };
}

/// Calls another macro with the list of all tests of caches.
#[doc(hidden)]
#[macro_export]
macro_rules! __cache_tests {
    ($callback:ident! $($arguments:tt)*) => {
        $crate::$callback! { [$($arguments)*]
            cache cache cache_what_was_put_is_found,
            cache cache cache_a_redirect_lies_apart_and_responses_are_asked_first,
            cache cache cache_a_put_leaves_one_of_response_and_redirect,
            cache cache cache_the_expired_are_invisible_and_removed,
            cache cache cache_a_refresh_keeps_the_body,
            cache cache cache_deleting_counts_what_was_there,
            cache cache cache_records_are_heads_responses_first,
            cache cache cache_what_cannot_be_decoded_is_a_miss,
            cache parts cache_a_large_body_is_found_in_parts,
            cache parts cache_parts_go_with_their_response,
            cache parts cache_orphaned_parts_are_collected_after_the_grace,
            cache looking cache_looking_finds_what_is_meant,
            cache looking cache_deleting_what_is_meant_leaves_the_rest,
            cache looking cache_a_body_is_read_whole_or_not_at_all,
            cache looking cache_a_copy_is_the_same,
            cache cache cache_clearing_empties_every_storage,
            cache cache cache_after_close_each_call_says_closed,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __test_table {
    ([$harness:ident] $($rule:ident $module:ident $name:ident,)*) => {
        &[$(Test {
            rule: stringify!($rule),
            name: stringify!($name),
            body: |harness: &Arc<dyn $harness>| Box::pin($module::$name(&**harness)),
        }),*]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __test_functions {
    ([$check:ident $harness_trait:ident ($harness:expr) $skips:tt] $($rule:ident $module:ident $name:ident,)*) => {
        $(
            #[test]
            fn $name() {
                $crate::contract::$check(
                    stringify!($name),
                    async { ::std::sync::Arc::new($harness) as ::std::sync::Arc<dyn $crate::contract::$harness_trait> },
                    $crate::__names!($skips),
                );
            }
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __names {
    ([$($name:ident),* $(,)?]) => { &[$(stringify!($name)),*] };
}

/// Makes one `#[test]` of each test of the storage contract, named for what it shows.
///
/// The argument is an expression for a [`Harness`]; it is evaluated anew for each test, inside an async block on a
/// multi-threaded tokio runtime, so it may `.await`, and tests run in parallel without sharing anything.
/// `skip` names, by rule or by test, what the backend cannot be asked. A test that is skipped without being named
/// fails, and so does a name that is not needed.
///
/// ```
/// mod contract {
///     use hyper_client_cache_testkit::{contract_tests, reference::ReferenceHarness};
///
///     contract_tests!(ReferenceHarness::new(), skip = [s14_no_credential_is_shown, s03_a_killed_writer_leaves_whole_entries]);
/// }
/// ```
#[macro_export]
macro_rules! contract_tests {
    ($harness:expr $(,)?) => {
        $crate::contract_tests!($harness, skip = []);
    };
    ($harness:expr, skip = $skips:tt $(,)?) => {
        $crate::__storage_tests! { __test_functions! check Harness ($harness) $skips }
    };
}

/// Makes one `#[test]` of each test of the contract of caches. The argument is an expression for a [`CacheHarness`];
/// all else is as with [`contract_tests!`].
#[macro_export]
macro_rules! cache_contract_tests {
    ($harness:expr $(,)?) => {
        $crate::cache_contract_tests!($harness, skip = []);
    };
    ($harness:expr, skip = $skips:tt $(,)?) => {
        $crate::__cache_tests! { __test_functions! check_cache CacheHarness ($harness) $skips }
    };
}

/// Every test of storages, by rule.
pub const STORAGE_TESTS: &[Test<dyn Harness>] = __storage_tests!(__test_table! Harness);

/// Every test of caches.
pub const CACHE_TESTS: &[Test<dyn CacheHarness>] = __cache_tests!(__test_table! CacheHarness);
