//! A Rust file has at most 500 lines without its tests, and better at most 400.

use std::path::Path;

use anyhow::Result;

use super::{Finding, Repository};

const HARD: usize = 500;
const SOFT: usize = 400;

pub(super) fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (path, source) in repository.without_tests() {
        let lines = repository.read(path)?.lines().count().saturating_sub(source.test_lines);
        findings.extend(judge(path, lines));
    }
    Ok(findings)
}

fn judge(path: &Path, lines: usize) -> Option<Finding> {
    let finding = |limit| Finding::new(path, format!("{lines} lines without tests; split it by job ({limit} at most)"));
    match lines {
        0..=SOFT => None,
        _ if lines <= HARD => Some(finding(SOFT).warning()),
        _ => Some(finding(HARD)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_warn_and_longer_ones_fail() {
        let judge = |lines| judge(Path::new("a.rs"), lines);
        assert_eq!(judge(400), None);
        assert!(judge(401).is_some_and(|finding| finding.warning));
        assert!(judge(501).is_some_and(|finding| !finding.warning));
    }
}
