//! Nothing is left over: no marks of unfinished work, no tests or examples that are not run, no folder or package
//! source of the machine that it was written on.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Finding, Repository};

/// What must not stand in a file, and why. Written in pieces, so that this file does not find itself.
const UNFINISHED: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it, or write down what is the case"),
    (concat!("FIX", "ME"), "finish it, or write down what is the case"),
    (concat!("#[ign", "ore"), "a test that is not run proves nothing"),
    (concat!("```ign", "ore"), "an example that is not compiled goes stale"),
    (concat!("```rust,ign", "ore"), "an example that is not compiled goes stale"),
];

/// Settings that name where packages come from, which are the machine's business.
const PACKAGE_SOURCES: &[&str] = &["[source.", "[registries", "replace-with", "registry ="];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let folders = machine_folders(&repository.workspace.root);
    let mut findings = Vec::new();
    for path in &repository.files {
        let Ok(text) = std::fs::read_to_string(repository.workspace.root.join(path)) else { continue };
        findings.extend(search(path, &text, &folders));
    }
    Ok(findings)
}

fn search(path: &Path, text: &str, folders: &[PathBuf]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_manifest = path.extension().is_some_and(|extension| extension == "toml");
    let is_lock = path.file_name().is_some_and(|name| name == "Cargo.lock");
    for (line, text) in (1..).zip(text.lines()) {
        let mut find = |message: String| findings.push(Finding::new(path, message).at(line));
        for (mark, reason) in UNFINISHED.iter().filter(|(mark, _)| text.contains(mark)) {
            find(format!("`{mark}`: {reason}"));
        }
        for folder in folders.iter().filter(|folder| names_folder(text, folder)) {
            find(format!("`{}` is a folder of this machine", folder.display()));
        }
        if is_manifest && PACKAGE_SOURCES.iter().any(|setting| text.trim_start().starts_with(setting)) {
            find("where packages come from is set outside the repository".to_owned());
        }
        if is_lock && text.strip_prefix("source = ").is_some_and(|source| source.trim_matches('"') != CRATES_IO) {
            find("a package that does not come from crates.io".to_owned());
        }
    }
    findings
}

/// The home folder and the workspace itself.
fn machine_folders(root: &Path) -> Vec<PathBuf> {
    // A folder directly under `/` other than a home may be named for good reasons.
    std::env::home_dir().into_iter().chain([root.to_owned()]).filter(|folder| folder.components().count() > 1).collect()
}

/// Whether `text` has the folder as a path of its own, not as the end of a URL or the beginning of a longer name.
fn names_folder(text: &str, folder: &Path) -> bool {
    let folder = folder.to_string_lossy();
    text.match_indices(&*folder).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at.saturating_add(folder.len())..).and_then(|after| after.chars().next());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-/".contains(c))
            && !after.is_some_and(|c| c.is_alphanumeric() || "._-".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, text: &str) -> usize {
        search(Path::new(name), text, &[PathBuf::from("/home/me")]).len()
    }

    #[test]
    fn every_mark_is_found() {
        for (mark, _) in UNFINISHED {
            assert_eq!(count("a.rs", &format!("fn a() {{}}\n  // {mark} later\n")), 1, "{mark}");
        }
        assert_eq!(count("a.rs", "// to do things well\n"), 0);
    }

    #[test]
    fn folders_of_the_machine_are_found() {
        assert_eq!(count("a.md", "see /home/me/notes"), 1);
        assert_eq!(count("a.md", "open(\"/home/me\")"), 1);
        for other in ["/home/meeting", "http://host/home/me/x", "~/notes"] {
            assert_eq!(count("a.md", other), 0, "{other}");
        }
    }

    #[test]
    fn package_sources_are_found() {
        assert_eq!(count(".cargo/config.toml", "[source.crates-io]\nreplace-with = \"mirror\"\n"), 2);
        assert_eq!(count("Cargo.lock", &format!("source = \"{CRATES_IO}\"\n")), 0);
        assert_eq!(count("Cargo.lock", "source = \"git+https://example.com/a\"\n"), 1);
    }
}
