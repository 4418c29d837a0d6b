//! `Link` (RFC 8288) and parameters as many headers have them, read in one pass (case 108).

use std::fmt;

use http::Uri;

use super::request::without_query;

/// One link of a response.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Where it leads.
    pub url: Uri,
    /// The parameters in their order, names in lower case.
    pub parameters: Vec<(String, String)>,
}

impl Link {
    pub(super) const fn new(url: Uri, parameters: Vec<(String, String)>) -> Self {
        Self { url, parameters }
    }

    /// The relation types of the first `rel`, such as `next`.
    pub fn rels(&self) -> impl Iterator<Item = &str> {
        self.parameter("rel").unwrap_or_default().split_ascii_whitespace()
    }

    /// Whether this is a link of a relation, whatever its case.
    #[must_use]
    pub fn is(&self, rel: &str) -> bool {
        self.rels().any(|own| own.eq_ignore_ascii_case(rel))
    }

    /// The first parameter of a name, which is given in lower case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

// The query of a link to the next page may be a token.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("url", &without_query(&self.url)).field("parameters", &self.parameters).finish()
    }
}

/// The targets of a `Link` line with their parameters. A part that is not valid is passed over.
pub(super) fn targets(line: &str) -> Vec<(&str, Vec<(String, String)>)> {
    let mut found = Vec::new();
    let mut cursor = Cursor(line);
    loop {
        cursor.skip(|c| c == ',' || c.is_ascii_whitespace());
        if cursor.0.is_empty() {
            return found;
        }
        let target = cursor.eat('<').then(|| cursor.until('>')).flatten();
        let parameters = cursor.parameters();
        found.extend(target.map(|target| (target.trim(), parameters)));
        // Whatever was not understood of this link, the next begins after a comma.
        cursor.skip(|c| c != ',');
    }
}

/// What stands before the first `;`, and the parameters after it, names in lower case.
pub(super) fn parameters(line: &str) -> (&str, Vec<(String, String)>) {
    let (first, rest) = line.split_at(line.find(';').unwrap_or(line.len()));
    (first.trim(), Cursor(rest).parameters())
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(is_skipped);
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.0.strip_prefix(wanted).map(|rest| self.0 = rest).is_some()
    }

    fn until(&mut self, end: char) -> Option<&'a str> {
        let found = self.0.split_once(end);
        self.0 = found.map_or("", |(_, rest)| rest);
        found.map(|(before, _)| before)
    }

    fn token(&mut self) -> &'a str {
        let end = self.0.find(|c: char| matches!(c, '=' | ';' | ',' | '"') || c.is_ascii_whitespace());
        let (token, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        token
    }

    /// Parameters, each after a `;`, up to what is none.
    fn parameters(&mut self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        loop {
            self.skip(|c| c.is_ascii_whitespace());
            if !self.eat(';') {
                return found;
            }
            self.skip(|c| c.is_ascii_whitespace());
            let name = self.token().to_ascii_lowercase();
            self.skip(|c| c.is_ascii_whitespace());
            let value = if self.eat('=') {
                self.skip(|c| c.is_ascii_whitespace());
                if self.eat('"') { self.quoted() } else { self.token().to_owned() }
            } else {
                String::new()
            };
            if !name.is_empty() {
                found.push((name, value));
            }
        }
    }

    /// The rest of a quoted string; one that never ends goes to the end.
    fn quoted(&mut self) -> String {
        let mut value = String::new();
        let mut chars = self.0.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => value.extend(chars.next()),
                c => value.push(c),
            }
        }
        self.0 = chars.as_str();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_however_they_are_written() {
        let line = r#"<https://host/?page=2>; rel="next prev" ; title="a, b; \"c\"", </last>;REL=last, <x>"#;
        let seen: Vec<_> = targets(line)
            .into_iter()
            .map(|(target, parameters)| (target, parameters.iter().map(|(n, v)| format!("{n}={v}")).collect()))
            .collect();
        let expected: [(&str, Vec<String>); 3] = [
            ("https://host/?page=2", vec!["rel=next prev".into(), r#"title=a, b; "c""#.into()]),
            ("/last", vec!["rel=last".into()]),
            ("x", vec![]),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_is_no_link_is_passed_over() {
        for line in ["", ",,,", "x", "<never", "; rel=next", "<", "\"", "<a>; rel=\"", "<a>;;;=;\"\""] {
            let _ = targets(line);
            let _ = parameters(line);
        }
        assert_eq!(targets("garbage; rel=a, <b>; rel=c").len(), 1);
        assert_eq!(targets("<a> garbage, <b>").len(), 2);
    }

    /// Case 108: a mebibyte of what would make a careless reader go back again and again.
    #[test]
    fn a_long_line_is_read_in_one_pass() {
        for unit in [",", "\"", " ", ";", "<", "\\", "<a>;", "<a>,", ";a=\"", "=", "<a>;b=\"c\\"] {
            let line = unit.repeat((1 << 20) / unit.len());
            let _ = targets(&line);
            let _ = parameters(&line);
        }
    }
}
