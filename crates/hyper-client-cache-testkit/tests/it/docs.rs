//! The documents say what the code does.

use hyper_client_cache_testkit::contract::STORAGE_TESTS;

const GUIDE: &str = include_str!("../../../../docs/writing-a-backend.md");
const CONTRACT: &str = include_str!("../../../../docs/storage-contract.md");
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
