//! Header values whose grammar says what of their spelling does not count: the `Accept` family (RFC 9110 section 12.5).

use http::HeaderValue;

/// The lines of the field `name` as one value in which spaces, letters' case, empty elements and how the list is parted
/// into lines do not count, and neither does where in it an element with a lower weight stands.
///
/// `None` where the field has no such grammar, or the value has something in quotes: then each byte counts (case 44).
/// The order of elements of one weight counts, for some origins take it for a preference.
#[must_use]
pub(crate) fn normalized<'a>(name: &str, lines: impl Iterator<Item = &'a HeaderValue>) -> Option<Vec<u8>> {
    if !matches!(name, "accept" | "accept-charset" | "accept-encoding" | "accept-language") {
        return None;
    }
    let mut elements: Vec<(u16, String)> = Vec::new();
    for line in lines {
        let line = line.to_str().ok().filter(|line| !line.contains(['"', '\\']))?;
        for element in line.split(',').map(str::trim).filter(|element| !element.is_empty()) {
            let pieces: Vec<_> = element.split(';').map(|piece| folded(name, piece.trim())).collect();
            let weight = pieces.iter().skip(1).find_map(|piece| weight(piece)).unwrap_or(1000);
            elements.push((weight, pieces.join(";")));
        }
    }
    elements.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let elements: Vec<_> = elements.into_iter().map(|(_, element)| element).collect();
    Some(elements.join(", ").into_bytes())
}

/// In lower case, but for the values of a media type's parameters.
fn folded(name: &str, piece: &str) -> String {
    match piece.split_once('=') {
        Some((parameter, value)) if name == "accept" => {
            format!("{}={}", parameter.trim().to_ascii_lowercase(), value.trim())
        }
        _ => piece.to_ascii_lowercase(),
    }
}

/// The weight that `q=` gives, in thousandths; one that is malformed is passed over.
fn weight(piece: &str) -> Option<u16> {
    let value = piece.strip_prefix("q=")?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if !matches!(whole, "0" | "1") || fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    if whole == "1" { (thousandths == 0).then_some(1000) } else { Some(thousandths) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, lines: &[&str]) -> Option<String> {
        let lines: Vec<_> = lines.iter().map(|line| HeaderValue::from_str(line).unwrap()).collect();
        normalized(name, lines.iter()).map(|value| String::from_utf8(value).unwrap())
    }

    /// Feature 41 and case 44: only where the grammar allows it.
    #[test]
    fn spelling_does_not_count_where_the_grammar_says_so() {
        for (one, other) in [
            (&["gzip, br"][..], &["GZIP ,br,"][..]),
            (&["gzip, br"], &["gzip", "br"]),
            (&["a;q=0.5, b"], &["b, a; Q=0.5"]),
            (&["text/html;q=0.9,*/*;q=0.8"], &["*/*;q=0.8, TEXT/html; q=0.9"]),
        ] {
            assert_eq!(value("accept", one), value("accept", other), "{one:?}");
        }
        for (one, other) in [
            (&["de, en"][..], &["en, de"][..]),
            (&["gzip"], &["gzip;q=1"]),
            (&["gzip;q=0"], &["gzip"]),
            (&[""], &["*"]),
            (&["a;q=2, b"], &["b, a;q=2"]),
        ] {
            assert_ne!(value("accept-language", one), value("accept-language", other), "{one:?}");
        }
        assert_eq!(value("x-tenant", &["A,B"]), None);
        assert_eq!(value("accept", &["text/html;x=\"A\""]), None);
        assert_eq!(value("user-agent", &["A"]), None);
    }
}
