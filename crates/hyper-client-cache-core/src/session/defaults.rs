//! What every request of a session begins with: base URL and headers.

use std::fmt;

use base64::Engine as _;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use http::{HeaderMap, Request};

use crate::error::{Error, ErrorKind, Result};

/// What is never shown, and never sent to another origin than it was meant for (cases 59 and 60).
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// The base URL, the headers of each request that does not set them itself, and which of them are secret.
#[derive(Clone, Default)]
pub(super) struct Defaults {
    pub(super) base: Option<url::Url>,
    pub(super) headers: HeaderMap,
    pub(super) secret: Vec<HeaderName>,
}

impl Defaults {
    pub(super) fn is_secret(&self, name: &HeaderName) -> bool {
        CREDENTIALS.contains(name) || self.secret.contains(name)
    }

    /// Makes a request that was made elsewhere one of this session's.
    pub(super) fn made_sendable<B>(&self, request: Request<B>) -> Result<Request<B>> {
        let mut request = super::url::made_sendable(request, self.base.as_ref())?;
        self.complete(&mut request);
        Ok(request)
    }

    /// Adds what the request does not say itself.
    pub(super) fn complete<B>(&self, request: &mut Request<B>) {
        let headers = request.headers_mut();
        for name in self.headers.keys() {
            if !headers.contains_key(name) {
                for value in self.headers.get_all(name) {
                    headers.append(name.clone(), value.clone());
                }
            }
        }
        for name in &self.secret {
            if let http::header::Entry::Occupied(mut entry) = headers.entry(name) {
                entry.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
    }

    pub(super) fn add<N, V>(&mut self, name: N, value: V) -> Result<()>
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let (name, value) = header(name, value, ErrorKind::Config)?;
        self.headers.append(name, value);
        Ok(())
    }

    pub(super) fn add_secret<N: TryInto<HeaderName>>(&mut self, name: N) -> Result<()> {
        let name =
            name.try_into().map_err(|_| Error::new(ErrorKind::Config, "a name in `secret_headers` is not valid"))?;
        self.secret.push(name);
        Ok(())
    }
}

// The values may be secrets, and so may the base URL's user information.
impl fmt::Debug for Defaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Defaults")
            .field("base", &self.base.as_ref().map(|base| base.host_str().unwrap_or_default().to_owned()))
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("secret", &self.secret)
            .finish()
    }
}

/// A checked header line. The value may be a secret: an error shows the name only (case 76).
pub(super) fn header<N, V>(name: N, value: V, kind: ErrorKind) -> Result<(HeaderName, HeaderValue)>
where
    N: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
{
    let name = name.try_into().map_err(|_| Error::new(kind, "a header's name is not valid"))?;
    let mut value: HeaderValue =
        value.try_into().map_err(|_| Error::new(kind, format!("the value of the header `{name}` is not valid")))?;
    if CREDENTIALS.contains(&name) {
        value.set_sensitive(true);
    }
    Ok((name, value))
}

/// The value of `Authorization` in the scheme Basic (RFC 7617), in UTF-8.
pub(super) fn basic(user: &str, password: Option<&str>, kind: ErrorKind) -> Result<HeaderValue> {
    if user.contains(':') {
        return Err(Error::new(kind, "`basic_auth`: a user name cannot hold a colon"));
    }
    let pair = format!("{user}:{}", password.unwrap_or_default());
    secret(format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair)), "basic_auth", kind)
}

/// The value of `Authorization` in the scheme Bearer (RFC 6750).
pub(super) fn bearer(token: &str, kind: ErrorKind) -> Result<HeaderValue> {
    secret(format!("Bearer {token}"), "bearer_auth", kind)
}

fn secret(text: String, setter: &str, kind: ErrorKind) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| Error::new(kind, format!("`{setter}`: a header cannot hold the token's characters")))?;
    value.set_sensitive(true);
    Ok(value)
}
