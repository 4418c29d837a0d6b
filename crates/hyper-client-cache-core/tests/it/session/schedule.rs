//! Any order of requests, reads, drops, unsafe requests and time: what is read is always one version in full, and
//! never one from before an unsafe request that was answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::session::Response;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin, Recorded};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::yielding::Yielding;
use super::{builder, eventually, flushed};
use crate::support::poll_times;

/// One body that is kept inline, one in parts.
const LENS: [usize; 2] = [1000, 700_000];

#[derive(Clone, Debug)]
enum Step {
    /// Begins a request and keeps the response.
    Begin(usize),
    /// Begins one and drops it after so many polls.
    BeginAndDrop(usize, usize),
    /// Reads so many frames of a response that is kept.
    Read(usize, usize),
    /// Reads one to its end.
    Finish(usize),
    /// Drops one.
    Drop(usize),
    /// Changes what a URL answers.
    Post(usize),
    /// The same, dropped after so many polls.
    PostAndDrop(usize, usize),
    /// So many seconds go by.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let url = 0..LENS.len();
    prop_oneof![
        6 => url.clone().prop_map(Step::Begin),
        2 => (url.clone(), 0..12_usize).prop_map(|(url, polls)| Step::BeginAndDrop(url, polls)),
        6 => (0..4_usize, 1..8_usize).prop_map(|(slot, frames)| Step::Read(slot, frames)),
        4 => (0..4_usize).prop_map(Step::Finish),
        2 => (0..4_usize).prop_map(Step::Drop),
        2 => url.clone().prop_map(Step::Post),
        1 => (url, 0..12_usize).prop_map(|(url, polls)| Step::PostAndDrop(url, polls)),
        2 => (1..50_u64).prop_map(Step::Wait),
    ]
}

struct Site {
    origin: Origin,
    session: CachedSession,
    clock: ManualClock,
    versions: Arc<[AtomicU8; LENS.len()]>,
}

impl Site {
    fn url(&self, url: usize) -> String {
        self.origin.url(&format!("/{url}"))
    }
}

struct World {
    site: Arc<Site>,
    // The oldest version that a request that begins now may see.
    oldest: [u8; LENS.len()],
    kept: BTreeMap<usize, Reading>,
    begun: usize,
}

struct Reading {
    response: Response,
    url: usize,
    oldest: u8,
    version: Option<u8>,
    len: usize,
}

impl World {
    async fn new(yields: bool) -> Self {
        let versions: Arc<[AtomicU8; LENS.len()]> = Arc::default();
        let counted = versions.clone();
        let origin = Origin::start(move |request: &Recorded| {
            let url: usize = request.path()[1..].parse().unwrap();
            if request.method == "POST" {
                counted[url].fetch_add(1, Ordering::SeqCst);
                return Answer::status(204);
            }
            let version = counted[url].load(Ordering::SeqCst);
            let answer = Answer::ok(vec![version; LENS[url]]).etag(&format!("\"{version}\""));
            answer.header("cache-control", "max-age=60")
        })
        .await;
        let clock = ManualClock::new();
        let builder = builder(&clock);
        let session = if yields { builder.cache(Yielding::cache(&clock)) } else { builder }.build().unwrap();
        let site = Arc::new(Site { origin, session, clock, versions });
        Self { site, oldest: [0; 2], kept: BTreeMap::new(), begun: 0 }
    }

    async fn begin(&mut self, url: usize) {
        let oldest = self.oldest[url];
        let response = within(self.site.session.get(self.site.url(url)).send()).await.unwrap();
        self.kept.insert(self.begun % 4, Reading { response, url, oldest, version: None, len: 0 });
        self.begun += 1;
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Begin(url) => self.begin(url).await,
            Step::BeginAndDrop(url, polls) => {
                let mut request: BoxFuture<'_, _> = Box::pin(self.site.session.get(self.site.url(url)).send());
                within(poll_times(request.as_mut(), polls)).await;
            }
            Step::Read(slot, frames) => {
                let Some(mut reading) = self.kept.remove(&slot) else { return };
                if !reading.read(frames).await {
                    self.kept.insert(slot, reading);
                }
            }
            Step::Finish(slot) => {
                if let Some(mut reading) = self.kept.remove(&slot) {
                    assert!(reading.read(usize::MAX).await);
                }
            }
            Step::Drop(slot) => drop(self.kept.remove(&slot)),
            Step::Post(url) => {
                let response = within(self.site.session.post(self.site.url(url)).send()).await.unwrap();
                assert_eq!(response.status(), 204);
                self.oldest[url] = self.site.versions[url].load(Ordering::SeqCst);
            }
            Step::PostAndDrop(url, polls) => {
                let mut request: BoxFuture<'_, _> = Box::pin(self.site.session.post(self.site.url(url)).send());
                within(poll_times(request.as_mut(), polls)).await;
            }
            Step::Wait(seconds) => self.site.clock.advance(Duration::from_secs(seconds)),
        }
    }

    /// Everything is let go: nothing is under way, and each URL answers.
    async fn end(mut self) {
        self.kept.clear();
        for url in 0..LENS.len() {
            self.begin(url).await;
            let slot = (self.begun - 1) % 4;
            assert!(self.kept.remove(&slot).unwrap().read(usize::MAX).await);
        }
        eventually("no flight", || self.site.session.layer().in_flight() == 0).await;
        flushed(&self.site.session).await;
        let parts = self.site.session.cache().bodies().unwrap().size().await.unwrap();
        assert!(parts <= 3, "{parts} parts are left");
    }
}

impl Reading {
    /// Reads so many frames; `true` at the end of the body.
    async fn read(&mut self, frames: usize) -> bool {
        for _ in 0..frames {
            match within(self.response.chunk()).await {
                Ok(Some(bytes)) => {
                    let version = *self.version.get_or_insert(bytes[0]);
                    assert!(bytes.iter().all(|byte| *byte == version), "a mix of versions");
                    assert!(version >= self.oldest, "version {version} after {}", self.oldest);
                    self.len += bytes.len();
                }
                Ok(None) => {
                    assert_eq!(self.len, LENS[self.url]);
                    return true;
                }
                // Parts that were replaced or removed while they were read.
                Err(error) => {
                    assert!(LENS[self.url] > 262_144, "{error}");
                    return true;
                }
            }
        }
        false
    }
}

/// The same in parallel: what only shows where two threads are between two locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_on_several_threads_leave_whole_bodies_and_no_flight() {
    for yields in [false, true] {
        let world = World::new(yields).await;
        let oldest: Arc<[AtomicU8; LENS.len()]> = Arc::default();
        let tasks: Vec<_> = (1..=8_u64)
            .map(|seed| {
                let (site, oldest) = (world.site.clone(), oldest.clone());
                tokio::spawn(async move { wander(&site, &oldest, seed).await })
            })
            .collect();
        for task in tasks {
            within(task).await.unwrap();
        }
        world.end().await;
    }
}

async fn wander(site: &Site, oldest: &[AtomicU8; LENS.len()], seed: u64) {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut chance = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below).unwrap()
    };
    for _ in 0..100 {
        let url = chance(2);
        match chance(16) {
            // At most 8 * 100 / 16 / 2 times on average: the version stays a byte.
            0 => {
                // The version that this one makes, or a later one, is what is seen after it.
                let before = site.versions[url].load(Ordering::SeqCst);
                within(site.session.post(site.url(url)).send()).await.unwrap();
                oldest[url].fetch_max(before + 1, Ordering::SeqCst);
            }
            1 => site.clock.advance(Duration::from_secs(20)),
            kind => {
                let oldest = oldest[url].load(Ordering::SeqCst);
                let mut request: BoxFuture<'_, _> = Box::pin(site.session.get(site.url(url)).send());
                let polls = if kind < 6 { chance(12) } else { usize::MAX };
                if let Some(response) = within(poll_times(request.as_mut(), polls)).await {
                    let mut reading = Reading { response: response.unwrap(), url, oldest, version: None, len: 0 };
                    reading.read(if kind < 9 { chance(8) } else { usize::MAX }).await;
                }
            }
        }
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it hangs")
}

/// Cases 175, 185, 190, 196 and 198 in any combination, and 238 for flights and generations: everything that they guard
/// lies under a lock, so any order of polls is any order of threads.
#[test]
fn any_order_of_things_leaves_whole_bodies_and_no_flight() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let schedules = (any::<bool>(), prop::collection::vec(step(), 1..40));
    let done = TestRunner::new(config).run(&schedules, |(yields, steps)| {
        runtime.block_on(async {
            let mut world = World::new(yields).await;
            for step in &steps {
                world.step(step).await;
            }
            world.end().await;
        });
        Ok(())
    });
    done.unwrap();
}
