//! Those who use a session at the same time: what they do, and whether the answers are right.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::Disturb;
use super::site::{Kind, URLS, Versions, body, kind_of, target, version};
use crate::ManualClock;
use crate::contract::{Violation, ensure, ensure_eq};
use crate::core::cache::Filter;
use crate::core::session::{CachedSession, RequestBuilder};
use crate::core::{Error, ErrorKind};

/// What each does in a round.
const CALLS: u64 = 150;

/// One of those who use a session at the same time.
pub(super) struct Caller {
    pub(super) session: CachedSession,
    pub(super) base: String,
    pub(super) versions: Arc<Versions>,
    pub(super) counts: Arc<Counts>,
    pub(super) clock: ManualClock,
    pub(super) disturb: Disturb,
}

impl Caller {
    pub(super) async fn work(self) -> Result<(), Violation> {
        for call in 0..CALLS {
            let number = fastrand::usize(..URLS);
            let url = format!("{}/{number}", self.base);
            match fastrand::u8(..) {
                0..150 => self.read(number, &url).await?,
                150..170 => self.give_up(self.session.get(&url)).await,
                170..185 => self.read_half(&url).await,
                185..195 => self.ask_head(number, &url).await?,
                195..215 => self.change(number, &url).await?,
                215..220 => self.give_up(self.session.post(&url)).await,
                220..228 => drop(self.session.cache().delete_url(&url).await),
                228..234 => drop(self.session.cache().count(Filter::new()).await),
                234..238 => drop(self.session.cache().delete_expired().await),
                238..239 => drop(self.session.cache().clear().await),
                239..247 => self.clock.advance(Duration::from_millis(fastrand::u64(..3000))),
                247.. => (self.disturb)(Some(call)),
            }
        }
        Ok(())
    }

    /// A whole answer, which must be one version, and none that was replaced before it was asked for.
    async fn read(&self, number: usize, url: &str) -> Result<(), Violation> {
        let target = target(number);
        let language = fastrand::choice(["de", "en", "fr"]).unwrap_or_default();
        let least = self.least(target);
        let is_varying = kind_of(target) == Kind::Varying;
        let mut request = self.session.get(url);
        if is_varying {
            request = request.header(HeaderName::from_static("accept-language"), HeaderValue::from_static(language));
        }
        let outcome = async {
            let response = request.send().await?;
            let (status, version, hit) = (response.status().as_u16(), version(&response), response.from_cache());
            Ok::<_, Error>((status, version, hit, response.text().await?))
        };
        // A body in parts that is replaced while it is read ends in an error, never in a mix.
        let may_break = |error: &Error| kind_of(target) == Kind::Large && error.kind() == ErrorKind::Body;
        let may_fail = kind_of(target) == Kind::Failing;
        let (version, text) = match outcome.await {
            Ok((200, version, hit, text)) => {
                self.counts.answers.fetch_add(1, Ordering::Relaxed);
                self.counts.hits.fetch_add(u64::from(hit), Ordering::Relaxed);
                (version, text)
            }
            Ok((503, ..)) | Err(_) if may_fail => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Err(error) if may_break(&error) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Ok((status, ..)) => return Err(Violation::new(format!("{number} was answered with {status}"))),
            Err(error) => return Err(Violation::new(format!("{number} was not answered: {error:?}"))),
        };
        let Some(version) = version else { return Err(Violation::new(format!("{number} has no version"))) };
        ensure!(version >= least, "{number} was answered with version {version}, but {least} was there before");
        let expected = body(target, version, if is_varying { language } else { "-" });
        ensure_eq!(text, expected, "what {number} says in version {version}");
        Ok(())
    }

    async fn ask_head(&self, number: usize, url: &str) -> Result<(), Violation> {
        let target = target(number);
        let least = self.least(target);
        match self.session.head(url).send().await {
            Ok(response) if response.status().is_success() => {
                let version = version(&response).unwrap_or(0);
                ensure!(version >= least, "HEAD of {number} says version {version}, but {least} was there before");
                Ok(())
            }
            _ if kind_of(target) == Kind::Failing => Ok(()),
            Ok(response) => Err(Violation::new(format!("HEAD of {number} was answered with {}", response.status()))),
            Err(error) => Err(Violation::new(format!("HEAD of {number} was not answered: {error:?}"))),
        }
    }

    /// From when this returns on, nothing older may be an answer.
    async fn change(&self, number: usize, url: &str) -> Result<(), Violation> {
        let response = self.session.post(url).send().await?;
        if let (Some(version), Some(least)) = (version(&response), self.versions.least.get(number)) {
            least.fetch_max(version, Ordering::SeqCst);
        }
        Ok(())
    }

    /// A request that is dropped at some moment.
    async fn give_up(&self, request: RequestBuilder) {
        let whole = async {
            let response = request.send().await?;
            response.bytes().await
        };
        let time = Duration::from_micros(fastrand::u64(..3000));
        let is_dropped = tokio::time::timeout(time, whole).await.is_err();
        self.counts.dropped.fetch_add(u64::from(is_dropped), Ordering::Relaxed);
    }

    /// A body of which only the beginning is read.
    async fn read_half(&self, url: &str) {
        if let Ok(mut response) = self.session.get(url).send().await {
            let _ = response.chunk().await;
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn least(&self, number: usize) -> u64 {
        self.versions.least.get(number).map_or(0, |least| least.load(Ordering::SeqCst))
    }
}

/// What was done in a round.
#[derive(Debug, Default)]
pub(super) struct Counts {
    answers: AtomicU64,
    hits: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (answers, hits) = (count(&self.answers), count(&self.hits));
        write!(f, "{answers} answers, {hits} hits, {} dropped, {} failed", count(&self.dropped), count(&self.failed))
    }
}
