//! Each rule can be broken, and each test of the suite can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hyper_client_cache_testkit::broken::{self, BrokenCacheHarness, CacheFault, Case};
use hyper_client_cache_testkit::contract::{self, CACHE_TESTS, CacheHarness, STORAGE_TESTS, Verdict, Violation};

const KILLED: &str = "s03_a_killed_writer_leaves_whole_entries";

/// The tests that found `case` out, by name.
async fn found_out(case: &Case) -> BTreeMap<&'static str, (&'static str, Violation)> {
    let mut failed = BTreeMap::new();
    for test in STORAGE_TESTS {
        if let Err(violation) = test.run(&case.harness).await {
            failed.insert(test.name, (test.rule, violation));
        }
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broken_storage_fails_the_tests_of_the_rule_that_it_breaks() {
    let runs: Vec<_> = broken::storages()
        .into_iter()
        .map(|case| tokio::spawn(async move { (found_out(&case).await, case) }))
        .collect();
    let mut rules_broken = BTreeSet::new();
    let mut tests_failed = BTreeSet::new();
    println!("{:<5}{:<54}first failure of a test of that rule", "rule", "broken storage");
    for run in runs {
        let (failed, case) = run.await.unwrap();
        let first = failed.values().find(|(rule, _)| *rule == case.rule);
        let Some((_, violation)) = first else {
            panic!("no test of {} noticed the storage that {}; these did: {:?}", case.rule, case.name, failed.keys());
        };
        println!("{:<5}{:<54}{violation}", case.rule, case.name);
        let others: BTreeSet<_> = failed.values().map(|(rule, _)| *rule).filter(|rule| *rule != case.rule).collect();
        println!("     {:<54}also noticed by tests of: {others:?}", "");
        rules_broken.insert(case.rule);
        tests_failed.extend(failed.into_keys());
    }
    let rules: BTreeSet<_> = STORAGE_TESTS.iter().map(|test| test.rule).filter(|rule| *rule != "model").collect();
    assert_eq!(rules.len(), 15);
    // Not a rule of its own, though it has a broken storage.
    rules_broken.remove("model");
    assert_eq!(rules_broken, rules, "a rule without a broken storage");
    // The module `killed` shows that this one can fail: it takes a storage that two processes share.
    let tests: BTreeSet<_> = STORAGE_TESTS.iter().map(|test| test.name).filter(|name| *name != KILLED).collect();
    let never: Vec<_> = tests.difference(&tests_failed).collect();
    assert!(never.is_empty(), "no broken storage makes these tests fail: {never:?}");
}

/// The tests above would prove nothing if they failed for the harness that the broken storages share.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_storage_unbroken_passes_every_test() {
    #[derive(Debug, Default)]
    struct Unchanged;
    impl broken::Twist for Unchanged {
        const NAME: &'static str = "does nothing wrong";
    }

    let harness: Arc<dyn hyper_client_cache_testkit::contract::Harness> =
        Arc::new(broken::BrokenHarness::<Unchanged>::default());
    for test in STORAGE_TESTS.iter().filter(|test| test.name != KILLED) {
        let outcome = test.run(&harness).await;
        assert!(matches!(outcome, Ok(Verdict::Kept)), "{}: {outcome:?}", test.name);
    }
}

/// The same for caches: each fault is noticed, and each test notices one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broken_cache_fails_a_test_and_each_test_is_failed_by_one() {
    let mut tests_failed = BTreeSet::new();
    for fault in CacheFault::ALL {
        let harness: Arc<dyn CacheHarness> = Arc::new(BrokenCacheHarness::new(Some(*fault)));
        let mut first = None;
        for test in CACHE_TESTS {
            if let Err(violation) = test.run(&harness).await {
                tests_failed.insert(test.name);
                first.get_or_insert((test.name, violation));
            }
        }
        let (test, violation) = first.unwrap_or_else(|| panic!("no test noticed {fault:?}"));
        println!("{:<30}{test}: {violation}", format!("{fault:?}"));
    }
    let never: Vec<_> = CACHE_TESTS.iter().map(|test| test.name).filter(|name| !tests_failed.contains(name)).collect();
    assert!(never.is_empty(), "no broken cache makes these tests fail: {never:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_cache_unbroken_passes_every_test() {
    contract::run_cache(BrokenCacheHarness::new(None)).await.assert_passed();
}

/// The same for sessions: each fault is noticed, and each test notices one.
#[cfg(feature = "session")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broken_session_fails_a_test_and_each_test_is_failed_by_one() {
    use broken::SessionFault;
    use hyper_client_cache_testkit::session::SESSION_TESTS;

    let runs: Vec<_> = SessionFault::ALL.iter().map(|fault| tokio::spawn(failed_sessions(*fault))).collect();
    let mut tests_failed = BTreeSet::new();
    let mut unnoticed = Vec::new();
    for (fault, run) in SessionFault::ALL.iter().zip(runs) {
        let failed = run.await.unwrap();
        match failed.first() {
            Some((test, violation)) => {
                let fault = format!("{fault:?}");
                println!("{fault:<20}{:>3} tests, the first: {test}: {violation}", failed.len());
            }
            None => unnoticed.push(fault),
        }
        tests_failed.extend(failed.into_iter().map(|(test, _)| test));
    }
    assert!(unnoticed.is_empty(), "no test noticed {unnoticed:?}");
    let never: Vec<_> =
        SESSION_TESTS.iter().map(|test| test.name).filter(|name| !tests_failed.contains(name)).collect();
    assert_eq!(never, NEVER, "what nothing broken makes fail");
}

/// What no cache and no setting can break, in the order of the suite: what the engine gives to neither of them, what it
/// sends, and what it keeps of a request that is over.
#[cfg(feature = "session")]
const NEVER: [&str; 4] = [
    "session_a_body_that_is_not_stored_is_read_all_the_same",
    "session_a_body_cut_short_is_never_stored",
    "session_a_thousand_urls_leave_nothing_in_flight",
    "session_no_option_of_the_cache_is_sent",
];

/// Tests of hundreds of requests, which two of the faults are enough for.
#[cfg(feature = "session")]
const HEAVY: [&str; 5] = [
    "session_five_hundred_at_once_are_fetched_once_each",
    "session_each_payload_is_a_request_of_its_own",
    "session_what_is_ignored_does_not_count",
    "session_a_large_body_streams_twice",
    "session_a_thousand_urls_leave_nothing_in_flight",
];

/// The tests that noticed `fault`, in their order.
#[cfg(feature = "session")]
async fn failed_sessions(fault: broken::SessionFault) -> Vec<(&'static str, Violation)> {
    use broken::{BrokenSessionHarness, SessionFault};

    let takes_all = [SessionFault::FindsNothing, SessionFault::CutsParts].contains(&fault);
    let mut failed = Vec::new();
    for test in hyper_client_cache_testkit::session::SESSION_TESTS {
        if takes_all || !HEAVY.contains(&test.name) {
            let harness: Arc<dyn CacheHarness> = Arc::new(BrokenSessionHarness::new(Some(fault)));
            if let Err(violation) = test.run(&harness).await {
                failed.push((test.name, violation));
            }
        }
    }
    failed
}

#[cfg(feature = "session")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_sessions_unbroken_pass_every_test() {
    for test in hyper_client_cache_testkit::session::SESSION_TESTS {
        let harness: Arc<dyn CacheHarness> = Arc::new(broken::BrokenSessionHarness::new(None));
        let outcome = test.run(&harness).await;
        assert!(matches!(outcome, Ok(Verdict::Kept)), "{}: {outcome:?}", test.name);
    }
}
