//! What a user of a session is promised, as tests that can be put under any cache.
//!
//! Where [`contract`](crate::contract) asks a storage and a cache directly, these tests send requests through a
//! [`CachedSession`] to a scripted origin, and look at answers, counts and the cache.
//! A backend calls [`session_tests!`](crate::session_tests) with the same [`CacheHarness`] as
//! [`cache_contract_tests!`](crate::cache_contract_tests).
//! `docs/session-suite.md` says which test stands for which promise of the cache that this project is modelled on.
//!
//! In reading order: `requests` (what is one request and what is another), `matching` and `keys` (what of a request
//! counts), `variants`, `lifetime` and `lasting` (how long), `headers` (what servers and callers say about it),
//! `revalidation`, `stale`, `modes` (how the cache is used), `redirects`, `bodies`, `looking` and `inside` (what is
//! stored), `described` (what a response says of itself), `cookies`, `settings` (rules) and `filters`, `use_of` (a session
//! and its cache, as objects), `around` (what is around the cache and beneath it), [`soak`] (all of it at once, for as long as is asked for).

mod support;

mod requests;

mod matching;

mod keys;

mod variants;

mod lifetime;

mod lasting;

mod headers;

mod revalidation;

mod stale;

mod modes;

mod redirects;

mod bodies;

mod looking;

mod inside;

mod described;

mod cookies;

mod settings;

mod filters;

mod use_of;

mod around;

mod soak;

pub use self::soak::soak;
use std::future::Future;
use std::sync::Arc;

use crate::contract::{CacheHarness, Test, check_in};
use crate::core::session::CachedSession;

/// Calls another macro with the list of all tests of sessions.
#[doc(hidden)]
#[macro_export]
macro_rules! __session_tests {
    ($callback:ident! $($arguments:tt)*) => {
        $crate::$callback! { [$($arguments)*]
            session requests session_the_second_request_is_answered_from_the_cache,
            session requests session_different_parameters_are_different_requests,
            session requests session_each_method_is_a_request_of_its_own,
            session requests session_callers_with_other_credentials_never_meet,
            session requests session_five_hundred_at_once_are_fetched_once_each,
            session requests session_a_hundred_equal_requests_are_one,
            session matching session_each_payload_is_a_request_of_its_own,
            session matching session_what_is_ignored_does_not_count,
            session matching session_a_matched_header_counts,
            session keys session_the_order_of_parameters_counts_unless_sorted,
            session keys session_spellings_of_one_url_are_one,
            session keys session_bodies_are_compared_by_what_they_say,
            session keys session_an_ignored_member_is_ignored_at_any_depth,
            session keys session_query_is_answered_by_its_body,
            session keys session_a_key_function_decides_what_counts,
            session keys session_an_overridden_method_shares_nothing,
            session keys session_partitions_do_not_meet,
            session keys session_no_vary_search_is_believed_where_asked_for,
            session keys session_what_is_stored_may_be_given_new_keys,
            session keys session_other_options_of_matching_find_nothing,
            session keys session_what_was_fetched_under_another_trust_is_not_found,
            session keys session_a_head_is_answered_by_a_stored_get_and_not_the_other_way,
            session variants session_an_ignored_header_does_not_vary,
            session variants session_spelling_tells_no_variants_apart,
            session variants session_a_redirect_varies_like_any_response,
            session variants session_cookies_select_where_a_response_says_so,
            session variants session_the_oldest_of_too_many_variants_goes,
            session variants session_a_304_renews_the_variant_that_it_confirms,
            session lifetime session_a_request_may_say_how_long,
            session lifetime session_nothing_said_is_kept_until_deleted,
            session lifetime session_what_is_not_to_be_stored_is_not,
            session lifetime session_the_expired_are_removed_and_the_others_kept,
            session lifetime session_a_disabled_session_neither_reads_nor_writes,
            session lifetime session_offline_answers_what_is_stored_or_504,
            session lasting session_a_lifetime_may_have_any_form,
            session lasting session_what_is_stale_at_once_is_confirmed_each_time,
            session lasting session_a_forced_lifetime_overrides_the_headers,
            session lasting session_lifetimes_of_headers_are_kept_within_bounds,
            session lasting session_use_renews_a_sliding_lifetime,
            session lasting session_lifetimes_are_spread_where_asked_for,
            session lasting session_errors_are_kept_for_as_long_as_their_status_says,
            session lasting session_a_body_over_the_limit_is_not_stored,
            session lasting session_what_is_stored_may_be_given_another_lifetime,
            session headers session_the_servers_lifetime_counts,
            session headers session_what_the_server_forbids_is_not_stored,
            session headers session_no_cache_of_a_response_is_confirmed_each_time,
            session headers session_no_store_of_a_request_passes_the_cache,
            session headers session_no_cache_of_a_request_asks_the_server,
            session headers session_headers_are_ignored_where_that_is_asked_for,
            session headers session_directives_of_responses_mean_nothing_in_a_request,
            session headers session_variants_lie_side_by_side,
            session headers session_repeated_lines_come_back_as_they_were,
            session revalidation session_a_304_renews_what_is_stored,
            session revalidation session_a_date_is_a_validator_too,
            session revalidation session_a_changed_answer_replaces_what_is_stored,
            session revalidation session_a_refresh_without_validators_fetches_anew,
            session revalidation session_stale_is_served_on_an_error_where_allowed,
            session stale session_stale_is_served_while_it_is_refreshed,
            session stale session_strict_directives_are_stronger_than_windows,
            session stale session_a_request_may_have_stale_windows_of_its_own,
            session stale session_an_unsafe_request_removes_what_it_changes,
            session stale session_an_unsafe_request_removes_what_others_stored,
            session modes session_each_mode_reads_and_stores_what_it_says,
            session modes session_the_nearest_mode_counts,
            session modes session_reading_only_changes_nothing,
            session modes session_what_is_fresh_is_revalidated_where_asked_for,
            session modes session_settings_change_for_the_next_request,
            session redirects session_each_hop_is_stored_and_answered_by_itself,
            session redirects session_a_redirect_is_found_and_deleted_by_its_url,
            session redirects session_expired_redirects_go_and_the_others_stay,
            session bodies session_an_empty_body_is_a_body,
            session bodies session_a_large_body_streams_twice,
            session bodies session_a_body_that_is_not_stored_is_read_all_the_same,
            session bodies session_a_body_cut_short_is_never_stored,
            session looking session_what_is_stored_is_found_by_url,
            session looking session_urls_are_listed_once_each,
            session looking session_deleting_by_url_takes_every_variant,
            session looking session_clearing_leaves_nothing,
            session inside session_what_is_stored_is_shown_as_its_response_was,
            session inside session_listings_show_what_is_asked_for,
            session inside session_deleting_what_is_meant_leaves_the_rest,
            session inside session_deleting_by_request_takes_what_it_selects,
            session inside session_what_is_explained_is_what_is_done,
            session described session_a_stored_response_says_what_the_fetched_one_said,
            session cookies session_stored_cookies_reach_the_jar_where_asked_for,
            session settings session_a_filter_may_look_at_the_body,
            session settings session_the_first_rule_that_matches_counts,
            session filters session_what_a_filter_refuses_is_not_stored,
            session filters session_what_is_stored_must_pass_the_filter,
            session filters session_a_filter_decides_which_requests_use_the_cache,
            session filters session_what_is_stored_may_be_changed_first,
            session use_of session_closing_closes_its_own_cache_and_no_shared_one,
            session use_of session_two_sessions_share_one_cache,
            session use_of session_a_dropped_session_loses_nothing,
            session use_of session_a_thousand_urls_leave_nothing_in_flight,
            session around session_what_is_beneath_the_cache_sees_misses_only,
            session around session_a_layer_and_a_session_share_what_is_stored,
            session around session_a_shared_cache_stores_what_is_for_all,
            session around session_every_policy_of_redirects_shares_the_hops,
            session around session_a_relative_url_is_the_one_that_it_means,
            session around session_no_option_of_the_cache_is_sent,
        }
    };
}

/// Makes one `#[test]` of each test of sessions. The argument is an expression for a [`CacheHarness`]; all else is as
/// with [`contract_tests!`](crate::contract_tests).
#[macro_export]
macro_rules! session_tests {
    ($harness:expr $(,)?) => {
        $crate::session_tests!($harness, skip = []);
    };
    ($harness:expr, skip = $skips:tt $(,)?) => {
        $crate::__session_tests! { __session_functions! ($harness) $skips }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __session_functions {
    ([($harness:expr) $skips:tt] $($rule:ident $module:ident $name:ident,)*) => {
        $(
            #[test]
            fn $name() {
                $crate::session::check(
                    stringify!($name),
                    async { ::std::sync::Arc::new($harness) as ::std::sync::Arc<dyn $crate::contract::CacheHarness> },
                    $crate::__names!($skips),
                );
            }
        )*
    };
}

/// Every test of sessions.
pub const SESSION_TESTS: &[Test<dyn CacheHarness>] = __session_tests!(__test_table! CacheHarness);

/// The body of each test that [`session_tests!`](crate::session_tests) makes.
#[doc(hidden)]
pub fn check<F: Future<Output = Arc<dyn CacheHarness>>>(name: &str, harness: F, skips: &[&str]) {
    check_in(SESSION_TESTS, name, harness, skips);
}
