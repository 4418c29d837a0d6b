//! What the headers of a response say about it.

use std::net::SocketAddr;

use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, LINK};

use super::Response;
use super::links::{self, Link};
use super::url::{self, Target};
use crate::transport::RemoteAddr;

impl Response {
    /// How long the body is that is read here, in bytes, where that is known: what `Content-Length` says, unless the body
    /// is decoded on the way.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
    }

    /// The media type in `Content-Type`, in lower case and without parameters.
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        let line = self.text_of(&CONTENT_TYPE)?;
        Some(links::parameters(line).0.to_ascii_lowercase()).filter(|media_type| !media_type.is_empty())
    }

    /// The charset that `Content-Type` names, as it is written there.
    #[must_use]
    pub fn charset(&self) -> Option<String> {
        links::parameters(self.text_of(&CONTENT_TYPE)?).1.into_iter().find_map(named("charset"))
    }

    /// `Content-Disposition` (RFC 6266); `None` where it is missing.
    #[must_use]
    pub fn content_disposition(&self) -> Option<ContentDisposition> {
        let (kind, parameters) = links::parameters(self.text_of(&CONTENT_DISPOSITION)?);
        let kind = kind.to_ascii_lowercase();
        Some(ContentDisposition { kind, parameters })
    }

    /// Everything that `Link` says (RFC 8288), targets resolved against the URL that answered. What is not valid is left
    /// out.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let lines = self.head.headers.get_all(LINK).iter().filter_map(|line| line.to_str().ok());
        lines
            .flat_map(links::targets)
            .filter_map(|(target, parameters)| match url::resolve(self.url(), target.as_bytes()) {
                Target::Web(uri) => Some(Link::new(uri, parameters)),
                _ => None,
            })
            .collect()
    }

    /// The address that the response came from: the server's, or the proxy's. `None` for what was not fetched by this
    /// request over the session's own connections.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.head.extensions.get::<RemoteAddr>().map(|remote| remote.0)
    }

    fn text_of(&self, name: &http::HeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }
}

/// What `Content-Disposition` says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContentDisposition {
    /// `inline`, `attachment`, or another word, in lower case.
    pub kind: String,
    /// The parameters in their order, names in lower case.
    pub parameters: Vec<(String, String)>,
}

impl ContentDisposition {
    /// The file name that is suggested: `filename*` in UTF-8 or Latin-1 before `filename` (RFC 6266 section 4.3).
    ///
    /// It comes from the other side: it may hold a path, or be one that leads out of a folder.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        let find = |name| self.parameters.iter().cloned().find_map(named(name));
        find("filename*").and_then(|value| extended(&value)).or_else(|| find("filename"))
    }
}

fn named(wanted: &str) -> impl FnMut((String, String)) -> Option<String> {
    move |(name, value)| (name == wanted).then_some(value)
}

/// The value of a parameter in the form of RFC 8187.
fn extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, text) = rest.split_once('\'')?;
    let bytes = percent_encoding::percent_decode_str(text);
    if charset.eq_ignore_ascii_case("utf-8") {
        bytes.decode_utf8().ok().map(Into::into)
    } else if charset.eq_ignore_ascii_case("iso-8859-1") {
        Some(bytes.map(char::from).collect())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extended_file_name_comes_first() {
        let of = |line: &str| {
            let (kind, parameters) = links::parameters(line);
            ContentDisposition { kind: kind.to_owned(), parameters }.file_name()
        };
        assert_eq!(of(r#"attachment; filename="a \"b\".txt""#).as_deref(), Some(r#"a "b".txt"#));
        assert_eq!(of("attachment; filename=a.txt; filename*=UTF-8''%e2%82%ac.txt").as_deref(), Some("€.txt"));
        assert_eq!(of("attachment; filename*=iso-8859-1'en'%A3.txt").as_deref(), Some("£.txt"));
        assert_eq!(of("attachment; filename=a.txt; filename*=koi8''x").as_deref(), Some("a.txt"));
        assert_eq!(of("attachment; filename=a.txt; filename*=UTF-8''%ff").as_deref(), Some("a.txt"));
        assert_eq!(of("inline"), None);
    }
}
