//! What is a credential by its usual meaning, whatever the settings say.

/// Parameters whose values are credentials by their usual meaning, in lower case.
const SECRET_PARAMS: [&str; 24] = [
    "access_key",
    "access_token",
    "api-key",
    "api_key",
    "api_token",
    "apikey",
    "auth",
    "auth_token",
    "authorization",
    "client_secret",
    "id_token",
    "jwt",
    "pass",
    "passwd",
    "password",
    "refresh_token",
    "secret",
    "sessionid",
    "sig",
    "signature",
    "token",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-signature",
];

/// Whether a parameter, by its name as it is decoded, is one whose value is a credential.
pub(super) fn is_usual_param(name: &str) -> bool {
    SECRET_PARAMS.iter().any(|secret| secret.eq_ignore_ascii_case(name))
}

/// Whether a request header field, in lower case, is a credential.
pub(super) fn is_usual_header(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "proxy-authorization"
            | "cookie"
            | "x-api-key"
            | "x-api-token"
            | "x-auth-token"
            | "x-access-token"
            | "x-amz-security-token"
            | "x-goog-api-key"
            | "api-key"
            | "apikey"
            | "private-token"
    )
}
