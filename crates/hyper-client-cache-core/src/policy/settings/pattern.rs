//! Which URLs a rule is about: globs and regular expressions, and what they are compared with.

use std::fmt::Write as _;

use http::Uri;

/// What a rule is written as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Glob(String),
    Regex(String),
}

impl Pattern {
    /// The regular expression that finds the URLs in question in their [`subject`].
    ///
    /// # Errors
    /// What is wrong with a glob, and what to do about it.
    pub(super) fn to_regex(&self) -> Result<String, &'static str> {
        match self {
            Self::Glob(glob) => glob_to_regex(glob),
            Self::Regex(regex) => Ok(regex.clone()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Glob(text) | Self::Regex(text) => text,
        }
    }
}

/// The URL as rules see it: without user information, scheme and host in lower case, no default port, path and query as
/// they are sent.
pub(super) fn subject(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.host().unwrap_or_default();
    let mut text = String::with_capacity(path.len().saturating_add(host.len()).saturating_add(16));
    text.push_str(scheme);
    text.push_str("://");
    text.push_str(host);
    text.make_ascii_lowercase();
    if let Some(port) = uri.port_u16().filter(|port| *port != default_port(scheme)) {
        // Writing to a string cannot fail.
        let _ = write!(text, ":{port}");
    }
    if !path.starts_with('/') {
        text.push('/');
    }
    text.push_str(path);
    text
}

fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

/// A glob as a regular expression on the [`subject`].
///
/// The host of the URL must match as a whole, so that `site.com` is not about `site.com.example.org`; what follows needs
/// only to begin like the glob.
fn glob_to_regex(glob: &str) -> Result<String, &'static str> {
    if let Some(problem) = problem(glob) {
        return Err(problem);
    }
    let (scheme, rest) = match glob.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => ("*".to_owned(), glob),
    };
    let schemes = match scheme.as_str() {
        "*" => &["http", "https"][..],
        "http" => &["http"],
        "https" => &["https"],
        _ => return Err("a glob's scheme is `http`, `https` or left out"),
    };
    // What begins like the glob matches anyway.
    let rest = rest.trim_end_matches('*');
    if rest.is_empty() && schemes.len() == 2 {
        return Ok("^".to_owned());
    }
    let was_cut = rest.len() < glob.len() && glob.ends_with('*');
    let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    if authority.is_empty() && !path.is_empty() {
        return Err("a glob begins with a host: write `*/path` for any");
    }
    if authority.contains('@') {
        return Err("a glob has no user information");
    }
    let (host, port) = host_and_port(authority)?;
    let mut host = translate(&host.to_ascii_lowercase(), "[^/?:]*");
    if path.is_empty() && was_cut {
        // `site.*` is about every host that begins so.
        host.push_str("[^/?:]*");
    }
    let path = match path.strip_prefix('/').unwrap_or(path) {
        "" => String::new(),
        path => translate(path, ".*"),
    };
    let alternatives: Vec<_> = schemes
        .iter()
        .map(|scheme| match port {
            None => format!("{scheme}://{host}(?::[0-9]+)?/"),
            Some(port) if port == default_port(scheme) => format!("{scheme}://{host}/"),
            Some(port) => format!("{scheme}://{host}:{port}/"),
        })
        .collect();
    Ok(format!("^(?:{}){path}", alternatives.join("|")))
}

/// Why a glob can match no URL as it is sent.
fn problem(glob: &str) -> Option<&'static str> {
    if glob.contains('#') {
        return Some("a glob has no fragment: it is never sent");
    }
    if glob.chars().any(|char| !matches!(char, '!'..='~')) {
        return Some("a glob is written as URLs are sent: percent-encoded, and another script's host as `xn--`");
    }
    None
}

fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    // The colons of an IPv6 address stand in brackets.
    let after_brackets = authority.rfind(']').unwrap_or(0);
    match authority.get(after_brackets..).and_then(|tail| tail.rfind(':')) {
        None => Ok((authority, None)),
        Some(at) => {
            let (host, port) = authority.split_at(after_brackets.saturating_add(at));
            let port = port.trim_start_matches(':');
            let port = port.parse().map_err(|_| "a glob's port is a number; leave it out for any")?;
            Ok((host, Some(port)))
        }
    }
}

/// `text` as a regular expression in which only `*` means something.
fn translate(text: &str, star: &str) -> String {
    text.split('*').map(regex::escape).collect::<Vec<_>>().join(star)
}
