//! The reference storage keeps every rule, and so does a cache made of it.

use hyper_client_cache_testkit::reference::{ReferenceCacheHarness, ReferenceHarness};
use hyper_client_cache_testkit::{cache_contract_tests, contract_tests};

contract_tests!(ReferenceHarness::new(), skip = [s14_no_credential_is_shown, s03_a_killed_writer_leaves_whole_entries]);

cache_contract_tests!(ReferenceCacheHarness::new());
