//! The origin of the load: URLs of several kinds, whose answers have versions.

use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

use crate::core::session::Response;
use crate::origin::{Answer, Recorded};

/// How many URLs there are: four of each kind.
pub(super) const URLS: usize = 4 * Kind::ALL.len();

/// The version of an answer, which an unsafe request makes another.
const VERSION: &str = "x-version";

/// Which version each URL is at, and which one has been seen to be the least that there is.
#[derive(Debug, Default)]
pub(super) struct Versions {
    current: [AtomicU64; URLS],
    pub(super) least: [AtomicU64; URLS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tagged,
    Varying,
    Large,
    Refreshed,
    Failing,
    Redirected,
    NotStored,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Tagged, Self::Varying, Self::Large, Self::Refreshed, Self::Failing, Self::Redirected, Self::NotStored];
}

/// A URL by its number, which is its path.
pub(super) fn kind_of(number: usize) -> Kind {
    Kind::ALL.iter().copied().cycle().nth(number).unwrap_or(Kind::Tagged)
}

/// Whose answer a URL gives: its own, or the one below that a redirect leads to.
pub(super) fn target(number: usize) -> usize {
    (0..=number).rev().find(|number| kind_of(*number) != Kind::Redirected).unwrap_or(0)
}

/// What a version of a URL says.
pub(super) fn body(number: usize, version: u64, language: &str) -> String {
    let len = if kind_of(number) == Kind::Large { 300_000 } else { number.saturating_mul(50).saturating_add(100) };
    let unit = format!("{number} {version} {language} ");
    unit.chars().cycle().take(len).collect()
}

pub(super) fn answer(request: &Recorded, versions: &Versions) -> Answer {
    let number = request.path().trim_start_matches('/').parse().unwrap_or(usize::MAX);
    let Some(current) = versions.current.get(number) else { return Answer::status(404) };
    if request.method == Method::POST {
        let version = current.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        return Answer::ok("").header(VERSION, version.to_string());
    }
    let version = current.load(Ordering::SeqCst);
    let language = request.header("accept-language").unwrap_or("-");
    let ok = || Answer::ok(body(number, version, language)).header(VERSION, version.to_string());
    match kind_of(number) {
        Kind::Tagged => ok().etag(&format!("\"{version}\"")).header("cache-control", "max-age=5"),
        Kind::Varying => ok().header("vary", "accept-language").header("cache-control", "max-age=60"),
        Kind::Large => ok().header("cache-control", "max-age=60"),
        Kind::Refreshed => ok().header("cache-control", "max-age=2, stale-while-revalidate=60"),
        Kind::Failing => match fastrand::u8(0..4) {
            0 => Answer::status(503),
            1 => ok().header("cache-control", "max-age=60").cut_after(50),
            2 => ok().header("cache-control", "max-age=60").reset_after(20),
            _ => ok().header("cache-control", "max-age=2, stale-if-error=60"),
        },
        Kind::Redirected => {
            Answer::redirect(301, &format!("/{}", target(number))).header("cache-control", "max-age=60")
        }
        Kind::NotStored => ok().header("cache-control", "no-store"),
    }
}

pub(super) fn version(response: &Response) -> Option<u64> {
    response.headers().get(VERSION)?.to_str().ok()?.parse().ok()
}
