//! Why a request is not served, and what the caller is told (DESIGN section 9).
//!
//! The public text is static and never holds a value of the request or of the
//! policy; what went wrong in detail goes to the log.

use http::StatusCode;
use serde::Serialize;

use crate::path::PathProblem;
use crate::quota::Exceeded;
use crate::scope::Scope;

mod told;

/// Every way in which a request ends without being served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The head or body is not what HTTP or JSON-RPC asks for.
    Malformed(&'static str),
    /// A path that is not plain.
    Path(PathProblem),
    /// Vault called the request bad, for this reason.
    RejectedByVault(&'static str),
    /// AWS KMS called the request bad.
    RejectedByKms,
    /// No credential, or none that holds.
    Unauthenticated,
    /// A token without a proof of its key that holds (RFC 9449), or with one that was used before.
    InvalidProof,
    /// The credential lacks a scope.
    InsufficientScope(Scope),
    /// No role of the agent allows it.
    Forbidden,
    /// The same, with what the agent's roles hold of that kind, which is its own.
    Ungranted(String),
    /// The agent may do nothing for now.
    Suspended,
    /// Vault denied it.
    DeniedByVault,
    /// Vault is asked with callers' own tokens, and this one has none.
    TokenRequired,
    /// Vault gives nothing for the caller's own token.
    LoginDenied,
    /// AWS denied it.
    DeniedByKms,
    /// A browser's page that may not call.
    OriginNotAllowed,
    /// A name by which the operators' address is not asked.
    HostNotAllowed,
    /// A change, asked for at the operators' address.
    SocketOnly,
    /// No such route or thing.
    NotFound,
    /// No such secret or version; which, and what brings it.
    Absent(&'static str),
    /// The route exists with other methods.
    MethodNotAllowed(String),
    /// The path ends in a verb that other methods mean.
    Verb(String),
    /// The caller does not accept what an answer is.
    NotAcceptable,
    /// The head or body took too long to arrive.
    RequestTimeout,
    /// The role has it confirmed first, and no confirmation came with the call.
    ConfirmationRequired,
    /// The confirmation that came with the call does not allow it.
    NotConfirmed,
    /// Its client cancelled the request.
    Cancelled,
    /// The check-and-set version did not match.
    CheckAndSet,
    /// The body is over the limit.
    BodyTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The body has a coding that is not undone.
    EncodedBody,
    /// Arguments that do not fit the operation's schema.
    Arguments(Misfit),
    /// Over the rate limit.
    RateLimited(Exceeded),
    /// The agent has as many requests under way, and waiting, as it may.
    TooManyAtOnce,
    /// The agent has as many streams of events open as it may.
    TooManyStreams,
    /// The agent takes what it is told on a stream of events more slowly than it happens.
    TooSlow,
    /// The agent asks on as many connections as it may.
    TooManyConnections,
    /// As many requests from this address are worked on as may be.
    TooManyFromAddress,
    /// Too many failed authentications from this address.
    TooManyFailures(Exceeded),
    /// The agent has as many live leases as it may.
    LeaseBudget,
    /// The head is over the limit.
    HeadTooLarge,
    /// Vault answered something that is not an answer of its API.
    UpstreamNonsense,
    /// Vault's answer is over the limit.
    AnswerTooLarge,
    /// Vault is sealed, in standby, down, or the gate has no login.
    UpstreamUnavailable,
    /// The node of Vault's that was asked has not seen the state yet that the request names.
    StateNotThere,
    /// Vault answers, and lacks what the gate needs there.
    NotProvisioned,
    /// The gate holds as many requests as it may.
    Overloaded,
    /// Vault did not answer in time.
    UpstreamTimeout,
    /// AWS KMS is not offered here.
    KmsDisabled,
    /// AWS KMS cannot be reached, does not answer in time, or knows no credentials of the gate's.
    KmsUnavailable,
    /// A token's issuer gives no keys.
    IssuerUnavailable,
    /// 404: the session of MCP has ended, or is not the caller's.
    NoSession,
    /// 503: the audit must have a record of it, and cannot.
    AuditUnavailable,
    /// 503: the handle was sealed under a later version of the key than this gate has seen.
    HandleKeyUnknown,
    /// A defect of the gate.
    Internal,
}

/// Where arguments do not fit, and what would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Misfit {
    /// A JSON pointer (RFC 6901) to the argument, made of schema names and
    /// indices only.
    pub pointer: String,
    /// The value that was expected there: text of the schema, never of the caller.
    pub expected: String,
}

/// The public side of a [`Refusal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// One sentence.
    pub detail: &'static str,
}

impl Refusal {
    /// Status, code and text.
    #[must_use]
    pub const fn public(&self) -> Public {
        let (status, code, detail) = match self {
            Self::Malformed(detail) => (StatusCode::BAD_REQUEST, "bad_request", *detail),
            Self::Path(problem) => (StatusCode::BAD_REQUEST, "invalid_path", problem.text()),
            Self::RejectedByVault(reason) => (StatusCode::BAD_REQUEST, "rejected_by_vault", *reason),
            Self::RejectedByKms => {
                (StatusCode::BAD_REQUEST, "rejected_by_kms", "AWS KMS rejected the request, or the key cannot do it.")
            }
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "A valid credential is required."),
            Self::InvalidProof => {
                (StatusCode::UNAUTHORIZED, "invalid_dpop_proof", "A new DPoP proof of this very request is required.")
            }
            Self::InsufficientScope(scope) => (StatusCode::FORBIDDEN, "insufficient_scope", scope_text(*scope)),
            Self::Forbidden | Self::Ungranted(_) => (StatusCode::FORBIDDEN, "forbidden", "This agent may not do that."),
            Self::Suspended => (StatusCode::FORBIDDEN, "suspended", "This agent is suspended."),
            Self::DeniedByVault => (
                StatusCode::FORBIDDEN,
                "denied_by_vault",
                "Vault's policy denies what the gate's grants allow: most likely `portcullis policy --sync` was not run \
                 since they were changed, or what is named is not in Vault.",
            ),
            Self::TokenRequired => (
                StatusCode::FORBIDDEN,
                "token_required",
                "Vault is asked with callers' own tokens here: a bearer token (JWT) is required.",
            ),
            Self::LoginDenied => {
                (StatusCode::FORBIDDEN, "login_denied_by_vault", "Vault does not accept the bearer token.")
            }
            Self::DeniedByKms => (StatusCode::FORBIDDEN, "denied_by_kms", "AWS denies this."),
            Self::OriginNotAllowed => {
                (StatusCode::FORBIDDEN, "origin_not_allowed", "Requests from this origin are not allowed.")
            }
            Self::HostNotAllowed => (
                StatusCode::FORBIDDEN,
                "host_not_allowed",
                "This is asked as localhost, by a loopback address, or by a name in admin.hosts.",
            ),
            Self::SocketOnly => (
                StatusCode::FORBIDDEN,
                "socket_only",
                "Requests that change something are served at the operators' Unix socket only: admin.socket.",
            ),
            Self::ConfirmationRequired => (
                StatusCode::PRECONDITION_REQUIRED,
                "confirmation_required",
                "This call is to be confirmed first, and its client cannot ask its user: that takes MCP 2026-07-28 and \
                 the capability elicitation.",
            ),
            Self::NotConfirmed => (
                StatusCode::FORBIDDEN,
                "not_confirmed",
                "This call was not allowed, or its confirmation has ended, was used, or is that of another call: make \
                 it again without one, and it is asked for.",
            ),
            Self::Absent(detail) => (StatusCode::NOT_FOUND, "not_found", *detail),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is nothing here."),
            Self::MethodNotAllowed(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This route has no such method; see the Allow header.",
            ),
            Self::Verb(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "The path ends in a verb, as ':metadata', that takes the methods in the Allow header; \
                 in a name that ends so, the colon is written as %3A.",
            ),
            Self::NotAcceptable => (
                StatusCode::NOT_ACCEPTABLE,
                "not_acceptable",
                "The Accept header excludes the media type of the answer.",
            ),
            Self::RequestTimeout => {
                (StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request took too long to arrive.")
            }
            Self::Cancelled => (StatusCode::CONFLICT, "cancelled", "The client cancelled this request."),
            Self::CheckAndSet => {
                (StatusCode::CONFLICT, "check_and_set_failed", "The current version is not the one given as cas.")
            }
            Self::BodyTooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The body is over the configured limit.")
            }
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The body must be declared as application/json.",
            ),
            Self::EncodedBody => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_content_encoding",
                "The body must come without a Content-Encoding.",
            ),
            Self::Arguments(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid_arguments", "An argument does not fit the schema.")
            }
            Self::RateLimited(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many requests; see the Retry-After header.")
            }
            Self::TooManyAtOnce => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_at_once",
                "This agent has as many requests under way as it may.",
            ),
            Self::TooManyStreams => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_streams",
                "This agent has as many streams of events open as it may.",
            ),
            Self::TooSlow => {
                (StatusCode::TOO_MANY_REQUESTS, "too_slow", "More has happened than this stream of events was read.")
            }
            Self::TooManyConnections => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_connections",
                "This agent asks on as many connections as it may; close some.",
            ),
            Self::TooManyFromAddress => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_from_address",
                "As many requests from this address are under way as may be.",
            ),
            Self::TooManyFailures(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_failures",
                "Too many failed authentications; see the Retry-After header.",
            ),
            Self::LeaseBudget => (
                StatusCode::TOO_MANY_REQUESTS,
                "lease_budget_exhausted",
                "This agent has as many live leases as it may; revoke one, or wait until one ends.",
            ),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                "The request's head is over the configured limit.",
            ),
            Self::UpstreamNonsense => {
                (StatusCode::BAD_GATEWAY, "upstream_nonsense", "Vault's answer could not be understood.")
            }
            Self::AnswerTooLarge => {
                (StatusCode::BAD_GATEWAY, "answer_too_large", "Vault's answer is over the configured limit.")
            }
            Self::UpstreamUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "upstream_unavailable", "Vault is not available.")
            }
            Self::StateNotThere => (
                StatusCode::PRECONDITION_FAILED,
                "state_not_there",
                "This node of Vault's has not seen the state that X-Vault-Index names: ask again.",
            ),
            Self::NotProvisioned => (
                StatusCode::SERVICE_UNAVAILABLE,
                "vault_not_provisioned",
                "Vault lacks what the gate needs there: the gate's log and its operators' /readyz say what.",
            ),
            Self::Overloaded => {
                (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "The gate is at its limit of concurrent work.")
            }
            Self::UpstreamTimeout => {
                (StatusCode::SERVICE_UNAVAILABLE, "upstream_timeout", "Vault did not answer in time.")
            }
            Self::KmsDisabled => {
                (StatusCode::SERVICE_UNAVAILABLE, "kms_disabled", "AWS KMS is not enabled on this gate.")
            }
            Self::KmsUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "kms_unavailable", "AWS KMS is not available."),
            Self::NoSession => {
                (StatusCode::NOT_FOUND, "no_session", "There is no such session, or it has ended: initialize anew.")
            }
            Self::HandleKeyUnknown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "handle_key_unknown",
                "The key of this handle is not known here yet; see the Retry-After header.",
            ),
            Self::IssuerUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "issuer_unavailable",
                "The keys of the token's issuer are not available.",
            ),
            Self::AuditUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "audit_unavailable",
                "The audit cannot be written, without which nothing is done here.",
            ),
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "The gate met an unexpected condition.")
            }
        };
        Public { status, code, detail }
    }
}

impl From<PathProblem> for Refusal {
    fn from(problem: PathProblem) -> Self {
        Self::Path(problem)
    }
}

const fn scope_text(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "The credential lacks the scope 'read'.",
        Scope::Write => "The credential lacks the scope 'write'.",
        Scope::Delete => "The credential lacks the scope 'delete'.",
        Scope::List => "The credential lacks the scope 'list'.",
    }
}

#[cfg(test)]
mod tests;
