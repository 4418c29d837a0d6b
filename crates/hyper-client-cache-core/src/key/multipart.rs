//! `multipart` bodies as they count in a key: part by part, whatever the boundary (RFC 2046 section 5.1).

use super::fields::Fields;
use super::names::Names;

/// The most parts that are told apart.
const MAX_PARTS: usize = 1024;

/// A part: its header section and its content.
pub(super) type Part<'a> = (&'a [u8], &'a [u8]);

/// The parts of `body`; `None` where it is not as the RFC has it.
pub(super) fn parts<'a>(content_type: &str, body: &'a [u8]) -> Option<Vec<Part<'a>>> {
    split(body, &boundary(content_type)?)
}

/// Hashes those parts that count.
pub(super) fn hash(fields: &mut Fields, parts: &[Part<'_>], ignored: &Names) {
    let counted: Vec<_> = parts.iter().filter(|part| !is_ignored(part, ignored)).collect();
    fields.number(counted.len() as u64);
    for (head, content) in counted {
        fields.field(head);
        fields.field(content);
    }
}

/// The content type without its boundary, in lower case up to the first parameter.
pub(super) fn without_boundary(content_type: &str) -> String {
    let mut pieces = content_type.split(';').map(str::trim);
    let essence = pieces.next().unwrap_or_default().to_ascii_lowercase();
    pieces.filter(|piece| parameter(piece, "boundary").is_none()).fold(essence, |all, piece| all + ";" + piece)
}

/// The boundary that a content type names. A quoted one with escapes is not understood.
fn boundary(content_type: &str) -> Option<String> {
    let value = content_type.split(';').skip(1).find_map(|piece| parameter(piece.trim(), "boundary"))?;
    let plain = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => value,
    };
    (!plain.is_empty() && plain.len() <= 70 && !plain.contains(['"', '\\'])).then(|| plain.to_owned())
}

fn parameter<'a>(piece: &'a str, name: &str) -> Option<&'a str> {
    let (written, value) = piece.split_once('=')?;
    written.trim().eq_ignore_ascii_case(name).then(|| value.trim())
}

/// Nothing but a line end may stand around the parts.
fn split<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<Part<'a>>> {
    let delimiter = format!("--{boundary}");
    let next = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(delimiter.as_bytes())?;
    let mut parts = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(b"--") {
            return matches!(after, b"" | b"\r\n").then_some(parts);
        }
        if parts.len() >= MAX_PARTS {
            return None;
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let end = find(rest, next.as_bytes())?;
        let (part, after) = rest.split_at_checked(end)?;
        rest = after.get(next.len()..)?;
        // A part without headers begins with the empty line.
        let (head, content) = match part.strip_prefix(b"\r\n") {
            Some(content) => (&b""[..], content),
            None => {
                let end = find(part, b"\r\n\r\n")?;
                (part.get(..end)?, part.get(end.checked_add(4)?..)?)
            }
        };
        parts.push((head, content));
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Whether the `name` of a part's `Content-Disposition` is ignored.
fn is_ignored((head, _): &Part<'_>, ignored: &Names) -> bool {
    if ignored.is_empty() {
        return false;
    }
    let Ok(head) = std::str::from_utf8(head) else { return false };
    let line = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let name = line.and_then(|line| line.split(';').skip(1).find_map(|piece| parameter(piece.trim(), "name")));
    name.is_some_and(|name| ignored.contains(name.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(boundary: &str, parts: &[(&str, &str)]) -> Vec<u8> {
        let mut body = String::new();
        for (name, content) in parts {
            body += &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n");
        }
        (body + &format!("--{boundary}--\r\n")).into_bytes()
    }

    fn hashed(content_type: &str, body: &[u8], ignored: &[&str]) -> Option<[u8; 32]> {
        let mut fields = Fields::new(b"test");
        hash(&mut fields, &parts(content_type, body)?, &Names::new(ignored.iter().copied(), false));
        Some(fields.digest())
    }

    /// Feature 33: the boundary, which is another each time, does not count; the parts and their order do.
    #[test]
    fn the_boundary_does_not_count_and_the_parts_do() {
        let of = |boundary: &str, parts: &[(&str, &str)]| {
            hashed(&format!("multipart/form-data; boundary={boundary}"), &body(boundary, parts), &[]).unwrap()
        };
        let one = of("x", &[("a", "1"), ("b", "2")]);
        assert_eq!(one, of("----yz", &[("a", "1"), ("b", "2")]));
        for other in
            [&[("a", "1")][..], &[("b", "2"), ("a", "1")], &[("a", "1"), ("b", "3")], &[("a", "1"), ("c", "2")]]
        {
            assert_ne!(one, of("x", other));
        }
        assert_ne!(of("x", &[("a", "1\r\n"), ("b", "2")]), one, "line ends of the content count");
        assert_eq!(of("x", &[]), of("y", &[]));
    }

    #[test]
    fn ignored_parts_are_left_out() {
        let of = |parts: &[(&str, &str)]| {
            hashed("Multipart/Form-Data; Boundary=\"x\"", &body("x", parts), &["token"]).unwrap()
        };
        assert_eq!(of(&[("token", "1"), ("a", "1")]), of(&[("a", "1"), ("token", "2")]));
        assert_ne!(of(&[("a", "1")]), of(&[("a", "2")]));
    }

    #[test]
    fn what_is_malformed_is_not_understood() {
        let good = body("x", &[("a", "1")]);
        let with = |content_type: &str, body: &[u8]| hashed(content_type, body, &[]);
        let plain = "multipart/form-data; boundary=x";
        assert!(with(plain, &good).is_some());
        for content_type in
            ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"x"]
        {
            assert_eq!(with(content_type, &good), None, "{content_type}");
        }
        for cut in 1..good.len() - 4 {
            assert_eq!(with(plain, &good[..cut]), None, "{cut}");
        }
        assert_eq!(with(plain, b"preamble\r\n--x--"), None);
        assert_eq!(with(plain, b"--x--\r\nepilogue"), None);
        assert_eq!(
            without_boundary("Multipart/Form-Data; boundary=x; charset=utf-8"),
            "multipart/form-data;charset=utf-8"
        );
    }
}
