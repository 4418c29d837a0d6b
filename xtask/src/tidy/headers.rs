//! Every Rust file begins with `//!`: why it exists and where to read next. A crate may say it with its README.

use anyhow::Result;

use super::{Finding, Repository};

pub(super) fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in repository.with_extension("rs") {
        if !has_header(&repository.read(path)?) {
            findings.push(Finding::new(path, "the first line is not `//! <why this file exists>`").at(1));
        }
    }
    Ok(findings)
}

fn has_header(text: &str) -> bool {
    text.starts_with("#![doc = include_str!(")
        || text.strip_prefix("//! ").is_some_and(|rest| !rest.lines().next().unwrap_or_default().trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_reason_is_found() {
        assert!(has_header("//! Why.\n"));
        assert!(has_header("#![doc = include_str!(\"../README.md\")]\n"));
        for bad in ["", "use std::fmt;\n//! Why.\n", "// Why.\n", "/// Why.\n", "//! \nWhy\n"] {
            assert!(!has_header(bad), "{bad:?}");
        }
    }
}
