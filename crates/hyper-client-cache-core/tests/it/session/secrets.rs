//! What the log says while secrets pass by, at every level (cases 75 and 81).

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_client_cache_core::policy::{BeforeStore, Mode, RequestFilter, ResponseFilter};
use hyper_client_cache_core::session::{CookieJar, Multipart, RedirectPolicy};
use hyper_client_cache_core::transport::Proxy;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::{builder, faulty, flushed};
use crate::support::is_alone;

/// Everything that is logged in this process, by whichever crate.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn line(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Line)) {
        let mut line = Line(format!("{} ", metadata.target()));
        record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.line(attributes.metadata(), |line| attributes.record(line));
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        self.line(event.metadata(), |line| event.record(line));
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(format!("{} {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

/// Cases 75 and 81: a secret in any place where one may be, with a store that fails, functions that panic, and origins and
/// proxies that refuse: not one line of the log holds it, ours or another crate's.
#[tokio::test]
async fn no_secret_reaches_the_log() {
    if !is_alone("session::secrets::no_secret_reaches_the_log") {
        return;
    }
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    log::set_boxed_logger(Box::new(log.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let clock = ManualClock::new();
    for http2 in [false, true] {
        let origin = if http2 { Origin::builder().http2().start().await } else { Origin::scripted().await };
        let answer = Answer::ok("canary").header("set-cookie", "who=canary; Path=/").etag("\"1\"");
        origin.on("/", answer.clone().header("cache-control", "max-age=60, stale-while-revalidate=60"));
        origin.on("/varies", answer.header("vary", "authorization, cookie, x-api-key"));
        origin.on("/hop", Answer::redirect(302, "/?token=canary").header("cache-control", "max-age=60"));
        origin.on("/cut", Answer::pattern(600_000).cut_after(300_000));
        origin.on("/large", Answer::pattern(600_000));
        origin.on("/busy", Answer::status(503).body("canary"));
        let (cache, responses, bodies) = faulty(&clock);
        let jar = CookieJar::new();
        jar.add(origin.url("/"), "mine=canary; Path=/").unwrap();
        jar.add(origin.url("/"), "mine=canary; Domain=other.example").unwrap_err();
        let session = builder(&clock)
            .cache(cache)
            .base_url(origin.url("/").replace("http://", "http://user:canary@"))
            .default_header("x-api-key", "canary")
            .secret_headers(["x-api-key"])
            .cookie_jar(jar)
            .cookies_from_cache(true)
            .http2_prior_knowledge(http2)
            .allowed_methods(["GET", "HEAD", "POST"].map(|method| method.parse().unwrap()))
            .build()
            .unwrap();
        for round in 0..3 {
            match round {
                1 => [&responses, &bodies].into_iter().for_each(|faults| faults.fail_all()),
                2 => {
                    [&responses, &bodies].into_iter().for_each(|faults| faults.heal());
                    session
                        .update_settings(|all| {
                            all.filter(ResponseFilter::new(|_| panic!("canary")))
                                .before_store(BeforeStore::new(|_, _| panic!("canary")))
                        })
                        .unwrap();
                }
                _ => {}
            }
            // Waits for a store that fails.
            let _ = session.put("/").multipart(Multipart::new().text("secret", "canary")).send().await;
            for path in ["/cut", "/large"] {
                if let Ok(response) = session.get(path).bearer_auth("canary").send().await {
                    let _ = response.bytes().await;
                }
            }
            for path in ["/", "/?api_key=canary", "/varies", "/hop", "/busy", "/none"] {
                for request in [
                    session.get(path),
                    session.get(path).mode(Mode::Reload).bearer_auth("canary"),
                    session.head(path).partition("canary").header("proxy-authorization", "canary"),
                    session.post(path).form(&[("password", "canary")]),
                    session.post(path).json(&serde_json::json!({"token": "canary"})),
                ] {
                    let request = request.query(&[("access_token", "canary")]);
                    let _ = session.get(path).explain().await;
                    if let Ok(response) = request.send().await {
                        let _ = response.error_for_status_ref();
                        let _ = response.json::<u8>().await;
                    }
                }
                clock.advance(Duration::from_secs(61));
            }
            flushed(&session).await;
        }
        let custom = RedirectPolicy::custom(|_| panic!("canary"));
        let _ = session.get("/hop").redirects(custom).send().await;
        session.update_settings(|all| all.filter_request(RequestFilter::new(|_| panic!("canary")))).unwrap();
        let _ = session.get("/").send().await;
        let _ = session.get("/").header("x-bad", "canary\n").send().await;
        let _ = session.get("http://user:canary@[::canary/").send().await;
        session.close().await.unwrap();
        let _ = session.get("/?token=canary").send().await;
        for scheme in ["http", "https", "socks5", "socks5h"] {
            let proxy = Proxy::all(format!("{scheme}://user:canary@{}", origin.address()));
            let session = builder(&clock).proxy(proxy).connect_timeout(Duration::from_millis(200)).build().unwrap();
            let _ = session.get("https://origin.invalid/?token=canary").send().await;
            let _ = session.get("http://origin.invalid/?token=canary").send().await;
        }
    }
    let lines = log.0.lock().unwrap().clone();
    for target in ["hyper_client_cache_core::layer", "hyper_client_cache_core::cache", "hyper_util", "h2"] {
        let said = lines.iter().filter(|line| line.starts_with(target)).count();
        assert!(said > 10, "{target}: {said} of {}", lines.len());
    }
    // In Base64 too, as the schemes of authorization have it.
    let secret = |line: &&String| ["canary", "Y2FuYXJ5", "NhbmFyeQ", "jYW5hcnk"].iter().any(|form| line.contains(form));
    let told: Vec<_> = lines.iter().filter(secret).collect();
    assert!(told.is_empty(), "{} lines: {:#?}", told.len(), &told[..told.len().min(20)]);
}
