//! An exchange to try decisions on, for the unit tests of this module.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use proptest::prelude::*;

use super::{
    Admission, Admit, Effective, Judgement, Lookup, Merge, Plan, Reason, RequestSettings, Settings, Terms, admit,
    judge, merge, plan, serve_on_error, vary,
};
use crate::cache::ResponseRecord;
use crate::storage::CacheKey;

/// Sun, 01 Aug 2027 00:00:00 GMT: when every response here is received.
pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_817_078_400)
}

/// The moment `offset` seconds from [`now`], as an HTTP date.
pub(super) fn date(offset: i64) -> String {
    let moment = if offset < 0 {
        now() - Duration::from_secs(offset.unsigned_abs())
    } else {
        now() + Duration::from_secs(offset.unsigned_abs())
    };
    httpdate::fmt_http_date(moment)
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        // Bytes, because some tests hold what is not ASCII.
        let value: Vec<u8> = value.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(&value).unwrap());
    }
    map
}

/// Directives that restrict, whoever the cache is for.
pub(super) const RESTRICTIONS: [&str; 5] = ["no-store", "no-cache", "private", "must-revalidate", "max-age=0"];

/// Lines made of what directives are made of, so that many are nearly right.
pub(super) fn cache_control_lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
    const PIECES: [&[u8]; 14] = [
        b"max-age",
        b"s-maxage",
        b"no-cache",
        b"no-store",
        b"private",
        b"public",
        b"immutable",
        b"=",
        b",",
        b"\"",
        b"\\",
        b" ",
        b"60",
        b"\xff",
    ];
    let piece = prop::sample::select(&PIECES[..]);
    let line = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    prop::collection::vec(prop_oneof![line, prop::collection::vec(any::<u8>(), 0..40)], 0..4)
}

/// One exchange: what is sent, what comes, and the settings for both.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) status: StatusCode,
    pub(super) sent: HeaderMap,
    pub(super) received: HeaderMap,
    pub(super) requested_at: SystemTime,
    pub(super) received_at: SystemTime,
    pub(super) settings: Settings,
    pub(super) request: RequestSettings,
}

impl Exchange {
    /// A GET answered with 200 and these headers, which say how long the body is.
    pub(super) fn new(received: &[(&str, &str)]) -> Self {
        let mut received = headers(received);
        if !received.contains_key("content-length") && !received.contains_key("transfer-encoding") {
            received.insert("content-length", HeaderValue::from_static("5"));
        }
        Self {
            method: Method::GET,
            uri: Uri::from_static("https://example.org/a?b=c"),
            version: Version::HTTP_11,
            status: StatusCode::OK,
            sent: HeaderMap::new(),
            received,
            requested_at: now(),
            received_at: now(),
            settings: Settings::default(),
            request: RequestSettings::default(),
        }
    }

    pub(super) fn sent(mut self, sent: &[(&str, &str)]) -> Self {
        self.sent = headers(sent);
        self
    }

    pub(super) fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap();
        self
    }

    pub(super) fn shared(mut self) -> Self {
        self.settings = self.settings.shared(true);
        self
    }

    pub(super) fn with(mut self, change: impl FnOnce(Settings) -> Settings) -> Self {
        self.settings = change(self.settings);
        self
    }

    pub(super) fn request(mut self, change: impl FnOnce(RequestSettings) -> RequestSettings) -> Self {
        self.request = change(self.request);
        self
    }

    pub(super) fn plan(&self) -> Plan {
        plan(&self.method, &self.uri, &self.sent, &self.settings, &self.effective())
    }

    pub(super) fn effective(&self) -> Effective {
        Effective::of(&self.settings, &self.request, &self.uri)
    }

    pub(super) fn lookup(&self) -> Lookup {
        match self.plan() {
            Plan::Lookup(lookup) => lookup,
            Plan::Bypass(reason) => panic!("bypassed: {reason}"),
        }
    }

    fn with_admit<T>(&self, call: impl FnOnce(&Admit<'_>) -> T) -> T {
        call(&Admit {
            method: &self.method,
            uri: &self.uri,
            request_headers: &self.sent,
            status: self.status,
            version: self.version,
            response_headers: &self.received,
            requested_at: self.requested_at,
            received_at: self.received_at,
            settings: &self.settings,
            lookup: &self.lookup(),
        })
    }

    pub(super) fn admit(&self) -> Result<Terms, Reason> {
        match self.with_admit(admit) {
            Admission::Store(terms) => Ok(*terms),
            Admission::Refuse(reason) => Err(reason),
        }
    }

    pub(super) fn lifetime(&self) -> Option<Duration> {
        self.admit().unwrap().freshness.lifetime
    }

    pub(super) fn refusal(&self) -> Option<Reason> {
        self.admit().err()
    }

    /// What the engine would have stored.
    pub(super) fn record(&self) -> ResponseRecord {
        let terms = self.admit().unwrap();
        let key = CacheKey::from_digest([7; 32]);
        let mut record =
            ResponseRecord::new(key, self.method.clone(), self.uri.to_string(), self.status, terms.freshness);
        record.headers = terms.headers;
        record.selecting = vary::selecting(&terms.vary, &self.sent, &crate::key::Keyer::default());
        record
    }

    /// What becomes of `record` when this exchange's answer is a 304.
    pub(super) fn merge(&self, record: &ResponseRecord) -> Merge {
        self.with_admit(|exchange| merge(record, exchange))
    }

    /// The judgement on `record` when its response has been here for `resident`.
    pub(super) fn judge(&self, record: &ResponseRecord, resident: Duration) -> Judgement {
        judge(&self.lookup(), record, now() + resident)
    }

    pub(super) fn serves_on_error(&self, record: &ResponseRecord, resident: Duration) -> bool {
        serve_on_error(&self.lookup(), record, now() + resident)
    }
}
