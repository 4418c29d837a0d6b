//! What a stored `Set-Cookie` does to the session's cookie jar.

use super::support::{Case, builder};
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::core::session::CookieJar;
use crate::origin::Answer;

/// Seed lines 67, 68 and 87: after the jar was emptied, a hit and the hops of a redirect out of the cache bring their
/// cookies back where that was asked for, and only there; a response without any brings none.
pub(super) async fn session_stored_cookies_reach_the_jar_where_asked_for(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let with_cookie =
        |answer: Answer| answer.header("set-cookie", "a=1; Path=/").header("cache-control", "max-age=600");
    case.origin.on("/own", with_cookie(Answer::ok("/own")));
    case.origin.on("/redirect", with_cookie(Answer::redirect(301, "/plain")));
    case.serve("/plain", &[("cache-control", "max-age=600")]);
    for wanted in [false, true] {
        let jar = CookieJar::new();
        let session = builder(harness, &case.cache).cookie_jar(jar.clone());
        let session = if wanted { session.cookies_from_cache(true) } else { session }.build()?;
        for (path, has_cookie) in [("/own", true), ("/redirect", true), ("/plain", false)] {
            let url = case.origin.url(path);
            case.send(session.get(&url)).await?.text().await?;
            session.layer().flush().await;
            jar.clear();
            let response = case.send(session.get(&url)).await?;
            ensure!(response.from_cache(), "{path} is not cached");
            ensure!(
                response.history().iter().all(|hop| hop.cache_info.as_ref().is_some_and(|info| info.from_cache())),
                "a hop of {path} is not cached"
            );
            response.text().await?;
            let expected: &[_] = if wanted && has_cookie { &[("a".to_owned(), "1".to_owned())] } else { &[] };
            ensure_eq!(jar.cookies(&url)?, expected, "the cookies after {path}, where wanted is {wanted}");
            jar.clear();
        }
    }
    Ok(Verdict::Kept)
}
