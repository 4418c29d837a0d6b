//! A Rust file as tokens: comments are gone, and what only tests see can be told apart.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A file without items under `#[cfg(test)]`.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) tokens: Vec<TokenTree>,
    /// How many lines those items take.
    pub(super) test_lines: usize,
    /// The modules among those items that are files of their own, by name.
    pub(super) test_modules: Vec<String>,
}

impl Source {
    /// Reads `text`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let stream = TokenStream::from_str(text).map_err(|error| anyhow!("no Rust: {error}"))?;
        let mut source = Self { tokens: Vec::new(), test_lines: 0, test_modules: Vec::new() };
        source.tokens = source.without_tests(stream);
        Ok(source)
    }

    /// The files of [`test_modules`](Self::test_modules), if this is the file at `path`.
    pub(super) fn test_files(&self, path: &Path) -> Vec<PathBuf> {
        let is_root = path.file_stem().is_some_and(|stem| stem == "mod" || stem == "lib" || stem == "main");
        let folder = if is_root { path.parent().unwrap_or(path).to_owned() } else { path.with_extension("") };
        let both = |name| [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
        self.test_modules.iter().flat_map(both).collect()
    }

    fn without_tests(&mut self, stream: TokenStream) -> Vec<TokenTree> {
        let mut kept = Vec::new();
        let mut tokens = stream.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let starts_test = is_punct(&token, '#') && tokens.peek().is_some_and(is_cfg_test);
            if !starts_test {
                kept.push(token);
                continue;
            }
            // The item ends with its block or its semicolon, whichever comes first.
            let first = token.span().start().line;
            let mut last = first;
            let mut name = None;
            for token in tokens.by_ref() {
                last = token.span().end().line;
                match &token {
                    TokenTree::Ident(ident) => name = Some(ident.to_string()),
                    TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
                    token if is_punct(token, ';') => {
                        self.test_modules.extend(name);
                        break;
                    }
                    _ => {}
                }
            }
            self.test_lines = self.test_lines.saturating_add(last.saturating_sub(first).saturating_add(1));
        }
        kept
    }
}

/// Whether this is the punctuation `sign`.
pub(super) fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// Whether this is the `[cfg(test)]` of an attribute, or a `cfg` that has `test` among its conditions.
fn is_cfg_test(token: &TokenTree) -> bool {
    let TokenTree::Group(attribute) = token else { return false };
    if attribute.delimiter() != Delimiter::Bracket {
        return false;
    }
    let inside: Vec<_> = attribute.stream().into_iter().collect();
    let [TokenTree::Ident(name), TokenTree::Group(condition)] = inside.as_slice() else { return false };
    name == "cfg" && names_test(condition)
}

fn names_test(condition: &Group) -> bool {
    let text = condition.stream().to_string();
    !text.contains("not") && text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_modules_are_left_out_and_counted() {
        let source = Source::parse("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n").unwrap();
        let text = source.tokens.iter().cloned().collect::<TokenStream>().to_string();
        assert!(text.contains('a') && text.contains("c ()") && !text.contains("b ()"), "{text}");
        assert_eq!(source.test_lines, 4);
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_is_named() {
        let source =
            Source::parse("mod a;\n#[cfg(test)]\npub(crate) mod testing;\n#[cfg(test)]\nmod tests {}\n").unwrap();
        assert_eq!(source.test_modules, ["testing"]);
        assert!(source.test_files(Path::new("src/policy/mod.rs")).contains(&PathBuf::from("src/policy/testing.rs")));
        assert!(source.test_files(Path::new("src/key.rs")).contains(&PathBuf::from("src/key/testing.rs")));
    }

    #[test]
    fn other_conditions_are_kept() {
        for kept in ["#[cfg(feature = \"x\")] fn a() {}", "#[cfg(not(test))] fn a() {}", "#[test] fn a() {}"] {
            assert_eq!(Source::parse(kept).unwrap().test_lines, 0, "{kept}");
        }
    }
}
