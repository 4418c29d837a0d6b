//! JSON as it counts in a key: without the spaces, members sorted by name, at any depth.
//!
//! What an origin might tell apart stays apart: the order of an array, `1` and `1.0`, `"a"` and `"\u0061"` as values.
//! Text in which a name is repeated, or that is not JSON, or that is nested deeper than [`MAX_DEPTH`], counts as the bytes
//! that it is.

use super::names::Names;

/// How deep values may be nested (case 101).
const MAX_DEPTH: usize = 128;

/// `text` as it counts, without the members that `ignored` names at any depth; `None` where it is not JSON as above.
///
/// Costs time in the length of `text` but for the sorting.
pub(super) fn counted(text: &[u8], ignored: &Names) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut reader = Reader { rest: text, ignored };
    let mut out = Vec::with_capacity(text.len());
    reader.space();
    reader.value(&mut out, MAX_DEPTH)?;
    reader.space();
    reader.rest.is_empty().then_some(out)
}

struct Reader<'a> {
    rest: &'a str,
    ignored: &'a Names,
}

impl<'a> Reader<'a> {
    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        match self.rest.bytes().next()? {
            b'{' => self.object(out, depth.checked_sub(1)?),
            b'[' => self.array(out, depth.checked_sub(1)?),
            b'"' => {
                out.extend_from_slice(self.string()?.as_bytes());
                Some(())
            }
            _ => {
                out.extend_from_slice(self.scalar()?.as_bytes());
                Some(())
            }
        }
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.take('{')?;
        let mut members: Vec<(String, Vec<u8>)> = Vec::new();
        if self.take('}').is_none() {
            loop {
                let name = unescaped(self.string()?)?;
                self.space();
                self.take(':')?;
                let mut value = Vec::new();
                self.value(&mut value, depth)?;
                self.space();
                members.push((name, value));
                if self.take('}').is_some() {
                    break;
                }
                self.take(',')?;
            }
        }
        // Before the ignored ones are left out: which of two values an origin takes is not known of any name.
        members.sort_by(|a, b| a.0.cmp(&b.0));
        if members.windows(2).any(|pair| matches!(pair, [one, other] if one.0 == other.0)) {
            return None;
        }
        out.push(b'{');
        for (name, value) in members.iter().filter(|(name, _)| !self.ignored.contains(name)) {
            // By length, so that no escaping is needed.
            out.extend_from_slice(format!("{}:", name.len()).as_bytes());
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value);
            out.push(b',');
        }
        out.push(b'}');
        Some(())
    }

    fn array(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.take('[')?;
        out.push(b'[');
        if self.take(']').is_none() {
            loop {
                self.value(out, depth)?;
                out.push(b',');
                self.space();
                if self.take(']').is_some() {
                    break;
                }
                self.take(',')?;
            }
        }
        out.push(b']');
        Some(())
    }

    /// A string as it is written, with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let whole = self.rest;
        let mut bytes = whole.bytes().enumerate();
        if bytes.next()?.1 != b'"' {
            return None;
        }
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    let (written, rest) = whole.split_at_checked(at.checked_add(1)?)?;
                    self.rest = rest;
                    return Some(written);
                }
                b'\\' => {
                    bytes.next()?;
                }
                0..=0x1f => return None,
                _ => {}
            }
        }
        None
    }

    /// A number, `true`, `false` or `null`, as it is written.
    fn scalar(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|next: char| !matches!(next, '0'..='9' | 'a'..='z' | 'E' | '+' | '-' | '.'));
        let (written, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len()))?;
        self.rest = rest;
        (matches!(written, "true" | "false" | "null") || is_number(written)).then_some(written)
    }

    /// Takes `wanted` and the spaces after it.
    fn take(&mut self, wanted: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(wanted)?;
        self.space();
        Some(())
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }
}

/// RFC 8259 section 6.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// What a string with its quotes says; `None` where an escape is none, or half of a pair.
fn unescaped(written: &str) -> Option<String> {
    let inner = written.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(inner.to_owned());
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(next) = chars.next() {
        if next != '\\' {
            out.push(next);
            continue;
        }
        out.push(match chars.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = unit(&mut chars)?;
                match char::from_u32(first) {
                    Some(whole) => whole,
                    None => {
                        (chars.next()? == '\\' && chars.next()? == 'u').then_some(())?;
                        let units = [u16::try_from(first).ok()?, u16::try_from(unit(&mut chars)?).ok()?];
                        char::decode_utf16(units).next()?.ok()?
                    }
                }
            }
            plain @ ('"' | '\\' | '/') => plain,
            _ => return None,
        });
    }
    Some(out)
}

/// Four hexadecimal digits.
fn unit(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    let mut unit = 0_u32;
    for _ in 0..4 {
        unit = unit.checked_mul(16)?.checked_add(chars.next()?.to_digit(16)?)?;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let counted = |text: &str| counted(text.as_bytes(), &Names::default()).expect(text);
        counted(one) == counted(other)
    }

    /// Features 31 and 32: members in any order, at any depth; arrays in theirs.
    #[test]
    fn members_are_sorted_and_arrays_are_not() {
        assert!(same(r#"{"a":1,"b":{"c":[1,2],"d":null}}"#, " {\"b\" : {\"d\":null,\n\"c\":[ 1 , 2 ]} , \"a\":1 }\t"));
        assert!(same(r#"{"\u0061":1}"#, r#"{"a":1}"#));
        assert!(same(r#"[{"a":1,"b":2}]"#, r#"[{"b":2,"a":1}]"#));
        for (one, other) in [
            ("[1,2]", "[2,1]"),
            ("1", "1.0"),
            ("1", "\"1\""),
            ("[]", "{}"),
            ("[[]]", "[]"),
            ("[1,[2]]", "[[1],2]"),
            (r#"{"a":null}"#, "{}"),
            (r#"{"a":1}"#, r#"{"A":1}"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":1,"b":1}"#),
            ("12345678901234567890", "12345678901234567891"),
            (r#""a b""#, r#""ab""#),
            ("true", "false"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_json_or_says_a_name_twice_is_not_counted() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for text in [
            "",
            " ",
            "{",
            "}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "[1,]",
            "[1 2]",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "nul",
            "NaN",
            "\"a",
            "\"\u{1}\"",
            "1 2",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"\\ud800\":1}",
            "{\"\\x\":1}",
            "'a'",
            &deep(129),
            &deep(100_000),
        ] {
            assert_eq!(counted(text.as_bytes(), &Names::default()), None, "{text:.20}");
        }
        assert!(counted(b"\xff", &Names::default()).is_none());
        assert!(counted(deep(128).as_bytes(), &Names::default()).is_some());
        assert!(counted("\"\u{1f980}\"".as_bytes(), &Names::default()).is_some());
    }

    /// Feature 35: an ignored name is left out wherever it is.
    #[test]
    fn ignored_members_are_left_out_at_any_depth() {
        let ignored = Names::new(["token"], false);
        let counted = |text: &str| counted(text.as_bytes(), &ignored).unwrap();
        assert_eq!(counted(r#"{"a":{"token":1,"b":2},"token":{"x":1}}"#), counted(r#"{"a":{"b":2}}"#));
        assert_eq!(counted(r#"{"\u0074oken":1}"#), counted("{}"));
        assert_ne!(counted(r#"["token"]"#), counted("[]"));
        assert_ne!(counted(r#"{"a":"token"}"#), counted("{}"));
    }

    /// A value for the model: what JSON says, with members in the order they are written in.
    #[derive(Clone, Debug)]
    enum Value {
        Scalar(String),
        Array(Vec<Value>),
        Object(Vec<(String, Value)>),
    }

    impl Value {
        fn write(&self, space: &str, backwards: bool) -> String {
            match self {
                Self::Scalar(text) => text.clone(),
                Self::Array(items) => {
                    let items: Vec<_> = items.iter().map(|item| item.write(space, backwards)).collect();
                    format!("[{space}{}{space}]", items.join(&format!("{space},{space}")))
                }
                Self::Object(members) => {
                    let mut members: Vec<_> = members
                        .iter()
                        .map(|(name, value)| format!("\"{name}\"{space}:{space}{}", value.write(space, backwards)))
                        .collect();
                    if backwards {
                        members.reverse();
                    }
                    format!("{{{space}{}{space}}}", members.join(&format!("{space},{space}")))
                }
            }
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof!["-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,2})?", "\"[a-c]{0,2}\"", Just("null".to_owned())];
        scalar.prop_map(Value::Scalar).prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Features 31 and 32 against a plain model: how it is written does not count, what it says does.
        #[test]
        fn spelling_does_not_count_and_content_does(one in value(), other in value()) {
            let (compact, spread) = (one.write("", false), one.write(" \n", true));
            prop_assert!(same(&compact, &spread));
            let equal = serde_json::from_str::<serde_json::Value>(&compact).unwrap()
                == serde_json::from_str::<serde_json::Value>(&other.write("", false)).unwrap();
            // Numbers may be equal and written differently: those stay apart.
            prop_assert!(equal || !same(&compact, &other.write("", false)));
        }

        /// Case 99: what is taken for JSON is JSON.
        #[test]
        fn what_is_counted_is_json(text in "[\\[\\]{}\",:0-9a-ue.\\\\ -]{0,24}") {
            if counted(text.as_bytes(), &Names::default()).is_some() {
                prop_assert!(!text.trim().is_empty());
            }
            if serde_json::from_str::<serde_json::Value>(&text).is_err() {
                // Escapes in values are not looked into.
                prop_assert!(text.contains('\\') || counted(text.as_bytes(), &Names::default()).is_none(), "{}", text);
            }
        }
    }
}
