//! The contract of caches: what people ask of them through [`CacheExt`], which must not be a backend's to get wrong.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::StatusCode;
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::cache::{
    BodyPlace, Cache, CacheExt, CachedResponse, Filter, Record, SortBy, StorageCache, Stored, Variant, Variants,
};
use hyper_client_cache_core::clock::Clock;
use hyper_client_cache_core::storage::CacheKey;

use super::CacheHarness;
use super::outcome::{Outcome, Verdict, Violation, ensure, ensure_eq};
use super::records::{changed, part_list, redirect, response, split};
use super::support::{in_secs, key};
use crate::ManualClock;
use crate::reference::{Disk, ReferenceStorage};

/// More than are removed at once.
const MANY: u64 = 150;

/// Those of them that are of another host.
const HALF: u64 = MANY / 2;

/// They and a redirect.
const ALL: u64 = MANY + 1;

/// Everything that is stored is listed once, with its URL, and what is asked for is what is found.
pub(super) async fn cache_looking_finds_what_is_meant(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    fill(&*cache, &clock).await?;
    let mut dead = at_url(response(&clock, key("dead")?), "http://old.site.com/dead");
    dead.retain_until = Some(in_secs(&clock, 30));
    cache.put(&key("dead")?, dead, None).await?;
    clock.advance(Duration::from_secs(30));

    let mut urls: Vec<String> = cache.urls().try_collect().await?;
    urls.sort();
    let mut expected: Vec<_> = (0..MANY).map(url).collect();
    expected.push("http://host/hop".to_owned());
    expected.sort();
    ensure!(urls == expected, "{} URLs are listed, {} are stored", urls.len(), expected.len());
    let now = clock.now();
    let late = in_secs(&clock, 60);
    let all = || Filter::new().at(now);
    for (what, filter, count) in [
        ("all", all(), ALL),
        ("the fresh", all().fresh(), ALL),
        ("those fresh in a minute", all().at(late).fresh(), 0),
        ("those expired in a minute", all().at(late).expired(), ALL),
        ("those half a minute old", all().older_than(Duration::from_secs(30)), ALL),
        ("those older than that", all().older_than(Duration::from_secs(31)), 0),
        ("a host's", all().host("*.site.com")?, HALF),
        ("those under a path", all().url_prefix("http://host/1"), 5 + 25),
        ("a glob's", all().url_glob("http://*/1?")?, 10),
        ("a URL's", all().url(url(7)), 1),
        ("redirects", all().redirects(true), 1),
        ("those with a status", all().status(StatusCode::OK), MANY),
        ("the first ten", all().limit(10), 10),
    ] {
        ensure_eq!(cache.count(filter).await?, count, "{what}");
    }
    ensure!(cache.has_url(&url(3)).await?, "a URL that is stored is not found");
    ensure!(!cache.has_url("http://old.site.com/dead").await?, "the URL of a dead response is found");
    ensure_eq!(cache.size().await?, ALL, "the size");
    ensure!(cache.bytes().await? > 10_u64.saturating_mul(MANY), "the bytes are fewer than the bodies have");
    let top = cache.top(Filter::new().at(now), SortBy::Url, 2).await?;
    ensure_eq!(shown(&top), vec!["http://api.site.com/1", "http://api.site.com/101"], "the first two by URL");
    let top = cache.top(Filter::new().at(now), SortBy::Largest, 1).await?;
    ensure_eq!(top.first().map(CachedResponse::body_len), Some(11), "the length of the longest body");
    Ok(Verdict::Kept)
}

/// What is meant is removed, with the parts of its body and an index that names nothing else; all else stays.
pub(super) async fn cache_deleting_what_is_meant_leaves_the_rest(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    fill(&*cache, &clock).await?;
    let (one, index) = (key("variant")?, key("index")?);
    cache.put(&one, at_url(response(&clock, one), "http://v.site.com/"), None).await?;
    let mut variants = Variants::new(index, "http://v.site.com/");
    variants.variants.push(Variant::new(one, Vec::new()));
    cache.put(&index, Stored::new(Record::Variants(variants), Bytes::new(), None), None).await?;
    if let Some(bodies) = cache.bodies() {
        let large = CacheKey::from_digest([7; 32]);
        let stored = at_url(split(bodies, &clock, large, &[7; 300_000]).await?, "http://large.site.com/");
        cache.put(&large, stored, None).await?;
    }
    let large = u64::from(cache.bodies().is_some());
    let of_site = Filter::new().host("*.site.com")?.at(clock.now());
    ensure_eq!(
        cache.delete_matching(of_site.clone()).await?,
        HALF.saturating_add(1).saturating_add(large),
        "how many were removed"
    );
    ensure_eq!(cache.count(of_site).await?, 0, "what was to be removed");
    ensure_eq!(cache.count(Filter::new().at(clock.now())).await?, ALL.saturating_sub(HALF), "what was to stay");
    ensure_eq!(cache.size().await?, ALL.saturating_sub(HALF), "the size, an index without variants included");
    if let Some(bodies) = cache.bodies() {
        ensure_eq!(part_list(bodies).await?, vec![], "the parts of the body that was removed");
    }
    ensure_eq!(cache.delete_url("http://host/hop").await?, 1, "the redirect");
    ensure!(!cache.has_url("http://host/hop").await?, "the redirect that was removed is found");
    Ok(Verdict::Kept)
}

/// The body of what is listed can be read, in one piece or in parts; one that lost a part ends in an error.
pub(super) async fn cache_a_body_is_read_whole_or_not_at_all(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let small = key("small")?;
    cache.put(&small, response(&clock, small), None).await?;
    ensure_eq!(read(&*cache, &listed(&*cache).await?).await?, Bytes::from("body of small"), "a body in the entry");
    cache.delete(&small).await?;
    let Some(bodies) = cache.bodies() else { return Ok(Verdict::Kept) };
    let large = CacheKey::from_digest([7; 32]);
    let body: Vec<u8> = (0..=u8::MAX).cycle().take(700_001).collect();
    cache.put(&large, split(bodies, &clock, large, &body).await?, None).await?;
    let found = listed(&*cache).await?;
    ensure!(read(&*cache, &found).await? == body, "the body that is read is another one");
    let parts = part_list(bodies).await?;
    let Some(last) = parts.last() else { return Err(Violation::new("there are no parts")) };
    bodies.delete(last).await?;
    let kind = read(&*cache, &found).await.err().map(|error| error.kind());
    ensure_eq!(kind, Some(ErrorKind::Body), "reading a body that lost a part");
    Ok(Verdict::Kept)
}

/// What is copied to another cache and back is as it was.
pub(super) async fn cache_a_copy_is_the_same(harness: &dyn CacheHarness) -> Outcome {
    let cache = harness.open().await;
    let clock = harness.clock();
    let disk = Disk::default();
    let open = |namespace| ReferenceStorage::open(&disk, namespace, clock.clone());
    let other = StorageCache::new(open("responses"), open("redirects")).with_bodies(open("bodies"));
    fill(&*cache, &clock).await?;
    let mut mortal = response(&clock, key("mortal")?);
    mortal.retain_until = Some(in_secs(&clock, 600));
    cache.put(&key("mortal")?, mortal, None).await?;
    let body = vec![7; 300_000];
    let large = CacheKey::from_digest([7; 32]);
    if let Some(bodies) = cache.bodies() {
        cache.put(&large, split(bodies, &clock, large, &body).await?, None).await?;
    }
    let all = ALL.saturating_add(1).saturating_add(u64::from(cache.bodies().is_some()));
    let names = [key("mortal")?, key("hop")?, key("entry-0")?];
    let before = cache_reads(&*cache, &names).await?;
    let copied = cache.copy_to(&other).await?;
    ensure_eq!((copied.responses, copied.skipped), (all, 0), "what was copied, and what was not");
    ensure_eq!(other.size().await?, all, "the size of the copy");
    cache.clear().await?;
    for time in ["into the empty cache", "over what is there"] {
        let copied = other.copy_to(&*cache).await?;
        ensure_eq!((copied.responses, copied.skipped), (all, 0), "what was copied back {time}");
    }
    for (before, after) in before.iter().zip(cache_reads(&*cache, &names).await?) {
        let name = before.record.key();
        ensure_eq!(after.record, before.record, "the record of {name}");
        ensure!(!after.body.is_empty() && after.body == before.body, "the body of {name} is another one");
        let deadline = match (before.retain_until, after.retain_until) {
            (None, None) => true,
            // Each store may round it up (rule S1).
            (Some(before), Some(after)) => after.duration_since(before).is_ok_and(|late| late < Duration::from_secs(2)),
            _ => false,
        };
        ensure!(deadline, "the deadline of {name} is another one");
    }
    if cache.bodies().is_some() {
        let Some(found) = cache.top(Filter::new(), SortBy::Largest, 1).await?.pop() else {
            return Err(Violation::new("the copy is empty"));
        };
        ensure!(read(&*cache, &found).await? == body, "the copied body is another one");
    }
    Ok(Verdict::Kept)
}

async fn cache_reads(cache: &dyn Cache, names: &[CacheKey]) -> Result<Vec<Stored>, Violation> {
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        let Some(stored) = cache.get(name).await? else { return Err(Violation::new(format!("{name} is gone"))) };
        all.push(stored);
    }
    Ok(all)
}

/// Puts [`MANY`] responses, half of them of another host, and a redirect.
async fn fill(cache: &dyn Cache, clock: &ManualClock) -> Result<(), Violation> {
    for number in 0..MANY {
        let name = key(&format!("entry-{number}"))?;
        let mut stored = at_url(response(clock, name), &url(number));
        stored.body = Bytes::from(format!("body {number:>5}").into_bytes());
        if number == 0 {
            stored.body = Bytes::from("the longest");
        }
        cache.put(&name, with_len(stored), None).await?;
    }
    let hop = key("hop")?;
    let mut stored = at_url(redirect(clock, hop), "http://host/hop");
    stored.body = Bytes::from("moved");
    cache.put(&hop, with_len(stored), None).await?;
    Ok(())
}

fn url(number: u64) -> String {
    match number % 2 {
        0 => format!("http://host/{number}"),
        _ => format!("http://api.site.com/{number}"),
    }
}

fn at_url(stored: Stored, url: &str) -> Stored {
    changed(&stored, |response| url.clone_into(&mut response.url))
}

fn with_len(stored: Stored) -> Stored {
    let len = stored.body.len() as u64;
    changed(&stored, |response| response.body = BodyPlace::Inline { len })
}

fn shown(found: &[CachedResponse]) -> Vec<&str> {
    found.iter().map(CachedResponse::url).collect()
}

/// The only response of a cache.
async fn listed(cache: &dyn Cache) -> Result<CachedResponse, Violation> {
    match cache.entries(Filter::new()).try_next().await? {
        Some(response) => Ok(response),
        None => Err(Violation::new("nothing is listed")),
    }
}

async fn read(cache: &dyn Cache, response: &CachedResponse) -> hyper_client_cache_core::Result<Bytes> {
    let pieces: Vec<Bytes> = cache.body(response).try_collect().await?;
    Ok(pieces.concat().into())
}
