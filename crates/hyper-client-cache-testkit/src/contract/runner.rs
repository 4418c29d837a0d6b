//! Runs tests of the contract and says how they ended.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::outcome::{Outcome, Verdict, Violation};
use super::suite::{CACHE_TESTS, STORAGE_TESTS, Test};
use super::{CacheHarness, Harness};

/// How long one test may take. A test that takes longer hangs: the slowest takes seconds on a remote store.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs every test of the storage contract, one after the other. Needs a multi-threaded tokio runtime for the tests
/// of concurrency to mean much.
pub async fn run(harness: impl Harness) -> Report {
    let harness: Arc<dyn Harness> = Arc::new(harness);
    run_tests(STORAGE_TESTS, &harness).await
}

/// Runs every test of the contract of caches, one after the other.
pub async fn run_cache(harness: impl CacheHarness) -> Report {
    let harness: Arc<dyn CacheHarness> = Arc::new(harness);
    run_tests(CACHE_TESTS, &harness).await
}

async fn run_tests<H: ?Sized + Send + Sync + 'static>(tests: &[Test<H>], harness: &Arc<H>) -> Report {
    let mut rows = Vec::with_capacity(tests.len());
    for test in tests {
        rows.push(Row { rule: test.rule, test: test.name, outcome: test.run(harness).await });
    }
    Report { rows }
}

/// How every test ended. Displays as a table.
#[derive(Clone, Debug)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// One row for each test.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Panics unless every test ran and found its rule kept.
    #[track_caller]
    pub fn assert_passed(&self) {
        self.assert_passed_except(&[]);
    }

    /// Panics unless every test found its rule kept or was skipped and is named in `skips`, by its name or by its
    /// rule's. A name that was not needed panics too.
    #[track_caller]
    #[allow(clippy::panic)] // an assertion: panicking is its job
    pub fn assert_passed_except(&self, skips: &[&str]) {
        let complaints: Vec<_> = self.rows.iter().filter_map(|row| row.complaint(skips)).collect();
        let unknown: Vec<_> = skips.iter().filter(|skip| !self.rows.iter().any(|row| row.is_named(skip))).collect();
        assert!(unknown.is_empty(), "no test and no rule has the name of the skips {unknown:?}");
        assert!(complaints.is_empty(), "the contract is not kept:\n{}", complaints.join("\n"));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut passed, mut failed, mut skipped) = (0_usize, 0_usize, 0_usize);
        for row in &self.rows {
            let count = match row.outcome {
                Ok(Verdict::Kept) => &mut passed,
                Ok(Verdict::Skipped(_)) => &mut skipped,
                Err(_) => &mut failed,
            };
            *count = count.saturating_add(1);
            writeln!(f, "{row}")?;
        }
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// How one test ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The rule that the test is about: `S1` to `S15`, `model`, or `cache`.
    pub rule: &'static str,
    /// The test's name.
    pub test: &'static str,
    /// How it ended.
    pub outcome: Outcome,
}

impl Row {
    fn is_named(&self, skip: &str) -> bool {
        skip == self.rule || skip == self.test
    }

    /// Why this row fails a run in which `skips` are expected, if it does.
    fn complaint(&self, skips: &[&str]) -> Option<String> {
        let named = skips.iter().any(|skip| self.is_named(skip));
        match &self.outcome {
            Ok(Verdict::Kept) if named => {
                Some(format!("{} {}: named as a skip, but it ran and passed: remove it", self.rule, self.test))
            }
            Ok(Verdict::Skipped(_)) if named => None,
            Ok(Verdict::Skipped(reason)) => {
                Some(format!("{} {}: skipped, and not named as a skip: {reason}", self.rule, self.test))
            }
            Ok(Verdict::Kept) => None,
            Err(violation) => Some(format!("{} {}: {violation}", self.rule, self.test)),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<6}{:<66}", self.rule, self.test)?;
        match &self.outcome {
            Ok(Verdict::Kept) => f.write_str("passed"),
            Ok(Verdict::Skipped(reason)) => write!(f, "skipped ({reason})"),
            Err(violation) => write!(f, "FAILED: {violation}"),
        }
    }
}

impl<H: ?Sized + Send + Sync + 'static> Test<H> {
    /// Runs this test as a task of its own, so that a panic or a hang is an outcome and not the end of the run.
    pub async fn run(&self, harness: &Arc<H>) -> Outcome {
        let body = self.body;
        let harness = Arc::clone(harness);
        let mut task = tokio::spawn(async move { body(&harness).await });
        match tokio::time::timeout(LIMIT, &mut task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Err(Violation::unplaced(format!("it panicked: {error}"))),
            Err(_) => {
                task.abort();
                Err(Violation::unplaced(format!("it hung for {} seconds", LIMIT.as_secs())))
            }
        }
    }
}

/// The body of each test that [`contract_tests!`](crate::contract_tests) makes.
#[doc(hidden)]
pub fn check<F: Future<Output = Arc<dyn Harness>>>(name: &str, harness: F, skips: &[&str]) {
    check_in(STORAGE_TESTS, name, harness, skips);
}

/// The body of each test that [`cache_contract_tests!`](crate::cache_contract_tests) makes.
#[doc(hidden)]
pub fn check_cache<F: Future<Output = Arc<dyn CacheHarness>>>(name: &str, harness: F, skips: &[&str]) {
    check_in(CACHE_TESTS, name, harness, skips);
}

#[allow(clippy::panic, clippy::expect_used)] // the body of a test: panicking is how it fails
pub(crate) fn check_in<H, F>(tests: &[Test<H>], name: &str, harness: F, skips: &[&str])
where
    H: ?Sized + Send + Sync + 'static,
    F: Future<Output = Arc<H>>,
{
    for skip in skips {
        let known = tests.iter().any(|test| test.rule == *skip || test.name == *skip);
        assert!(known, "no test and no rule has the name of the skip {skip:?}");
    }
    let test = tests.iter().find(|test| test.name == name).expect("the macro and the table are made from one list");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let outcome = runtime.block_on(async {
        let harness = harness.await;
        test.run(&harness).await
    });
    // A storage that left a thread blocked must not keep the whole run from ending.
    runtime.shutdown_timeout(Duration::from_secs(5));
    let row = Row { rule: test.rule, test: test.name, outcome };
    if let Some(complaint) = row.complaint(skips) {
        panic!("{complaint}");
    }
}

/// A future that a test of the contract is.
pub(super) type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
