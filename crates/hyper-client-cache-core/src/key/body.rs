//! A request's body as it counts in a key.
//!
//! The kind that `Content-Type` gives it is part of the key, so that a form and JSON are never taken for each other
//! (feature 30), and so is whether it was understood: what is malformed counts with each byte.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::fields::Fields;
use super::names::Names;
use super::options::Options;
use super::{json, multipart, query};

pub(super) fn hash(fields: &mut Fields, headers: &HeaderMap, body: &[u8], options: &Options) {
    let none = Names::default();
    let ignored = options.ignored_params.as_ref().unwrap_or(&none);
    let encodings = headers.get_all(CONTENT_ENCODING);
    fields.number(encodings.iter().count() as u64);
    encodings.iter().for_each(|line| fields.field(line.as_bytes()));

    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let content_type = match (types.next().map(HeaderValue::to_str), types.next(), encodings.iter().next()) {
        (Some(Ok(content_type)), None, None) => content_type,
        (_, _, _) => return raw(fields, headers, body),
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let understood = match essence.as_str() {
        "application/x-www-form-urlencoded" => std::str::from_utf8(body).ok().map(|text| {
            kind(fields, b"form", content_type);
            fields.field(query::counted(text, options.sort_query.unwrap_or(false), ignored).as_bytes());
        }),
        "application/json" => json::counted(body, ignored).map(|counted| {
            kind(fields, b"json", content_type);
            fields.field(&counted);
        }),
        other if other.ends_with("+json") => json::counted(body, ignored).map(|counted| {
            kind(fields, b"json", content_type);
            fields.field(&counted);
        }),
        other if other.starts_with("multipart/") => multipart::parts(content_type, body).map(|parts| {
            kind(fields, b"multipart", &multipart::without_boundary(content_type));
            multipart::hash(fields, &parts, ignored);
        }),
        _ => None,
    };
    if understood.is_none() {
        raw(fields, headers, body);
    }
}

fn kind(fields: &mut Fields, kind: &[u8], content_type: &str) {
    fields.field(kind);
    // The type itself in lower case; its parameters as they are.
    match content_type.split_once(';') {
        Some((essence, parameters)) => {
            fields.field(essence.trim().to_ascii_lowercase().as_bytes());
            fields.field(parameters.trim().as_bytes());
        }
        None => {
            fields.field(content_type.trim().to_ascii_lowercase().as_bytes());
            fields.field(b"");
        }
    }
}

fn raw(fields: &mut Fields, headers: &HeaderMap, body: &[u8]) {
    fields.field(b"raw");
    let types = headers.get_all(CONTENT_TYPE);
    fields.number(types.iter().count() as u64);
    types.iter().for_each(|line| fields.field(line.as_bytes()));
    fields.field(body);
}

#[cfg(test)]
mod tests {
    use super::super::Matching;
    use super::*;

    fn hashed(matching: &Matching, content_type: &str, body: &[u8]) -> [u8; 32] {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        let mut fields = Fields::new(b"test");
        hash(&mut fields, &headers, body, matching.options());
        fields.digest()
    }

    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";

    /// Features 29 and 30, case 33: equal bytes of another kind are another body.
    #[test]
    fn the_kind_of_a_body_counts() {
        let matching = Matching::default();
        let kinds = ["", FORM, JSON, "application/vnd.api+json", "text/plain", "text/plain; charset=latin1", "a/b"];
        for body in [&b"1"[..], b"", b"{}", b"\xff"] {
            for (at, one) in kinds.iter().enumerate() {
                for other in kinds.iter().skip(at + 1) {
                    assert_ne!(hashed(&matching, one, body), hashed(&matching, other, body), "{one} {other}");
                }
            }
        }
        assert_eq!(
            hashed(&matching, JSON, b"{\"a\":1,\"b\":2}"),
            hashed(&matching, "Application/JSON", b"{\"b\":2, \"a\":1}")
        );
        assert_ne!(
            hashed(&matching, JSON, b"{} {}"),
            hashed(&matching, JSON, b"{}{}"),
            "what is no JSON counts as it is"
        );
        assert_ne!(hashed(&matching, FORM, b"a=1&b=2"), hashed(&matching, FORM, b"b=2&a=1"));
        let sorting = Matching::default().sort_query(true);
        assert_eq!(hashed(&sorting, FORM, b"a=1&b=2"), hashed(&sorting, FORM, b"b=2&a=1"));
        assert_ne!(hashed(&sorting, "text/plain", b"a=1&b=2"), hashed(&sorting, "text/plain", b"b=2&a=1"));
    }

    /// Feature 35.
    #[test]
    fn ignored_parameters_of_a_body_do_not_count() {
        let matching = Matching::default().ignored_params(["token"]);
        assert_eq!(hashed(&matching, FORM, b"token=1&a=1"), hashed(&matching, FORM, b"a=1&token=2"));
        assert_eq!(hashed(&matching, JSON, b"{\"token\":1}"), hashed(&matching, JSON, b"{\"token\":2}"));
        assert_ne!(hashed(&matching, "a/b", b"token=1"), hashed(&matching, "a/b", b"token=2"));
        assert_ne!(hashed(&matching, JSON, b"token=1"), hashed(&matching, JSON, b"token=2"));
    }
}
