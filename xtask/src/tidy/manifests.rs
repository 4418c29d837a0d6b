//! Every crate takes its lints and its package fields from the workspace, and what is published describes itself.

use anyhow::Result;

use super::{Finding, Repository};

const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "authors"];
const PUBLISHED: &[&str] = &["keywords", "categories"];

pub(super) fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for package in &repository.workspace.packages {
        let manifest: toml::Table = std::fs::read_to_string(&package.manifest_path)?.parse()?;
        findings.extend(judge(&manifest).into_iter().map(|message| Finding::new(&package.manifest_path, message)));
    }
    Ok(findings)
}

fn judge(manifest: &toml::Table) -> Vec<String> {
    let inherits = |value: Option<&toml::Value>| {
        value.and_then(|value| value.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
    };
    let package = manifest.get("package");
    let field = |name: &str| package.and_then(|package| package.get(name));
    let mut messages = Vec::new();
    if !inherits(manifest.get("lints")) {
        messages.push("`[lints] workspace = true` is missing".to_owned());
    }
    let is_published = field("publish").and_then(toml::Value::as_bool) != Some(false);
    let wanted = INHERITED.iter().chain(PUBLISHED.iter().filter(|_| is_published));
    messages.extend(
        wanted.filter(|name| !inherits(field(name))).map(|name| format!("`{name}.workspace = true` is missing")),
    );
    if field("description").and_then(toml::Value::as_str).is_none_or(str::is_empty) {
        messages.push("`description` is missing".to_owned());
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 125: no crate leaves out the lints, of which one forbids `unsafe`.
    #[test]
    fn what_a_manifest_lacks_is_found() {
        let good = "[package]\nname = \"a\"\ndescription = \"what\"\nversion.workspace = true\n\
                    edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\
                    authors.workspace = true\nkeywords.workspace = true\ncategories.workspace = true\n\
                    [lints]\nworkspace = true\n";
        let judge = |text: &str| judge(&text.parse().unwrap());
        assert_eq!(judge(good), [""; 0]);
        assert_eq!(judge(&good.replace("[lints]\nworkspace = true", "")).len(), 1);
        assert_eq!(judge(&good.replace("license.workspace = true", "license = \"MIT\"")).len(), 1);
        assert_eq!(judge(&good.replace("keywords.workspace = true\n", "")).len(), 1);
        assert_eq!(judge(&good.replace("keywords.workspace = true", "publish = false")), [""; 0]);
        assert_eq!(judge(&good.replace("description = \"what\"\n", "")).len(), 1);
    }
}
