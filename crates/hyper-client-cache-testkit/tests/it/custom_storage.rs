//! The example that third parties begin with keeps every rule that it can be asked about.

use hyper_client_cache_testkit::contract_tests;

#[path = "../../examples/custom_storage.rs"]
#[allow(dead_code)] // its `main`
mod example;

contract_tests!(
    example::TableHarness::default(),
    skip =
        [S10, s14_no_credential_is_shown, s03_a_killed_writer_leaves_whole_entries, s06_the_cost_is_that_of_the_dead]
);
