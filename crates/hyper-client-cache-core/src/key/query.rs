//! Parameters of a query or a form: which of them count, in which order, and how they are shown.
//!
//! What is written is never rewritten: a parameter counts with the bytes that are sent, or not at all.

use std::borrow::Cow;
use std::cmp::Ordering;

use percent_encoding::percent_decode_str;

use super::names::Names;

/// What stands in the place of a value that is not shown.
pub(super) const REDACTED: &str = "REDACTED";

/// How often a name is decoded to see whether it is a secret's: an origin behind a proxy may do so twice (case 78).
const MAX_DECODINGS: usize = 3;

/// The parameters of `text` as they count in a key: without the ignored ones, and with `sort` ordered by name.
pub(super) fn counted<'a>(text: &'a str, sort: bool, ignored: &Names) -> Cow<'a, str> {
    if !sort && ignored.is_empty() {
        return Cow::Borrowed(text);
    }
    counted_by(text, sort, |name| ignored.contains(name))
}

/// The parameters of `text` but for those with a name, as it is decoded, of which `ignores` holds.
///
/// Parameters of one name keep their order, for an origin can see that; a name is compared decoded and without regard
/// to case, so that those keep it too which only some origins take for one. Where there is a `;`, which some take for
/// a separator, nothing is sorted (case 37). Nothing is allocated where nothing changes.
pub(super) fn counted_by<'a>(text: &'a str, sort: bool, ignores: impl Fn(&str) -> bool) -> Cow<'a, str> {
    let sort = sort && !text.contains(';');
    let pieces = || text.split('&');
    let counts = |piece: &&str| !((sort && piece.is_empty()) || ignores(&decoded(name_of(piece))));
    let in_order = !sort || pieces().is_sorted_by(|a, b| by_name(a, b).is_le());
    if in_order && pieces().all(|piece| counts(&piece)) {
        return Cow::Borrowed(text);
    }
    let mut kept: Vec<&str> = pieces().filter(counts).collect();
    if sort {
        kept.sort_by(|a, b| by_name(a, b));
    }
    Cow::Owned(kept.join("&"))
}

/// `text` with the values hidden of those parameters whose names `hides` says. Separators stay as they are.
pub(super) fn shown<'a>(text: &'a str, hides: impl Fn(&str) -> bool) -> Cow<'a, str> {
    let pieces = || text.split_inclusive(['&', ';']);
    if !pieces().any(|piece| is_hidden(piece, &hides)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for piece in pieces() {
        if is_hidden(piece, &hides) {
            shown.push_str(name_of(piece));
            shown.push('=');
            shown.push_str(REDACTED);
            shown.push_str(piece.get(piece.trim_end_matches(['&', ';']).len()..).unwrap_or_default());
        } else {
            shown.push_str(piece);
        }
    }
    Cow::Owned(shown)
}

/// Whether a parameter with a name of which `hides` holds has a value here.
pub(super) fn has_hidden(text: &str, hides: impl Fn(&str) -> bool) -> bool {
    text.split(['&', ';']).any(|piece| is_hidden(piece, &hides))
}

/// Whether `hides` holds of a name, however often its characters are escaped.
fn is_hidden(piece: &str, hides: &impl Fn(&str) -> bool) -> bool {
    let Some((name, value)) = piece.split_once('=') else { return false };
    !value.trim_end_matches(['&', ';']).is_empty() && is_name(name, hides)
}

/// Whether `is` holds of a name, however often its characters are escaped.
pub(super) fn is_name(name: &str, is: &impl Fn(&str) -> bool) -> bool {
    let mut name = Cow::Borrowed(name);
    for _ in 0..MAX_DECODINGS {
        if is(&name) {
            return true;
        }
        match decoded(&name) {
            Cow::Owned(once_more) => name = Cow::Owned(once_more),
            Cow::Borrowed(_) => return false,
        }
    }
    is(&name)
}

fn name_of(piece: &str) -> &str {
    piece.split_once('=').map_or(piece, |(name, _)| name)
}

/// A name as a form's decoder reads it; borrowed where that is as it is written.
pub(super) fn decoded(name: &str) -> Cow<'_, str> {
    if !name.contains(['%', '+']) {
        return Cow::Borrowed(name);
    }
    let spaced = name.replace('+', " ");
    let read = percent_decode_str(&spaced).decode_utf8_lossy().into_owned();
    if read == name { Cow::Borrowed(name) } else { Cow::Owned(read) }
}

fn by_name(a: &str, b: &str) -> Ordering {
    let (a, b) = (decoded(name_of(a)), decoded(name_of(b)));
    a.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(b.bytes().map(|byte| byte.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(text: &str) -> Cow<'_, str> {
        counted(text, true, &Names::default())
    }

    /// Feature 25, and the order that an origin can see.
    #[test]
    fn parameters_are_sorted_by_name_and_keep_their_order_within_one() {
        for (text, expected) in [
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&b&a=1", "a=2&a=1&b"),
            ("b=1&a=1&%62=2", "a=1&b=1&%62=2"),
            ("%62=2&a=1&b=1", "a=1&%62=2&b=1"),
            ("B=1&a=1&b=2", "a=1&B=1&b=2"),
            ("a=1&", "a=1"),
            ("&&", ""),
            ("a&a=&a=1", "a&a=&a=1"),
            ("b=1;c=2&a=1", "b=1;c=2&a=1"),
        ] {
            assert_eq!(sorted(text), expected, "{text}");
        }
        assert!(matches!(sorted("a=1&b=2&b=1&c"), Cow::Borrowed(_)), "nothing to do");
    }

    /// Feature 34: an ignored parameter does not count, however its name is escaped.
    #[test]
    fn ignored_parameters_are_left_out() {
        let ignored = Names::new(["token", "utm_*"], false);
        for (text, expected) in [
            ("token=1&a=1", "a=1"),
            ("a=1&%74oken=2&utm_source=x&b", "a=1&b"),
            ("b=1&token&a=1", "b=1&a=1"),
            ("token=1", ""),
            ("Token=1", "Token=1"),
            ("%2574oken=1", "%2574oken=1"),
            ("a=token", "a=token"),
        ] {
            assert_eq!(counted(text, false, &ignored), expected, "{text}");
        }
    }

    /// Case 78: a name that is escaped, once or twice.
    #[test]
    fn hidden_values_are_replaced_whatever_the_spelling() {
        let hides = |name: &str| name.eq_ignore_ascii_case("api_key");
        for (text, expected) in [
            ("api_key=canary&a=1", "api_key=REDACTED&a=1"),
            ("a=1;API_KEY=canary;b", "a=1;API_KEY=REDACTED;b"),
            ("%61pi_key=canary", "%61pi_key=REDACTED"),
            ("%2561pi_key=canary", "%2561pi_key=REDACTED"),
            ("%252561pi_key=canary", "%252561pi_key=REDACTED"),
            ("api_key=can=ary&", "api_key=REDACTED&"),
            ("api_key=&api_key", "api_key=&api_key"),
            ("a=api_key", "a=api_key"),
            ("%=1&%zz=1", "%=1&%zz=1"),
        ] {
            assert_eq!(shown(text, hides), expected, "{text}");
            assert_eq!(has_hidden(text, hides), text != expected);
        }
    }

    /// A plain model: the parameters of each name, in order.
    fn model(text: &str, ignored: &Names) -> std::collections::BTreeMap<String, Vec<String>> {
        let mut model = std::collections::BTreeMap::new();
        for piece in text.split('&').filter(|piece| !piece.is_empty()) {
            let name = decoded(name_of(piece)).to_ascii_lowercase();
            if !ignored.contains(&decoded(name_of(piece))) {
                model.entry(name).or_insert_with(Vec::new).push(piece.to_owned());
            }
        }
        model
    }

    proptest! {
        /// Features 25, 27, 34: two queries count as the same exactly where the model says so.
        #[test]
        fn what_counts_agrees_with_a_plain_model(one in "[ab%6=1&B+]{0,12}", other in "[ab%6=1&B+]{0,12}") {
            let ignored = Names::new(["bb"], false);
            let same = counted(&one, true, &ignored) == counted(&other, true, &ignored);
            prop_assert_eq!(same, model(&one, &ignored) == model(&other, &ignored));
        }

        #[test]
        fn any_order_of_distinct_names_is_one(mut pairs in prop::collection::vec("[a-z]{1,3}=[a-z]{0,3}", 0..6), seed: u64) {
            pairs.sort();
            pairs.dedup_by(|a, b| name_of(a) == name_of(b));
            let one = pairs.join("&");
            if !pairs.is_empty() {
                let middle = usize::try_from(seed).unwrap_or(0) % pairs.len();
                pairs.rotate_left(middle);
            }
            let turned = pairs.join("&");
            prop_assert_eq!(sorted(&one), sorted(&turned));
        }

        /// Case 99: any text is shown and counted without a panic, and showing twice changes nothing.
        #[test]
        fn any_text_is_handled(text in ".{0,64}") {
            let hides = |name: &str| name.contains('a');
            let once = shown(&text, hides).into_owned();
            prop_assert_eq!(shown(&once, hides), once.clone());
            let _ = counted(&text, true, &Names::new(["a*"], false));
        }
    }
}
