//! What can go wrong in this backend, told apart by the service's codes, and the one conversion into the public error.
//!
//! The service's own words are never shown: a server may repeat in them what it was sent. Its code and the operation say
//! enough.

use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};
use hyper_client_cache_core::{Error, ErrorKind};

/// An error of this backend.
#[derive(Clone, Debug)]
pub(crate) enum DynamoDbError {
    /// A setting is impossible; the text says which and what to do.
    Setting(String),
    /// The table is not there.
    Missing { table: String },
    /// The table is somebody else's, or its attributes have other names.
    Foreign { table: String, why: &'static str },
    /// The index of deadlines is not there.
    NoIndex,
    /// The table was not ready in time.
    NotReady { table: String },
    /// The credentials do not allow this operation, or are none.
    Denied { table: String, operation: &'static str, code: String },
    /// The entry cannot fit.
    TooLarge { len: u64, limit: u64 },
    /// The storage was closed.
    Closed,
    /// The condition of a write did not hold.
    Condition,
    /// The service takes less at present than is asked of it.
    Throttled { operation: &'static str },
    /// The service did not answer in time.
    Timeout { operation: &'static str },
    /// The service could not be reached, or the connection ended early.
    Unreachable { operation: &'static str, source: Option<Arc<BoxError>> },
    /// The answer is none that the service gives.
    Unreadable { operation: &'static str },
    /// Any other error of the service.
    Service { operation: &'static str, code: String, status: u16 },
}

impl DynamoDbError {
    /// What a failed call means.
    pub(crate) fn of<E: ProvideErrorMetadata>(
        operation: &'static str,
        table: &str,
        error: SdkError<E, HttpResponse>,
    ) -> Self {
        match error {
            SdkError::TimeoutError(_) => Self::Timeout { operation },
            SdkError::DispatchFailure(failure) => {
                // Anything but the network's own error comes from a provider of credentials, whose words may be secret.
                let network = failure.is_io() || failure.is_timeout();
                // Put into an error whose type is known, because only then it gives its source away.
                let failure = SdkError::<std::convert::Infallible, HttpResponse>::DispatchFailure(failure);
                let source = if network { failure.into_source().ok().map(Arc::new) } else { None };
                Self::Unreachable { operation, source }
            }
            SdkError::ServiceError(error) => {
                let status = error.raw().status().as_u16();
                if status < 300 && error.err().code().is_none() {
                    // Somebody else's answer, from a proxy or a portal.
                    return Self::Unreadable { operation };
                }
                Self::of_code(operation, table, error.err().code(), error.err().message(), status)
            }
            SdkError::ConstructionFailure(_) => Self::Setting(format!(
                "the request for {operation} cannot be made: check the endpoint, the region and the credentials"
            )),
            _ => Self::Unreadable { operation },
        }
    }

    fn of_code(operation: &'static str, table: &str, code: Option<&str>, message: Option<&str>, status: u16) -> Self {
        let table = || table.to_owned();
        let says = |what: &str| message.is_some_and(|message| message.contains(what));
        match code.unwrap_or_default() {
            "ConditionalCheckFailedException" => Self::Condition,
            "ResourceNotFoundException" => Self::Missing { table: table() },
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "LimitExceededException" => Self::Throttled { operation },
            "AccessDeniedException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "IncompleteSignatureException"
            | "MissingAuthenticationTokenException"
            | "InvalidClientTokenId"
            | "ExpiredTokenException"
            | "NotAuthorized" => Self::Denied { table: table(), operation, code: code.unwrap_or_default().to_owned() },
            "ValidationException" if says("does not have the specified index") => Self::NoIndex,
            "ValidationException" if says("does not match the schema") || says("Missing the key") => {
                Self::Foreign { table: table(), why: "its primary key is another" }
            }
            code => Self::Service { operation, code: readable(code), status },
        }
    }

    /// Whether the next try may succeed.
    pub(crate) const fn is_transient(&self) -> bool {
        match self {
            Self::Throttled { .. }
            | Self::Timeout { .. }
            | Self::Unreachable { .. }
            | Self::Unreadable { .. }
            | Self::NotReady { .. } => true,
            Self::Service { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Whether it will be the same until somebody does something: worth a word in the log.
    pub(crate) const fn needs_attention(&self) -> bool {
        matches!(self, Self::Setting(_) | Self::Missing { .. } | Self::Foreign { .. } | Self::Denied { .. })
    }
}

/// A code, if it looks like one.
fn readable(code: &str) -> String {
    let plain = (1..=80).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain { code.to_owned() } else { "no code".to_owned() }
}

impl fmt::Display for DynamoDbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(why) => f.write_str(why),
            Self::Missing { table } => write!(
                f,
                "there is no table `{table}` here: make it, or let the cache do it with `create_if_not_exists(true)`"
            ),
            Self::Foreign { table, why } => {
                write!(
                    f,
                    "the table `{table}` is not one of this cache: {why}; choose another table or set `attributes`"
                )
            }
            Self::NoIndex => f.write_str("the table has no index of deadlines"),
            Self::NotReady { table } => write!(f, "the table `{table}` did not become ready in time"),
            Self::Denied { table, operation, code } => {
                write!(f, "DynamoDB does not allow {operation} on the table `{table}` with these credentials ({code})")
            }
            Self::TooLarge { len, limit } => write!(f, "{len} bytes, and {limit} is the most"),
            Self::Closed => f.write_str("dynamodb"),
            Self::Condition => f.write_str("another writer was there first"),
            Self::Throttled { operation } => write!(f, "DynamoDB throttles {operation}"),
            Self::Timeout { operation } => write!(f, "DynamoDB did not answer {operation} in time"),
            Self::Unreachable { operation, .. } => write!(f, "DynamoDB cannot be reached for {operation}"),
            Self::Unreadable { operation } => write!(f, "the answer to {operation} cannot be read"),
            Self::Service { operation, code, status } => {
                write!(f, "DynamoDB failed at {operation} ({code}, status {status})")
            }
        }
    }
}

impl From<DynamoDbError> for Error {
    fn from(error: DynamoDbError) -> Self {
        let kind = match &error {
            DynamoDbError::Setting(_)
            | DynamoDbError::Missing { .. }
            | DynamoDbError::Foreign { .. }
            | DynamoDbError::Denied { .. } => ErrorKind::Config,
            DynamoDbError::TooLarge { .. } => ErrorKind::TooLarge,
            DynamoDbError::Closed => ErrorKind::Closed,
            _ => ErrorKind::Storage,
        };
        let public = Self::new(kind, error.to_string());
        let public = if error.is_transient() { public.transient() } else { public };
        match error {
            DynamoDbError::Unreachable { source: Some(source), .. } => public.with_source(Source(source)),
            _ => public,
        }
    }
}

/// What the network said.
struct Source(Arc<BoxError>);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Source {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// A result inside this crate.
pub(crate) type Result<T> = std::result::Result<T, DynamoDbError>;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str, message: &str, status: u16) -> DynamoDbError {
        DynamoDbError::of_code("GetItem", "t", Some(code), Some(message), status)
    }

    #[test]
    fn codes_are_told_apart() {
        for code in ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"] {
            assert!(Error::from(of(code, "", 400)).is_transient(), "{code}");
        }
        assert!(Error::from(of("InternalServerError", "", 500)).is_transient());
        assert!(!Error::from(of("ValidationException", "", 400)).is_transient());
        for code in ["AccessDeniedException", "UnrecognizedClientException", "ResourceNotFoundException"] {
            let error = Error::from(of(code, "", 400));
            assert!(!error.is_transient() && error.kind() == ErrorKind::Config, "{code}");
        }
        let schema = "The provided key element does not match the schema";
        assert!(matches!(of("ValidationException", schema, 400), DynamoDbError::Foreign { .. }));
    }

    /// Case 77: a server may repeat in its message what it was sent.
    #[test]
    fn the_services_words_are_not_shown() {
        for code in ["AccessDeniedException", "ValidationException", "canary code", "InternalServerError"] {
            let error = Error::from(of(code, "canary", 400));
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
    }
}
