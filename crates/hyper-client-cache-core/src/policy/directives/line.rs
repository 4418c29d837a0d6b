//! One line of `Cache-Control`: its elements, each exact or amid junk.
//!
//! Every byte is looked at a bounded number of times, whatever the line is.

use std::time::Duration;

/// The largest number of seconds that the RFC asks a recipient to tell apart (section 1.2.2); larger ones become this.
pub(in crate::policy) const MAX_DELTA: Duration = Duration::from_secs((1 << 31) - 1);

/// One element of the list.
pub(super) enum Directive<'a> {
    /// `name`, `name=token` or `name="quoted"`, with nothing between or around.
    Exact { name: &'a [u8], value: Option<Value<'a>> },
    /// Anything else: in lower case, each run of bytes that are no token made one hyphen.
    Malformed { text: Vec<u8> },
}

#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Token(&'a [u8]),
    /// What stands between the quotes, escapes not resolved: nothing that is read here needs one.
    Quoted(&'a [u8]),
}

impl Directive<'_> {
    /// Whether this is the restriction `name`: also with an argument that it does not have, also amid junk.
    pub(super) fn restricts(&self, name: &[u8]) -> bool {
        match self {
            Self::Exact { name: found, .. } => found.eq_ignore_ascii_case(name),
            Self::Malformed { text } => contains(text, name),
        }
    }

    /// Whether this is exactly `name` without an argument.
    pub(super) fn is_bare(&self, name: &[u8]) -> bool {
        matches!(self, Self::Exact { name: found, value: None } if found.eq_ignore_ascii_case(name))
    }

    /// Whether this is `name`, and its number of seconds; `Some(None)` where it has none that can be trusted.
    pub(super) fn seconds(&self, name: &[u8]) -> Option<Option<Duration>> {
        match self {
            Self::Exact { name: found, value } if found.eq_ignore_ascii_case(name) => Some(match value {
                Some(Value::Token(digits) | Value::Quoted(digits)) => delta_seconds(digits),
                None => None,
            }),
            Self::Malformed { text } if contains(text, name) => Some(None),
            _ => None,
        }
    }
}

/// `delta-seconds` (RFC 9111 section 1.2.2), clamped to [`MAX_DELTA`]; `None` where it is not one.
pub(in crate::policy) fn delta_seconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = digits
        .iter()
        .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0'))));
    Some(Duration::from_secs(seconds).min(MAX_DELTA))
}

/// Calls `visit` with each element of one line. Linear in its length.
pub(super) fn each_directive<'a>(line: &'a [u8], mut visit: impl FnMut(Directive<'a>)) {
    each_element(line, |element, exact| {
        visit(match exact.then(|| split(element)).flatten() {
            Some((name, value)) => Directive::Exact { name, value },
            None => Directive::Malformed { text: squash(element) },
        });
    });
}

/// Splits a line at the commas that are outside quotes.
///
/// From a quote that is never closed on, commas count again and nothing is taken as exact: what follows may have been
/// meant to be inside.
fn each_element<'a>(line: &'a [u8], mut visit: impl FnMut(&'a [u8], bool)) {
    let mut rest = line;
    let mut quotes = true;
    while !rest.is_empty() {
        let mut end = 0;
        let mut exact = quotes;
        loop {
            match rest.get(end) {
                None | Some(b',') => break,
                Some(b'"') if quotes => match closing_quote(rest, end) {
                    Some(close) => end = close.saturating_add(1),
                    None => {
                        quotes = false;
                        exact = false;
                        end = end.saturating_add(1);
                    }
                },
                Some(_) => end = end.saturating_add(1),
            }
        }
        let (element, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        rest = after.get(1..).unwrap_or_default();
        let element = trim(element);
        if !element.is_empty() {
            visit(element, exact);
        }
    }
}

/// Where the quoted string that begins at `open` ends.
fn closing_quote(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open.saturating_add(1);
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at = at.saturating_add(2),
            _ => at = at.saturating_add(1),
        }
    }
}

/// Name and value of an element that is written exactly; `None` for any other.
fn split(element: &[u8]) -> Option<(&[u8], Option<Value<'_>>)> {
    let Some(equals) = element.iter().position(|byte| *byte == b'=') else {
        return is_token(element).then_some((element, None));
    };
    let (name, value) = element.split_at_checked(equals)?;
    let value = value.get(1..)?;
    let value = match value {
        [b'"', inner @ .., b'"'] if closing_quote(value, 0) == value.len().checked_sub(1) => Value::Quoted(inner),
        token if is_token(token) => Value::Token(token),
        _ => return None,
    };
    is_token(name).then_some((name, Some(value)))
}

fn squash(element: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(element.len());
    for byte in element {
        if is_token_byte(*byte) {
            text.push(byte.to_ascii_lowercase());
        } else if text.last() != Some(&b'-') {
            text.push(b'-');
        }
    }
    text
}

fn contains(text: &[u8], name: &[u8]) -> bool {
    text.windows(name.len()).any(|window| window == name)
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Without optional white space (RFC 9110 section 5.6.3) at either end.
pub(in crate::policy) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
