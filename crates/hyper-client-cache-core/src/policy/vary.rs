//! Which request headers select among the variants of a URL, and whether a request selects one
//! (RFC 9111 section 4.1).
//!
//! Values are compared as bytes, line by line, in order; a field that is absent is not one that is empty.
//! Read next: [`revalidate`](super::revalidate).

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, VARY};
use http::{HeaderMap, HeaderName};

use super::directives::trim;
use super::outcome::Reason;
use crate::cache::Selecting;

/// The longest `Vary` that is taken seriously, in bytes over all its lines.
const MAX_VARY_LEN: usize = 8 * 1024;

/// The most fields that may select.
const MAX_VARY_NAMES: usize = 64;

/// What stands in for the value of a field that carries a secret: a keyed hash of the field's name and the value.
pub type Hash<'a> = dyn Fn(&str, &[u8]) -> Vec<u8> + 'a;

/// The fields that a response's `Vary` names, in lower case, sorted, each once.
///
/// # Errors
/// [`Reason::VaryStar`] where `*` is anywhere among them, [`Reason::VaryMalformed`] where something else than a field
/// name is or the list is unreasonably long: such a response cannot be told from its siblings, so it is not stored.
pub fn vary_names(headers: &HeaderMap) -> Result<Vec<HeaderName>, Reason> {
    let lines = headers.get_all(VARY);
    if lines.iter().map(|line| line.len()).fold(0, usize::saturating_add) > MAX_VARY_LEN {
        return Err(Reason::VaryMalformed);
    }
    let elements = || lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(trim);
    if elements().any(|element| element == b"*") {
        return Err(Reason::VaryStar);
    }
    let mut names = elements()
        .filter(|element| !element.is_empty())
        .map(|element| HeaderName::from_bytes(element).map_err(|_| Reason::VaryMalformed))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    if names.len() > MAX_VARY_NAMES { Err(Reason::VaryMalformed) } else { Ok(names) }
}

/// What `request_headers` have of the fields `names`, as it is stored with the response.
#[must_use]
pub fn selecting(names: &[HeaderName], request_headers: &HeaderMap, hash: &Hash<'_>) -> Vec<Selecting> {
    names
        .iter()
        .map(|name| {
            let lines = request_headers.get_all(name).iter();
            let values = if is_secret(name.as_str()) {
                lines.map(|line| hash(name.as_str(), line.as_bytes())).collect()
            } else {
                lines.map(|line| line.as_bytes().to_vec()).collect()
            };
            Selecting::new(name.as_str(), values)
        })
        .collect()
}

/// Whether a request with these headers selects the response that `selecting` was stored with.
#[must_use]
pub fn matches(selecting: &[Selecting], request_headers: &HeaderMap, hash: &Hash<'_>) -> bool {
    selecting.iter().all(|field| {
        let lines = request_headers.get_all(field.name.as_str()).iter();
        if is_secret(&field.name) {
            lines.map(|line| hash(&field.name, line.as_bytes())).eq(field.values.iter().cloned())
        } else {
            lines.map(|line| line.as_bytes()).eq(field.values.iter().map(Vec::as_slice))
        }
    })
}

fn is_secret(name: &str) -> bool {
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].iter().any(|secret| secret == name)
}
