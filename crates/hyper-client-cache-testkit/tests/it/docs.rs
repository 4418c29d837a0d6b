//! The documents say what the code does.

use hyper_client_cache_testkit::contract::{CACHE_TESTS, STORAGE_TESTS};

const GUIDE: &str = include_str!("../../../../docs/writing-a-backend.md");
const CONTRACT: &str = include_str!("../../../../docs/storage-contract.md");
const SESSION_SUITE: &str = include_str!("../../../../docs/session-suite.md");
const FEATURES: &str = include_str!("../../../../docs/features.md");
const EXAMPLE: &str = include_str!("../../examples/custom_storage.rs");

#[test]
fn the_guide_shows_the_example_as_it_is() {
    let code: String =
        EXAMPLE.lines().skip_while(|line| line.starts_with("//!") || line.is_empty()).collect::<Vec<_>>().join("\n");
    assert!(GUIDE.replace("\r\n", "\n").contains(&code), "docs/writing-a-backend.md and the example differ");
}

#[test]
fn the_storage_of_the_example_has_under_a_hundred_lines_of_code() {
    let code = EXAMPLE
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "pub(crate) struct Table {")
        .take_while(|line| *line != "pub(crate) struct TableHarness {")
        .filter(|line| !line.is_empty() && !line.starts_with("//"));
    let count = code.count();
    assert!((50..100).contains(&count), "{count} lines");
}

#[test]
fn every_rule_has_a_section_and_every_section_a_rule() {
    let mut rules: Vec<_> = STORAGE_TESTS.iter().map(|test| test.rule).filter(|rule| *rule != "model").collect();
    rules.dedup();
    let sections: Vec<_> = CONTRACT
        .lines()
        .filter_map(|line| line.strip_prefix("## S")?.split_once(':'))
        .map(|(number, _)| format!("S{number}"))
        .collect();
    assert_eq!(sections, rules);
}

#[test]
fn each_test_that_a_table_names_is_where_its_link_says() {
    for (document, text) in [("session-suite.md", SESSION_SUITE), ("features.md", FEATURES)] {
        for row in rows(text) {
            assert!(
                !row.tests.is_empty() || !row.remark().is_empty(),
                "{document} {}: neither test nor reason",
                row.number()
            );
            for Named { name, path } in &row.tests {
                let source = source(path);
                assert!(is_test(&source, name, path), "{document} {}: {path} has no test {name}", row.number());
            }
        }
    }
}

#[test]
fn no_line_of_the_original_and_no_feature_is_missing() {
    assert_eq!(numbers(SESSION_SUITE), (1..=125).collect::<Vec<_>>());
    let features: Vec<_> = numbers(FEATURES).into_iter().filter(|number| *number <= 70).collect();
    assert_eq!(features, (1..=70).collect::<Vec<_>>());
}

/// What is said to hold over every backend is in a suite that each of them runs, and the other way round.
#[test]
fn a_feature_is_shown_over_the_stores_that_are_named() {
    for row in rows(FEATURES) {
        let [_, _, tests, over, _] = &row.cells[..] else { panic!("{}: {} cells", row.number(), row.cells.len()) };
        let in_suite = row.tests.iter().any(|test| is_in_a_suite(test.path));
        match *over {
            "every backend" => assert!(in_suite, "{}: none of {tests} is in a suite", row.number()),
            "memory" | "no store" => {
                assert!(!in_suite && !row.tests.is_empty(), "{}: {over}, but {tests}", row.number())
            }
            "" => assert!(row.tests.is_empty(), "{}: over nothing", row.number()),
            other => panic!("{}: nobody knows what {other:?} means", row.number()),
        }
    }
}

#[cfg(feature = "session")]
#[test]
fn each_test_of_sessions_is_named_in_a_table() {
    let names = hyper_client_cache_testkit::session::SESSION_TESTS.iter().map(|test| test.name);
    let is_named = |name: &&str| [SESSION_SUITE, FEATURES].iter().any(|table| table.contains(&format!("[`{name}`]")));
    let unnamed: Vec<_> = names.filter(|name| !is_named(name)).collect();
    assert!(unnamed.is_empty(), "no table names {unnamed:?}");
}

/// A row of a table whose first column is a number, or several.
struct Row<'a> {
    cells: Vec<&'a str>,
    tests: Vec<Named<'a>>,
}

struct Named<'a> {
    name: &'a str,
    path: &'a str,
}

impl<'a> Row<'a> {
    fn number(&self) -> &'a str {
        self.cells[0]
    }

    fn remark(&self) -> &'a str {
        self.cells[self.cells.len() - 1]
    }
}

fn rows(document: &str) -> impl Iterator<Item = Row<'_>> {
    document.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        cells[0].starts_with(|first: char| first.is_ascii_digit()).then(|| Row { tests: links(cells[2]), cells })
    })
}

/// The numbers of all rows: "1", "13, 14" or "49 to 52".
fn numbers(document: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for row in rows(document) {
        for part in row.number().split(", ") {
            let (first, last) = part.split_once(" to ").unwrap_or((part, part));
            numbers.extend(first.parse::<u32>().unwrap()..=last.parse().unwrap());
        }
    }
    numbers.sort_unstable();
    numbers
}

/// The links of a cell, each of which is a test by its name.
fn links(cell: &str) -> Vec<Named<'_>> {
    let parts = cell.split(", ").filter(|part| !part.is_empty());
    let link = |part: &'_ str| -> Option<(usize, usize)> { part.find("`](../").zip(part.rfind(')')) };
    parts
        .map(|part| {
            let (name_end, path_end) = link(part).unwrap_or_else(|| panic!("{part} is no link to a test"));
            Named { name: &part["[`".len()..name_end], path: &part[name_end + "`](../".len()..path_end] }
        })
        .collect()
}

fn source(path: &str) -> String {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn is_in_a_suite(path: &str) -> bool {
    path.starts_with("crates/hyper-client-cache-testkit/src/")
}

/// Whether `source` defines the function `name`, as a test or as one of a suite.
fn is_test(source: &str, name: &str, path: &str) -> bool {
    let Some(at) = source.find(&format!("fn {name}(")) else { return false };
    if is_in_a_suite(path) {
        return STORAGE_TESTS.iter().any(|test| test.name == name)
            || CACHE_TESTS.iter().any(|test| test.name == name)
            || is_session_test(name);
    }
    // Attributes stand directly before it.
    let before = source[..at].lines().rev().take(4).collect::<Vec<_>>();
    before.iter().any(|line| line.trim_start().starts_with("#[test]") || line.trim_start().starts_with("#[tokio::test"))
}

#[cfg(feature = "session")]
fn is_session_test(name: &str) -> bool {
    hyper_client_cache_testkit::session::SESSION_TESTS.iter().any(|test| test.name == name)
}

/// Without the feature there is no list, and the names must do.
#[cfg(not(feature = "session"))]
fn is_session_test(name: &str) -> bool {
    name.starts_with("session_")
}
