//! What can go wrong in this backend, told apart by the server's error codes, and the one conversion into the public
//! error.
//!
//! A server's reply may repeat what it was sent (`unknown command ..., with args beginning with: ...`), credentials
//! included: of a reply only its code is kept.

use std::fmt;
use std::sync::Arc;

use fred::error::ErrorKind as DriverKind;
use hyper_client_cache_core::{Error, ErrorKind};

/// An error of this backend before it becomes a public one.
#[derive(Clone, Debug)]
pub(crate) enum RedisError {
    /// A setting is impossible: which, why, and what to do.
    Setting(String),
    /// There is no connection at present; what the last try met, where that is known.
    NotConnected(Option<Arc<Reply>>),
    /// The entry cannot fit.
    TooLarge { len: u64, limit: u64 },
    /// The storage was closed.
    Closed,
    /// Too many commands wait to be sent.
    Crowded,
    /// No Tokio runtime to connect in.
    NoRuntime,
    /// The server answered something else than was asked for.
    Unexpected(&'static str),
    /// The driver or the server failed.
    Failed { fault: Fault, source: Arc<Reply> },
}

/// What an error of driver or server calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// More is waiting than may.
    Crowded,
    /// The server cannot at present: it loads, fails over, moves slots, runs a script.
    Unready,
    /// The server's memory is used up.
    Full,
    /// The credentials are refused, missing, or do not allow this.
    Refused,
    /// The key holds something that is not a string.
    WrongType,
    /// The server is no server for us: too old, or no cluster where one was said to be.
    Unfit,
    /// Anything else.
    Other,
}

impl Fault {
    /// Whether the next try may succeed.
    pub(crate) const fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::Crowded | Self::Unready | Self::Full)
    }
}

/// An error of the driver without what may not be shown.
#[derive(Clone)]
pub(crate) struct Reply {
    fault: Fault,
    kind: DriverKind,
    text: String,
}

impl Reply {
    pub(crate) const fn fault(&self) -> Fault {
        self.fault
    }
}

impl From<&fred::error::Error> for Reply {
    fn from(error: &fred::error::Error) -> Self {
        let (fault, text) = classify(error.kind(), error.details());
        Self { fault, kind: error.kind().clone(), text: text.to_owned() }
    }
}

impl RedisError {
    pub(crate) const fn fault(&self) -> Option<Fault> {
        match self {
            Self::Failed { fault, .. } => Some(*fault),
            Self::NotConnected(_) => Some(Fault::Unreachable),
            Self::Crowded => Some(Fault::Crowded),
            _ => None,
        }
    }
}

impl From<fred::error::Error> for RedisError {
    fn from(error: fred::error::Error) -> Self {
        let reply = Reply::from(&error);
        Self::Failed { fault: reply.fault, source: Arc::new(reply) }
    }
}

/// What an error calls for, and what of its text may be shown.
fn classify<'a>(kind: &DriverKind, details: &'a str) -> (Fault, &'a str) {
    // Error codes are the first word of a reply, in capitals: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
    let code = details.split_whitespace().next().unwrap_or_default();
    let is_code = code.len() > 1 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_code {
        let fault = match code {
            "LOADING" | "READONLY" | "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "BUSY"
            | "NOREPLICAS" | "CROSSSLOT" | "UNBLOCKED" => Fault::Unready,
            "OOM" | "MISCONF" => Fault::Full,
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Fault::Refused,
            "WRONGTYPE" => Fault::WrongType,
            _ if *kind == DriverKind::Config => Fault::Unfit,
            _ => Fault::Other,
        };
        return (fault, code);
    }
    match kind {
        // Texts of the driver and of the operating system.
        DriverKind::IO | DriverKind::Canceled | DriverKind::Routing | DriverKind::Cluster | DriverKind::Sentinel => {
            (Fault::Unreachable, details)
        }
        #[cfg(feature = "tls")]
        DriverKind::Tls => (Fault::Unreachable, details),
        // What is not the protocol ends the connection.
        DriverKind::Protocol => (Fault::Unreachable, ""),
        DriverKind::Timeout => (Fault::Timeout, ""),
        DriverKind::Backpressure => (Fault::Crowded, ""),
        DriverKind::Auth => (Fault::Refused, ""),
        DriverKind::Config | DriverKind::Url => (Fault::Unfit, ""),
        // Without a code it is none of the server's: a connection, or its task, has ended on the way.
        DriverKind::Unknown => (Fault::Unreachable, ""),
        _ => (Fault::Other, ""),
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.to_str())?;
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Reply {}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(why) => f.write_str(why),
            Self::NotConnected(_) => f.write_str("there is no connection to the Redis server"),
            Self::TooLarge { len, limit } => write!(f, "{len} bytes, and {limit} is the most"),
            Self::Closed => f.write_str("redis"),
            Self::Crowded => f.write_str("too many commands wait for the Redis server"),
            Self::NoRuntime => f.write_str("a Redis cache must be used inside a Tokio runtime"),
            Self::Unexpected(what) => write!(f, "the server's answer is not what {what} gives"),
            Self::Failed { fault, .. } => f.write_str(match fault {
                Fault::Unreachable => "the Redis server cannot be reached",
                Fault::Timeout => "the Redis server does not answer in time",
                Fault::Crowded => "too many commands wait for the Redis server",
                Fault::Unready => "the Redis server is not ready",
                Fault::Full => "the Redis server takes no writes: its memory is used up, or it cannot save",
                Fault::Refused => "the Redis server refuses the credentials, or they do not allow this",
                Fault::WrongType => "a key of the cache holds something else than a string",
                Fault::Unfit => "the Redis server is not of the kind that the settings say",
                Fault::Other => "the Redis server reports an error",
            }),
        }
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        let kind = match &error {
            RedisError::Setting(_) | RedisError::NoRuntime => ErrorKind::Config,
            RedisError::TooLarge { .. } => ErrorKind::TooLarge,
            RedisError::Closed => ErrorKind::Closed,
            RedisError::Failed { fault: Fault::Unfit, .. } => ErrorKind::Config,
            RedisError::Failed { .. }
            | RedisError::NotConnected(_)
            | RedisError::Crowded
            | RedisError::Unexpected(_) => ErrorKind::Storage,
        };
        let public = Self::new(kind, error.to_string());
        let public = if error.fault().is_some_and(Fault::is_transient) { public.transient() } else { public };
        match error {
            RedisError::Failed { source, .. } | RedisError::NotConnected(Some(source)) => public.with_source(source),
            _ => public,
        }
    }
}

/// A result inside this crate.
pub(crate) type Result<T, E = RedisError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn failed(kind: DriverKind, text: &'static str) -> RedisError {
        fred::error::Error::new(kind, text).into()
    }

    /// Case 213.
    #[test]
    fn errors_are_classified_by_their_code() {
        for (kind, text, fault, transient) in [
            (DriverKind::Unknown, "LOADING Redis is loading the dataset in memory", Fault::Unready, true),
            (DriverKind::Unknown, "READONLY You can't write against a read only replica.", Fault::Unready, true),
            (DriverKind::Cluster, "MOVED 3999 127.0.0.1:6381", Fault::Unready, true),
            (DriverKind::Cluster, "ASK 3999 127.0.0.1:6381", Fault::Unready, true),
            (DriverKind::Unknown, "TRYAGAIN Multiple keys request during rehashing of slot", Fault::Unready, true),
            (DriverKind::Cluster, "CLUSTERDOWN The cluster is down", Fault::Unready, true),
            (DriverKind::Unknown, "OOM command not allowed when used memory > 'maxmemory'.", Fault::Full, true),
            (DriverKind::Unknown, "MISCONF Redis is configured to save RDB snapshots", Fault::Full, true),
            (DriverKind::Auth, "NOAUTH Authentication required.", Fault::Refused, false),
            (DriverKind::Auth, "WRONGPASS invalid username-password pair", Fault::Refused, false),
            (DriverKind::Unknown, "NOPERM this user has no permissions", Fault::Refused, false),
            (DriverKind::InvalidArgument, "WRONGTYPE Operation against a key", Fault::WrongType, false),
            (DriverKind::Timeout, "Request timed out.", Fault::Timeout, true),
            (DriverKind::Backpressure, "Max in-flight commands reached.", Fault::Crowded, true),
            (DriverKind::IO, "Connection refused", Fault::Unreachable, true),
            (DriverKind::Canceled, "Canceled.", Fault::Unreachable, true),
            (DriverKind::Unknown, "channel closed", Fault::Unreachable, true),
            (DriverKind::Config, "ERR This instance has cluster support disabled", Fault::Unfit, false),
            (DriverKind::Unknown, "ERR syntax error", Fault::Other, false),
        ] {
            let error = failed(kind, text);
            assert_eq!(error.fault(), Some(fault), "{text}");
            assert_eq!(Error::from(error).is_transient(), transient, "{text}");
        }
    }

    /// Case 77: a server that repeats what it was sent.
    #[test]
    fn what_a_server_repeats_is_not_shown() {
        let text = "ERR unknown command `HELLO`, with args beginning with: `3` `AUTH` `default` `canary-c0ffee`";
        let error = Error::from(failed(DriverKind::Unknown, text));
        let shown = format!("{error} {error:?} {}", error.source().map(ToString::to_string).unwrap_or_default());
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("ERR"), "{shown}");
    }
}
