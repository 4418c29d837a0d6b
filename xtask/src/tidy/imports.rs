//! Modules of core import only in reading order: what a person calls may use the engine, never the other way round.
//!
//! Test modules and comments may name anything.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use proc_macro2::{Ident, TokenTree};

use super::source::{Source, is_punct};
use super::{Finding, Repository};

/// The modules of core in reading order. Each may import those after it.
const ORDER: &[&str] = &["session", "layer", "transport", "policy", "key", "cache", "storage", "clock", "error"];

/// These import nothing from the crate.
const LEAVES: &[&str] = &["clock", "error"];

const FOLDER: &str = "crates/hyper-client-cache-core/src";

pub(super) fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let lib = Path::new(FOLDER).join("lib.rs");
    let root = Root::parse(&Source::parse(&repository.read(&lib)?)?.tokens);
    let mut findings: Vec<_> = root.misplaced().into_iter().map(|message| Finding::new(&lib, message)).collect();
    for (path, source) in repository.without_tests() {
        let Ok(inside) = path.strip_prefix(FOLDER) else { continue };
        let Some((module, depth)) = place(inside) else { continue };
        for (line, target) in root_paths(&source.tokens, depth) {
            if let Some(message) = root.judge(&module, &target) {
                findings.push(Finding::new(path, message).at(line));
            }
        }
    }
    Ok(findings)
}

/// The top module of a file and how many `super` lead from it to the crate; `None` for `lib.rs`.
fn place(inside: &Path) -> Option<(String, usize)> {
    let mut parts: Vec<_> = inside.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    Some((parts.first()?.clone(), parts.len()))
}

/// What `lib.rs` declares: the modules in order, and which module each re-exported name comes from.
#[derive(Debug, Default)]
struct Root {
    modules: Vec<String>,
    names: BTreeMap<String, String>,
}

impl Root {
    fn parse(tokens: &[TokenTree]) -> Self {
        let mut root = Self::default();
        let mut index: usize = 0;
        while let Some(token) = tokens.get(index) {
            index = index.saturating_add(1);
            if is_ident(token, "mod") {
                if let Some(TokenTree::Ident(name)) = tokens.get(index) {
                    root.modules.push(name.to_string());
                }
            } else if is_ident(token, "use") {
                let rest = tokens.get(index..).unwrap_or_default();
                let end = rest.iter().position(|token| is_punct(token, ';')).unwrap_or(rest.len());
                let mut idents = idents(rest.get(..end).unwrap_or_default());
                idents.retain(|name| name != "crate" && name != "self");
                if let Some((module, names)) = idents.split_first() {
                    root.names.extend(names.iter().map(|name| (name.clone(), module.clone())));
                }
            }
        }
        root
    }

    fn misplaced(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let mut last = 0;
        for module in &self.modules {
            match position(module) {
                None => messages.push(format!("`mod {module}` has no place in the order {}", ORDER.join(" -> "))),
                Some(at) if at < last => {
                    messages.push(format!("`mod {module}` stands too late in {}", ORDER.join(" -> ")))
                }
                Some(at) => last = at,
            }
        }
        messages
    }

    /// Why `module` may not name `target`, which stands right under the crate.
    fn judge(&self, module: &str, target: &str) -> Option<String> {
        let through = self.names.get(target).filter(|_| position(target).is_none());
        let imported = through.map_or(target, String::as_str);
        if imported == module {
            return None;
        }
        let (Some(from), Some(to)) = (position(module), position(imported)) else {
            return Some(format!("`crate::{target}` is no module in {}", ORDER.join(" -> ")));
        };
        if LEAVES.contains(&module) {
            return Some(format!("`{module}` imports nothing from the crate, but here `{imported}`"));
        }
        (to < from).then(|| format!("`{module}` may not import `{imported}`: the order is {}", ORDER.join(" -> ")))
    }
}

/// The first segment after the crate of each path that begins at the crate, with its line.
fn root_paths(tokens: &[TokenTree], depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut index: usize = 0;
    while let Some(token) = tokens.get(index) {
        let next = index.saturating_add(1);
        match token {
            TokenTree::Group(group) => {
                let is_module =
                    index >= 2 && tokens.get(index.saturating_sub(2)).is_some_and(|token| is_ident(token, "mod"));
                let inside: Vec<_> = group.stream().into_iter().collect();
                found.extend(root_paths(&inside, depth.saturating_add(usize::from(is_module))));
            }
            TokenTree::Ident(ident) if (ident == "crate" || ident == "super") && !follows_path(tokens, index) => {
                if let Some(after) = leave_module(tokens, index, depth) {
                    found.extend(segments(tokens.get(after..).unwrap_or_default()));
                }
            }
            _ => {}
        }
        index = next;
    }
    found
}

/// Where the path goes on after `crate::`, or after as many `super::` as lead to the crate.
fn leave_module(tokens: &[TokenTree], mut index: usize, depth: usize) -> Option<usize> {
    let mut left = if tokens.get(index).is_some_and(|token| is_ident(token, "crate")) { 1 } else { depth };
    while left > 0 {
        let is_step = tokens.get(index).is_some_and(|token| is_ident(token, "crate") || is_ident(token, "super"));
        let after = index.checked_add(3)?;
        let colons = tokens.get(index.checked_add(1)?..after)?;
        if !is_step || !colons.iter().all(|token| is_punct(token, ':')) {
            return None;
        }
        index = after;
        left = left.saturating_sub(1);
    }
    Some(index)
}

fn follows_path(tokens: &[TokenTree], index: usize) -> bool {
    index.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|token| is_punct(token, ':'))
        && index.checked_sub(2).and_then(|before| tokens.get(before)).is_some_and(|token| is_punct(token, ':'))
}

/// The segment that comes next, or the first segment of each path in a group.
fn segments(tokens: &[TokenTree]) -> Vec<(usize, String)> {
    let name = |ident: &Ident| (ident.span().start().line, ident.to_string());
    match tokens.first() {
        Some(TokenTree::Ident(ident)) => vec![name(ident)],
        Some(TokenTree::Group(group)) => {
            let inside: Vec<_> = group.stream().into_iter().collect();
            inside
                .split(|token| is_punct(token, ','))
                .filter_map(|path| match path.first() {
                    Some(TokenTree::Ident(ident)) => Some(name(ident)),
                    _ => None,
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

fn idents(tokens: &[TokenTree]) -> Vec<String> {
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => found.push(ident.to_string()),
            TokenTree::Group(group) => found.extend(idents(&group.stream().into_iter().collect::<Vec<_>>())),
            _ => {}
        }
    }
    found
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn position(module: &str) -> Option<usize> {
    ORDER.iter().position(|other| *other == module)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(file: &str, text: &str) -> Vec<String> {
        let lib = "pub mod session; pub mod cache; pub mod storage; pub use error::{Error, Result}; \
                   pub use session::CachedSession;";
        let root = Root::parse(&Source::parse(lib).unwrap().tokens);
        let (module, depth) = place(Path::new(file)).unwrap();
        let source = Source::parse(text).unwrap();
        root_paths(&source.tokens, depth).iter().filter_map(|(_, target)| root.judge(&module, target)).collect()
    }

    #[test]
    fn a_backward_import_is_found_however_it_is_written() {
        for text in [
            "use crate::cache::Cache;",
            "use crate::{error::Result, cache::Cache};",
            "fn f() { let x = crate::cache::make(); }",
            "fn f() { println!(\"{}\", crate::cache::NAME); }",
            "use super::super::cache::Cache;",
            "mod inner { use super::super::super::cache::Cache; }",
            "use crate::CachedSession;",
        ] {
            assert_eq!(judge("storage/entry.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_forward_import_a_comment_and_a_test_are_fine() {
        for text in [
            "use crate::error::Result;",
            "use crate::{Result, clock::Clock};",
            "use crate::storage::Entry; use super::key::CacheKey;",
            "//! See [`Cache`](crate::cache::Cache).\n// crate::cache::Cache\nfn f() {}",
            "#[cfg(test)] mod tests { use crate::cache::Cache; }",
        ] {
            assert_eq!(judge("storage/entry.rs", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn leaves_import_nothing() {
        assert_eq!(judge("clock.rs", "use crate::error::Result;").len(), 1);
        assert_eq!(judge("error.rs", "use super::clock::Clock;").len(), 1);
    }

    #[test]
    fn modules_of_the_crate_stand_in_order() {
        let misplaced = |lib| Root::parse(&Source::parse(lib).unwrap().tokens).misplaced().len();
        assert_eq!(misplaced("mod session; mod key; mod error;"), 0);
        assert_eq!(misplaced("mod key; mod session;"), 1);
        assert_eq!(misplaced("mod surprise;"), 1);
    }
}
