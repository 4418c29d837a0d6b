//! The reference storage keeps every rule.

use hyper_client_cache_testkit::contract_tests;
use hyper_client_cache_testkit::reference::ReferenceHarness;

contract_tests!(ReferenceHarness::new(), skip = [s14_no_credential_is_shown]);
