//! Adds up what `cargo test` prints: one `test result:` line for each binary becomes one closing line for all.

use std::collections::BTreeMap;
use std::fmt;

/// Passed, failed and skipped tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed.saturating_add(other.passed),
            failed: self.failed.saturating_add(other.failed),
            skipped: self.skipped.saturating_add(other.skipped),
        }
    }
}

/// The closing line.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// One line of the table: a test binary, a crate's doc tests, an example.
#[derive(Debug)]
struct Row {
    name: String,
    counts: Counts,
    /// Whether a result was seen: a binary that dies prints none.
    finished: bool,
}

/// What the output of a test run says, line by line.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Test binaries by the file name of their executable: what cargo prints does not name the crate.
    names: BTreeMap<String, String>,
    rows: Vec<Row>,
    ignored: Vec<String>,
}

impl Summary {
    /// An empty one; `names` says which crate and target an executable is.
    pub(crate) fn new(names: BTreeMap<String, String>) -> Self {
        Self { names, rows: Vec::new(), ignored: Vec::new() }
    }

    /// Takes a line of output.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(name) = self.section(line) {
            self.rows.push(Row { name, counts: Counts::default(), finished: false });
        } else if let Some(counts) = parse_result(line) {
            // The doc tests of one crate may come with more than one result.
            match self.rows.last_mut() {
                Some(row) => {
                    row.counts = row.counts.plus(counts);
                    row.finished = true;
                }
                None => self.rows.push(Row { name: "unknown".to_owned(), counts, finished: true }),
            }
        } else if let Some(name) = parse_ignored(line) {
            self.ignored.push(name.to_owned());
        }
    }

    /// Adds a row of its own, for something that is no test binary.
    pub(crate) fn add(&mut self, name: impl Into<String>, passed: bool) {
        let counts = Counts { passed: u64::from(passed), failed: u64::from(!passed), skipped: 0 };
        self.rows.push(Row { name: name.into(), counts, finished: true });
    }

    /// Counts each binary that has ended without a result as one failure.
    pub(crate) fn close(&mut self) {
        for row in self.rows.iter_mut().filter(|row| !row.finished) {
            row.name.push_str(" (ended without a result)");
            row.counts.failed = row.counts.failed.saturating_add(1);
            row.finished = true;
        }
    }

    /// The sum.
    pub(crate) fn total(&self) -> Counts {
        self.rows.iter().map(|row| row.counts).fold(Counts::default(), Counts::plus)
    }

    /// The ignored tests that are not among `allowed`, which holds whole names or what follows their last `::`.
    pub(crate) fn forbidden_skips(&self, allowed: &[String]) -> Vec<&str> {
        let is_allowed = |name: &str| {
            let short = name.rsplit("::").next().unwrap_or(name);
            allowed.iter().any(|allowed| allowed == name || allowed == short)
        };
        self.ignored.iter().map(String::as_str).filter(|name| !is_allowed(name)).collect()
    }

    fn section(&self, line: &str) -> Option<String> {
        let line = line.trim_start();
        if let Some(library) = line.strip_prefix("Doc-tests ") {
            return Some(format!("{} doc tests", library.trim().replace('_', "-")));
        }
        let (what, executable) = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once(" (")?;
        let file = executable.rsplit(['/', '\\']).next().unwrap_or(executable);
        Some(self.names.get(file).cloned().unwrap_or_else(|| format!("{what} ({file})")))
    }
}

/// The table.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        writeln!(f, "{:width$}  passed  failed  skipped", "")?;
        for Row { name, counts: Counts { passed, failed, skipped }, .. } in &self.rows {
            writeln!(f, "{name:width$}  {passed:>6}  {failed:>6}  {skipped:>7}")?;
        }
        Ok(())
    }
}

fn parse_result(line: &str) -> Option<Counts> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| counts.split(';').find_map(|part| part.trim().strip_suffix(what)?.trim_end().parse().ok());
    Some(Counts { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
}

fn parse_ignored(line: &str) -> Option<&str> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    (outcome == "ignored" || outcome.starts_with("ignored, ")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(output: &str) -> Summary {
        let names = [("it-0a1b".to_owned(), "crate-b tests/it".to_owned())].into();
        let mut summary = Summary::new(names);
        output.lines().for_each(|line| summary.line(line));
        summary.close();
        summary
    }

    const OUTPUT: &str = "\
     Running unittests src/lib.rs (target/debug/deps/crate_a-1234)

running 3 tests
test a ... ok
test far::away ... ignored, needs a moon
test b ... FAILED
test result: FAILED. 17 passed; 1 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s
     Running tests/it/main.rs (target/debug/deps/it-0a1b)
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
   Doc-tests crate_b
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

    #[test]
    fn all_results_add_up_to_one_closing_line() {
        assert_eq!(summary(OUTPUT).total().to_string(), "23 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn the_table_names_crate_and_binary() {
        let table = summary(OUTPUT).to_string();
        let rows: Vec<Vec<_>> = table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["crate-b", "tests/it", "3", "0", "0"]);
        assert_eq!(rows[2], ["crate-b", "doc", "tests", "3", "0", "0"]);
    }

    #[test]
    fn a_binary_that_dies_without_a_result_is_a_failure() {
        let dead = OUTPUT.replace("test result: ok. 3 passed", "memory allocation failed");
        assert_eq!(summary(&dead).total().to_string(), "20 passed, 2 failed, 1 skipped");
        let last = "     Running tests/it/main.rs (target/debug/deps/it-0a1b)\nrunning 1 test\n";
        assert_eq!(summary(last).total().failed, 1);
    }

    #[test]
    fn an_ignored_test_is_forbidden_unless_it_is_named() {
        let summary = summary(OUTPUT);
        assert_eq!(summary.forbidden_skips(&[]), ["far::away"]);
        assert_eq!(summary.forbidden_skips(&["near".to_owned()]), ["far::away"]);
        assert!(summary.forbidden_skips(&["away".to_owned()]).is_empty());
        assert!(summary.forbidden_skips(&["far::away".to_owned()]).is_empty());
    }

    #[test]
    fn what_is_not_a_result_is_not_counted() {
        assert_eq!(parse_result("test result: unknown"), None);
        assert_eq!(parse_result("the test result: ok. 1 passed; 0 failed; 0 ignored;"), None);
        assert_eq!(parse_ignored("test a ... ok"), None);
    }
}
