//! What the keys of this backend look like, and how they are told from everybody else's.
//!
//! ```text
//! <name>:<kind>:{<owner>}<rest>
//! ```
//!
//! The braces are a hash tag: a cluster puts everything that belongs to one request into one slot, so that one command
//! asks for response and redirect, and one batch goes to one node. `<owner><rest>` is the key of the entry; `<rest>` is
//! empty but for the parts of a body, which lie with the head that they belong to.
//!
//! Nothing that could end a name or mean anything in a pattern stands in one: see [`encode`].

use std::fmt::Write as _;

use bytes::BytesMut;
use hyper_client_cache_core::storage::CacheKey;

use crate::error::{RedisError, Result};

/// The longest name, in bytes as it is written.
const MAX_NAME_LEN: usize = 512;

/// Which of the three storages of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Responses,
    Redirects,
    Bodies,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::Redirects => "redirects",
            Self::Bodies => "bodies",
        }
    }
}

/// The keys of one storage.
#[derive(Clone, Debug)]
pub(crate) struct Keyspace {
    /// `<name>:<kind>:`, with which each key begins and no other storage's does.
    prefix: String,
    kind: Kind,
}

impl Keyspace {
    /// Keys under `name`.
    pub(crate) fn new(name: &str, kind: Kind) -> Result<Self> {
        if name.is_empty() {
            return Err(RedisError::Setting("the name is empty: give the cache one of its own".into()));
        }
        let name = encode(name);
        if name.len() > MAX_NAME_LEN {
            return Err(RedisError::Setting(format!(
                "the name takes {} bytes: it stands in every key, so {MAX_NAME_LEN} are the most",
                name.len()
            )));
        }
        Ok(Self { prefix: format!("{name}:{}:", kind.name()), kind })
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The key on the server.
    pub(crate) fn key(&self, key: &CacheKey) -> String {
        let (owner, rest) = self.split(key.as_str());
        let mut text = String::with_capacity(self.key_len(key));
        for part in [&self.prefix, "{", owner, "}", rest] {
            text.push_str(part);
        }
        text
    }

    /// Writes the key on the server to the end of `text`, for a kind whose keys are owners.
    pub(crate) fn write_owner(&self, key: &CacheKey, text: &mut BytesMut) {
        for part in [self.prefix.as_bytes(), b"{", key.as_bytes(), b"}"] {
            text.extend_from_slice(part);
        }
    }

    /// How long the key on the server is, in bytes.
    pub(crate) fn key_len(&self, key: &CacheKey) -> usize {
        self.prefix.len().saturating_add(key.as_bytes().len()).saturating_add(2)
    }

    /// The key of an entry; `None` where `text` is none that [`key`](Self::key) makes.
    pub(crate) fn parse(&self, text: &[u8]) -> Option<CacheKey> {
        let rest = text.strip_prefix(self.prefix.as_bytes())?;
        let (owner, rest) = std::str::from_utf8(rest).ok()?.strip_prefix('{')?.split_once('}')?;
        let key = CacheKey::new(&format!("{owner}{rest}")).ok()?;
        (self.split(key.as_str()) == (owner, rest)).then_some(key)
    }

    /// The pattern that all keys match.
    pub(crate) fn pattern(&self) -> String {
        format!("{}*", self.prefix)
    }

    /// What decides the slot, and the rest. The key of a part is `<owner>-<id>-<number>`.
    fn split<'a>(&self, key: &'a str) -> (&'a str, &'a str) {
        let end = match self.kind {
            Kind::Bodies => key.rfind('-').and_then(|at| key.get(..at)?.rfind('-')),
            Kind::Responses | Kind::Redirects => None,
        };
        // An empty tag is none.
        end.filter(|at| *at > 0).and_then(|at| key.split_at_checked(at)).unwrap_or((key, ""))
    }
}

/// A name as it stands in keys: everything but letters, digits and a few harmless characters is percent-encoded.
///
/// So no name with the colon behind it is the beginning of another, none has a hash tag of its own, and none means
/// anything to `MATCH`. Two names are the same only if they were.
fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' | b'/' | b'@' => out.push(char::from(byte)),
            // Writing to a `String` cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 16] = [
        "app",
        "app2",
        "app:",
        "app:x",
        "app:responses",
        "app*",
        "app?",
        "app[a-z]",
        "app\\",
        "app{x}",
        "app%",
        "app%3A",
        "App",
        "app ",
        "äpp",
        "app\0",
    ];

    fn key(text: &str) -> CacheKey {
        CacheKey::new(text).unwrap()
    }

    /// Case 119.
    #[test]
    fn no_prefix_is_the_beginning_of_another() {
        let prefixes: Vec<_> = NAMES
            .iter()
            .flat_map(|name| [Kind::Responses, Kind::Redirects, Kind::Bodies].map(|kind| (name, kind)))
            .map(|(name, kind)| Keyspace::new(name, kind).unwrap().prefix)
            .collect();
        for (at, one) in prefixes.iter().enumerate() {
            for (other_at, other) in prefixes.iter().enumerate() {
                assert!(at == other_at || !other.starts_with(one.as_str()), "{other} begins with {one}");
            }
            assert!(!one.contains(['*', '?', '[', ']', '\\', '{', '}', '^']), "{one}");
        }
    }

    #[test]
    fn a_plain_name_stands_in_keys_as_it_is() {
        let keys = Keyspace::new("http-cache", Kind::Responses).unwrap();
        assert_eq!(keys.key(&key("abc-1")), "http-cache:responses:{abc-1}");
        assert_eq!(keys.pattern(), "http-cache:responses:*");
    }

    #[test]
    fn parts_share_the_tag_of_their_head() {
        let bodies = Keyspace::new("n", Kind::Bodies).unwrap();
        assert_eq!(bodies.key(&key("ab-c-0123-f")), "n:bodies:{ab-c}-0123-f");
        for other in ["a", "-", "--", "-a-", "a-b"] {
            assert_eq!(bodies.key(&key(other)), format!("n:bodies:{{{other}}}"));
        }
    }

    #[test]
    fn a_key_is_found_again_in_its_text_and_nothing_else_is() {
        for kind in [Kind::Responses, Kind::Redirects, Kind::Bodies] {
            let keys = Keyspace::new("app:x", kind).unwrap();
            for text in ["a", "-", "--", "a-b-c", "a-b-c-d", "-a-b", &"z".repeat(128)] {
                let key = key(text);
                assert_eq!(keys.parse(keys.key(&key).as_bytes()), Some(key));
            }
            let prefix = &keys.prefix;
            for foreign in ["", "x", "{}", "{a", "a}", "{A}", "{a}b/", "{a}{b}", "{a-b}-c-d"] {
                let expected = if kind == Kind::Bodies && foreign == "{a-b}-c-d" { Some(key("a-b-c-d")) } else { None };
                assert_eq!(keys.parse(format!("{prefix}{foreign}").as_bytes()), expected, "{foreign}");
            }
            assert_eq!(keys.parse(b"app:x:responses:{a}"), None);
            assert_eq!(keys.parse(b"\xFF"), None);
        }
    }

    #[test]
    fn an_empty_or_endless_name_is_refused() {
        assert!(Keyspace::new("", Kind::Responses).is_err());
        assert!(Keyspace::new(&"x".repeat(513), Kind::Responses).is_err());
        assert!(Keyspace::new(&"x".repeat(512), Kind::Responses).is_ok());
    }
}
