//! A Rust file as tokens: comments are gone, and what only tests see can be told apart.

use std::str::FromStr;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The tokens of a file, without items under `#[cfg(test)]`, and how many lines those items take.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) tokens: Vec<TokenTree>,
    pub(super) test_lines: usize,
}

impl Source {
    /// Reads `text`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let stream = TokenStream::from_str(text).map_err(|error| anyhow!("no Rust: {error}"))?;
        let mut source = Self { tokens: Vec::new(), test_lines: 0 };
        source.tokens = source.without_tests(stream);
        Ok(source)
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
            for token in tokens.by_ref() {
                last = token.span().end().line;
                let is_block = matches!(&token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
                if is_block || is_punct(&token, ';') {
                    break;
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
    fn other_conditions_are_kept() {
        for kept in ["#[cfg(feature = \"x\")] fn a() {}", "#[cfg(not(test))] fn a() {}", "#[test] fn a() {}"] {
            assert_eq!(Source::parse(kept).unwrap().test_lines, 0, "{kept}");
        }
    }
}
