//! The table of features in the README is the one that the manifests give.
//!
//! Between the markers stands exactly what [`table`] makes of the features and the `##` comments above them.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Finding, Repository};
use crate::workspace::BENCH;

const FILE: &str = "README.md";
const BEGIN: &str = "<!-- features: begin -->";
const END: &str = "<!-- features: end -->";

pub(super) fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let mut rows = Vec::new();
    for package in repository.workspace.packages.iter().filter(|package| package.name != BENCH) {
        let text = std::fs::read_to_string(&package.manifest_path)?;
        match features(&text).with_context(|| package.name.clone())? {
            Ok(features) => rows.extend(features.into_iter().map(|feature| (package.name.clone(), feature))),
            Err(name) => {
                let message = format!("the feature `{name}` has no `## what it does` above it");
                return Ok(vec![Finding::new(&package.manifest_path, message)]);
            }
        }
    }
    Ok(compare(&repository.read(Path::new(FILE))?, &table(&rows)).into_iter().collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Feature {
    name: String,
    default: bool,
    description: String,
}

/// The features of a manifest; the name of the first without a description where there is one.
fn features(manifest: &str) -> Result<Result<Vec<Feature>, String>> {
    let parsed: toml::Table = manifest.parse()?;
    let Some(section) = parsed.get("features").and_then(toml::Value::as_table) else { return Ok(Ok(Vec::new())) };
    let defaults: Vec<_> = match section.get("default").and_then(toml::Value::as_array) {
        Some(list) => list.iter().filter_map(toml::Value::as_str).collect(),
        None => Vec::new(),
    };
    let mut found = Vec::new();
    for name in section.keys().filter(|name| *name != "default") {
        let Some(description) = description(manifest, name) else { return Ok(Err(name.clone())) };
        found.push(Feature { name: name.clone(), default: defaults.contains(&name.as_str()), description });
    }
    Ok(Ok(found))
}

/// The `##` lines right above the feature.
fn description(manifest: &str, feature: &str) -> Option<String> {
    let lines: Vec<_> = manifest.lines().collect();
    let is_feature = |line: &&str| line.strip_prefix(feature).is_some_and(|rest| rest.trim_start().starts_with('='));
    let at = lines.iter().position(is_feature)?;
    let above = lines.get(..at)?.iter().rev().map_while(|line| line.strip_prefix("## "));
    let mut text: Vec<_> = above.collect();
    text.reverse();
    (!text.is_empty()).then(|| text.join(" "))
}

fn table(rows: &[(String, Feature)]) -> String {
    let mut table = String::from("| crate | feature | default | what it adds |\n| --- | --- | --- | --- |\n");
    for (package, feature) in rows {
        let default = if feature.default { "yes" } else { "no" };
        table.push_str(&format!("| `{package}` | `{}` | {default} | {} |\n", feature.name, feature.description));
    }
    table
}

fn compare(text: &str, table: &str) -> Option<Finding> {
    let found = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(inside, _)| inside.trim());
    if found == Some(table.trim()) {
        return None;
    }
    Some(Finding::new(FILE, format!("between `{BEGIN}` and `{END}` must stand:\n{table}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[features]\ndefault = [\"a\"]\n## First\n## line.\na = []\n## Second.\nb = [\"a\"]\n";

    #[test]
    fn a_table_that_differs_from_the_manifest_is_found() {
        let rows: Vec<_> =
            features(MANIFEST).unwrap().unwrap().into_iter().map(|feature| ("c".to_owned(), feature)).collect();
        let table = table(&rows);
        assert!(table.contains("| `c` | `a` | yes | First line. |\n| `c` | `b` | no | Second. |"), "{table}");
        let page = |table: &str| format!("text\n{BEGIN}\n\n{table}\n{END}\n");
        assert_eq!(compare(&page(&table), &table), None);
        assert!(compare(&page(&table.replace("| yes |", "| no |")), &table).is_some());
        assert!(compare("no markers", &table).is_some());
    }

    #[test]
    fn a_feature_without_a_description_is_found() {
        assert_eq!(features("[features]\na = []\n").unwrap(), Err("a".to_owned()));
        assert_eq!(features("[package]\n").unwrap(), Ok(Vec::new()));
    }
}
