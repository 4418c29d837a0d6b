//! Lists of names, and of patterns of names: which parameters and header fields a setting is about.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

use crate::error::{Error, ErrorKind, Result};

/// The longest pattern of a regular expression once it is compiled, in bytes: what is longer is no list of names.
const MAX_COMPILED: usize = 1 << 20;

/// The name of a parameter or a header field, or a pattern of such names.
///
/// Text is a name; text with `*` or `?` in it is a glob, where `*` stands for any characters and `?` for one.
/// A pattern is compared with the whole name.
///
/// ```
/// use hyper_client_cache_core::key::{Matching, NamePattern};
///
/// let matching = Matching::default()
///     .ignored_params(["session", "utm_*"])
///     .match_headers([NamePattern::regex("x-(tenant|region)")]);
/// assert!(matching.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Exact(String),
    Glob(String),
    Regex(String),
    // One name a line: no name of a field has a line break.
    OtherThan(String),
}

impl NamePattern {
    /// A name, whatever characters are in it.
    #[must_use]
    pub fn exact(name: impl Into<String>) -> Self {
        Self(Kind::Exact(name.into()))
    }

    /// A glob, with `*` for any characters and `?` for one.
    #[must_use]
    pub fn glob(pattern: impl Into<String>) -> Self {
        Self(Kind::Glob(pattern.into()))
    }

    /// A regular expression of the `regex` crate, which matches in linear time. One that is broken is an error when the
    /// settings are checked.
    #[must_use]
    pub fn regex(pattern: impl Into<String>) -> Self {
        Self(Kind::Regex(pattern.into()))
    }

    /// Every name but these, which are compared as [`exact`](Self::exact) ones are.
    #[must_use]
    pub fn other_than(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        Self(Kind::OtherThan(names.join("\n")))
    }

    /// The kind and the text, as they enter the fingerprint of the settings.
    pub(super) fn written(&self) -> (u64, &str) {
        match &self.0 {
            Kind::Exact(text) => (0, text),
            Kind::Glob(text) => (1, text),
            Kind::Regex(text) => (2, text),
            Kind::OtherThan(text) => (3, text),
        }
    }
}

impl From<&str> for NamePattern {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<String> for NamePattern {
    fn from(text: String) -> Self {
        Self(if text.contains(['*', '?']) { Kind::Glob(text) } else { Kind::Exact(text) })
    }
}

impl From<&String> for NamePattern {
    fn from(text: &String) -> Self {
        Self::from(text.clone())
    }
}

impl From<http::HeaderName> for NamePattern {
    fn from(name: http::HeaderName) -> Self {
        Self::exact(name.as_str())
    }
}

/// A list that is ready to be compared with.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    written: Vec<NamePattern>,
    compiled: Vec<Compiled>,
    folded: bool,
    problem: Option<&'static str>,
    source: Option<regex::Error>,
}

#[derive(Clone, Debug)]
enum Compiled {
    Exact(String),
    Glob(String),
    Regex(Regex),
    OtherThan(Vec<String>),
}

impl Names {
    /// With `folded`, the case of ASCII letters does not count.
    pub(super) fn new(patterns: impl IntoIterator<Item = impl Into<NamePattern>>, folded: bool) -> Self {
        let mut names = Self { folded, ..Self::default() };
        for pattern in patterns {
            let pattern = pattern.into();
            names.add(&pattern);
            names.written.push(pattern);
        }
        names
    }

    fn add(&mut self, pattern: &NamePattern) {
        let text = |text: &String| if self.folded { text.to_ascii_lowercase() } else { text.clone() };
        let compiled = match &pattern.0 {
            Kind::Exact(name) | Kind::Glob(name) | Kind::Regex(name) | Kind::OtherThan(name) if name.is_empty() => {
                self.problem = Some("has an empty name; leave it out");
                return;
            }
            Kind::Exact(name) => Compiled::Exact(text(name)),
            Kind::Glob(glob) => Compiled::Glob(text(glob)),
            Kind::OtherThan(names) => Compiled::OtherThan(text(names).lines().map(str::to_owned).collect()),
            Kind::Regex(regex) => {
                let whole = format!("^(?:{regex})$");
                match RegexBuilder::new(&whole).case_insensitive(self.folded).size_limit(MAX_COMPILED).build() {
                    Ok(regex) => Compiled::Regex(regex),
                    Err(error) => {
                        self.problem = Some("has a broken regular expression");
                        self.source = Some(error);
                        return;
                    }
                }
            }
        };
        self.compiled.push(compiled);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.compiled.is_empty()
    }

    pub(super) fn written(&self) -> &[NamePattern] {
        &self.written
    }

    /// Whether the list has `name`. Costs one comparison an element.
    pub(super) fn contains(&self, name: &str) -> bool {
        if self.compiled.is_empty() {
            return false;
        }
        let name = if self.folded && name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        self.compiled.iter().any(|compiled| match compiled {
            Compiled::Exact(exact) => *exact == *name,
            Compiled::Glob(glob) => glob_matches(glob.as_bytes(), name.as_bytes()),
            Compiled::Regex(regex) => regex.is_match(&name),
            Compiled::OtherThan(names) => !names.iter().any(|exact| *exact == *name),
        })
    }

    /// What is wrong with the list that is the setting `setting`. The pattern itself is shown: it is no secret.
    pub(super) fn check(&self, setting: &str) -> Result<()> {
        let Some(problem) = self.problem else { return Ok(()) };
        let error = Error::new(ErrorKind::Config, format!("`{setting}` {problem}"));
        Err(match &self.source {
            Some(source) => error.with_source(source.clone()),
            None => error,
        })
    }
}

/// Whether `glob` matches the whole of `name`. Goes back to the last star only, so at most `glob` times `name` steps.
fn glob_matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0_usize, 0_usize);
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at = at.saturating_add(1);
                continue;
            }
            Some(byte) if *byte == b'?' || Some(byte) == name.get(in_name) => {
                at = at.saturating_add(1);
                in_name = in_name.saturating_add(1);
                continue;
            }
            _ => {}
        }
        let Some((star_at, taken)) = star else { return false };
        // The star takes one byte more.
        let taken = taken.saturating_add(1);
        star = Some((star_at, taken));
        at = star_at.saturating_add(1);
        in_name = taken;
    }
    glob.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_a_name_or_a_glob() {
        let names = Names::new(["a", "utm_*", "x?z"], false);
        for (name, listed) in [
            ("a", true),
            ("A", false),
            ("ab", false),
            ("utm_", true),
            ("utm_source", true),
            ("UTM_source", false),
            ("xyz", true),
            ("xz", false),
            ("", false),
        ] {
            assert_eq!(names.contains(name), listed, "{name}");
        }
        assert!(Names::new([NamePattern::exact("a*")], false).contains("a*"));
        assert!(!Names::new([NamePattern::exact("a*")], false).contains("ab"));
    }

    #[test]
    fn a_folded_list_does_not_mind_case() {
        let names = Names::new([NamePattern::from("X-Api-Key"), "X-*-Id".into(), NamePattern::regex("y[ab]")], true);
        for name in ["x-api-key", "X-API-KEY", "x-user-ID", "YA"] {
            assert!(names.contains(name), "{name}");
        }
        assert!(!names.contains("yc") && !names.contains("xya"), "a pattern is compared with the whole name");
    }

    #[test]
    fn all_but_some_are_listed() {
        let names = Names::new([NamePattern::other_than(["Accept", "user-agent"])], true);
        for (name, listed) in [("accept", false), ("User-Agent", false), ("accept-language", true), ("", true)] {
            assert_eq!(names.contains(name), listed, "{name}");
        }
        assert!(Names::new([NamePattern::other_than([""; 0])], true).check("x").is_err(), "`*` says that");
    }

    #[test]
    fn what_is_broken_is_said_with_the_name_of_the_setting() {
        for pattern in [NamePattern::regex("(a"), NamePattern::from(""), NamePattern::regex("(a{1000}){1000}")] {
            let error = Names::new([pattern], false).check("ignored_params").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("`ignored_params`"), "{error}");
        }
        assert!(Names::new(["a"], false).check("x").is_ok());
    }

    proptest! {
        /// A glob is what the regular expression is that says the same.
        #[test]
        fn globs_agree_with_regular_expressions(glob in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            let pattern = glob.replace('*', ".*").replace('?', ".");
            let expected = Regex::new(&format!("^(?:{pattern})$")).unwrap().is_match(&name);
            prop_assert_eq!(glob_matches(glob.as_bytes(), name.as_bytes()), expected);
        }
    }
}
