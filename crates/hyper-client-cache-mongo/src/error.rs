//! What can go wrong in this backend, told apart by the server's codes, and the one conversion into the public error.

use std::fmt;
use std::sync::Arc;

use hyper_client_cache_core::{Error, ErrorKind};
use mongodb::error::ErrorKind as Driver;

/// The server's code for a document over 16 MiB, from the command and from the storage engine.
const TOO_LARGE: [i32; 2] = [10_334, 17_420];

/// Codes of commands that say that the credentials are refused or do not suffice.
const REFUSED: [i32; 3] = [13, 18, 8_000];

/// An error of this backend before it becomes a public one.
#[derive(Clone, Debug)]
pub(crate) enum MongoError {
    /// A setting is impossible: which, why, and what to do.
    Setting(String),
    /// The address cannot be parsed. The driver's own words may repeat it, with its password.
    Address,
    /// The entry cannot fit.
    TooLarge { len: u64, limit: u64 },
    /// The storage was closed.
    Closed,
    /// The server answered with something that is no document.
    Malformed,
    /// Some of the entries written together were refused.
    Refused { code: i32 },
    /// The task that ran the operation is gone.
    Task(String),
    /// The driver or the server failed.
    Driver { fault: Fault, source: Arc<mongodb::error::Error> },
}

/// What a failure of the driver means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No server answers, or the connection broke: the next try may do better.
    Unreachable,
    /// The server refuses the credentials, or they do not suffice.
    Denied,
    /// The document is over the server's limit.
    TooLarge,
    /// The server is there and cannot do it now (stepping down, starting, interrupted).
    Busy,
    /// Anything else.
    Other,
}

impl From<mongodb::error::Error> for MongoError {
    fn from(error: mongodb::error::Error) -> Self {
        let fault = match error.kind.as_ref() {
            Driver::Authentication { .. } => Fault::Denied,
            Driver::ServerSelection { .. } | Driver::Io(_) | Driver::ConnectionPoolCleared { .. } => Fault::Unreachable,
            Driver::Command(command) => fault_of(command.code, &error),
            Driver::Write(mongodb::error::WriteFailure::WriteError(write)) => fault_of(write.code, &error),
            _ if is_transient(&error) => Fault::Busy,
            _ => Fault::Other,
        };
        Self::Driver { fault, source: Arc::new(error) }
    }
}

fn fault_of(code: i32, error: &mongodb::error::Error) -> Fault {
    if TOO_LARGE.contains(&code) {
        Fault::TooLarge
    } else if REFUSED.contains(&code) {
        Fault::Denied
    } else if is_transient(error) {
        Fault::Busy
    } else {
        Fault::Other
    }
}

fn is_transient(error: &mongodb::error::Error) -> bool {
    ["RetryableWriteError", "TransientTransactionError", "RetryableError"]
        .iter()
        .any(|label| error.contains_label(label))
}

impl fmt::Display for MongoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(why) => f.write_str(why),
            Self::Address => f.write_str("`url` is no address of a MongoDB server; give mongodb://host:port"),
            Self::TooLarge { len, limit } => write!(f, "{len} bytes, and {limit} is the most"),
            Self::Closed => f.write_str("mongo"),
            Self::Malformed => f.write_str("the server's answer is no document"),
            Self::Refused { code } => write!(f, "the server refused a write (code {code})"),
            Self::Task(why) => write!(f, "the operation's task ended: {why}"),
            Self::Driver { fault, .. } => f.write_str(match fault {
                Fault::Unreachable => "no MongoDB server answers at the address",
                Fault::Denied => "the MongoDB server refuses the credentials",
                Fault::TooLarge => "the document is over the server's limit",
                Fault::Busy => "the MongoDB server cannot do it now",
                Fault::Other => "MongoDB reports an error",
            }),
        }
    }
}

impl From<MongoError> for Error {
    fn from(error: MongoError) -> Self {
        let kind = match &error {
            MongoError::Setting(_) | MongoError::Address => ErrorKind::Config,
            MongoError::TooLarge { .. } | MongoError::Driver { fault: Fault::TooLarge, .. } => ErrorKind::TooLarge,
            MongoError::Closed => ErrorKind::Closed,
            _ => ErrorKind::Storage,
        };
        let transient = matches!(&error, MongoError::Driver { fault: Fault::Unreachable | Fault::Busy, .. });
        let public = Self::new(kind, error.to_string());
        let public = if transient { public.transient() } else { public };
        match error {
            MongoError::Driver { source, .. } => public.with_source(source),
            _ => public,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_an_error_of_configuration_and_a_lost_connection_a_transient_one() {
        assert_eq!(Error::from(MongoError::Address).kind(), ErrorKind::Config);
        let lost = mongodb::error::Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        let error = Error::from(MongoError::from(lost));
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.is_transient());
    }

    #[test]
    fn over_the_limit_is_its_own_kind() {
        let error = Error::from(MongoError::TooLarge { len: 3, limit: 2 });
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("3 bytes"), "{error}");
    }
}
