//! Relative links in Markdown lead to a file or folder of the repository.

use std::path::Path;

use anyhow::Result;
use pulldown_cmark::{Event, Parser, Tag};

use super::{Finding, Repository};

pub(super) fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in repository.with_extension("md") {
        let folder = repository.workspace.root.join(path.parent().unwrap_or(Path::new("")));
        for (line, target) in dead_links(&repository.read(path)?, &folder) {
            findings.push(Finding::new(path, format!("the link to `{target}` leads nowhere")).at(line));
        }
    }
    Ok(findings)
}

fn dead_links(text: &str, folder: &Path) -> Vec<(usize, String)> {
    let mut dead = Vec::new();
    for (event, range) in Parser::new(text).into_offset_iter() {
        let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event else { continue };
        let file = dest_url.split(['#', '?']).next().unwrap_or_default();
        // With a colon it is a URL; without a file it is a place on the same page.
        if file.is_empty() || file.contains(':') || folder.join(file).exists() {
            continue;
        }
        let line = text.get(..range.start).map_or(0, |before| before.matches('\n').count());
        dead.push((line.saturating_add(1), dest_url.to_string()));
    }
    dead
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("there.md"), "").unwrap();
        let text = "[a](there.md#x)\n[b](missing.md) [c](https://example.com/x) [d](#here)\n\n`[e](code.md)`\n";
        assert_eq!(dead_links(text, folder.path()), [(2, "missing.md".to_owned())]);
    }
}
