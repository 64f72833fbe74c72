use super::*;
use crate::quota::LimitKind;

const EXCEEDED: Exceeded = Exceeded { kind: LimitKind::Agent, limit: 1, retry_after: 7, reset: 9 };

fn all() -> Vec<(Refusal, u16, &'static str)> {
    vec![
        (Refusal::Malformed("x"), 400, "bad_request"),
        (Refusal::Path(PathProblem::Dots), 400, "invalid_path"),
        (Refusal::RejectedByVault("x"), 400, "rejected_by_vault"),
        (Refusal::RejectedByKms, 400, "rejected_by_kms"),
        (Refusal::Unauthenticated, 401, "unauthenticated"),
        (Refusal::InvalidProof, 401, "invalid_dpop_proof"),
        (Refusal::InsufficientScope(Scope::Read), 403, "insufficient_scope"),
        (Refusal::Forbidden, 403, "forbidden"),
        (Refusal::Ungranted("x".into()), 403, "forbidden"),
        (Refusal::Suspended, 403, "suspended"),
        (Refusal::DeniedByVault, 403, "denied_by_vault"),
        (Refusal::TokenRequired, 403, "token_required"),
        (Refusal::LoginDenied, 403, "login_denied_by_vault"),
        (Refusal::DeniedByKms, 403, "denied_by_kms"),
        (Refusal::OriginNotAllowed, 403, "origin_not_allowed"),
        (Refusal::HostNotAllowed, 403, "host_not_allowed"),
        (Refusal::SocketOnly, 403, "socket_only"),
        (Refusal::Absent("x"), 404, "not_found"),
        (Refusal::NotFound, 404, "not_found"),
        (Refusal::MethodNotAllowed("GET".into()), 405, "method_not_allowed"),
        (Refusal::Verb("GET".into()), 405, "method_not_allowed"),
        (Refusal::NotAcceptable, 406, "not_acceptable"),
        (Refusal::RequestTimeout, 408, "request_timeout"),
        (Refusal::ConfirmationRequired, 428, "confirmation_required"),
        (Refusal::NotConfirmed, 403, "not_confirmed"),
        (Refusal::Cancelled, 409, "cancelled"),
        (Refusal::CheckAndSet, 409, "check_and_set_failed"),
        (Refusal::StateNotThere, 412, "state_not_there"),
        (Refusal::BodyTooLarge, 413, "body_too_large"),
        (Refusal::UnsupportedMediaType, 415, "unsupported_media_type"),
        (Refusal::EncodedBody, 415, "unsupported_content_encoding"),
        (Refusal::Arguments(Misfit { pointer: "/path".into(), expected: "a string".into() }), 422, "invalid_arguments"),
        (Refusal::RateLimited(EXCEEDED), 429, "rate_limited"),
        (Refusal::TooManyAtOnce, 429, "too_many_at_once"),
        (Refusal::TooManyStreams, 429, "too_many_streams"),
        (Refusal::TooSlow, 429, "too_slow"),
        (Refusal::TooManyConnections, 429, "too_many_connections"),
        (Refusal::TooManyFromAddress, 429, "too_many_from_address"),
        (Refusal::TooManyFailures(EXCEEDED), 429, "too_many_failures"),
        (Refusal::LeaseBudget, 429, "lease_budget_exhausted"),
        (Refusal::HeadTooLarge, 431, "head_too_large"),
        (Refusal::Internal, 500, "internal_error"),
        (Refusal::UpstreamNonsense, 502, "upstream_nonsense"),
        (Refusal::AnswerTooLarge, 502, "answer_too_large"),
        (Refusal::UpstreamUnavailable, 503, "upstream_unavailable"),
        (Refusal::NotProvisioned, 503, "vault_not_provisioned"),
        (Refusal::Overloaded, 503, "overloaded"),
        (Refusal::UpstreamTimeout, 503, "upstream_timeout"),
        (Refusal::KmsDisabled, 503, "kms_disabled"),
        (Refusal::KmsUnavailable, 503, "kms_unavailable"),
        (Refusal::IssuerUnavailable, 503, "issuer_unavailable"),
        (Refusal::HandleKeyUnknown, 503, "handle_key_unknown"),
        (Refusal::AuditUnavailable, 503, "audit_unavailable"),
        (Refusal::NoSession, 404, "no_session"),
    ]
}

#[test]
fn every_refusal_has_its_status_and_code() {
    for (refusal, status, code) in all() {
        let public = refusal.public();
        assert_eq!((public.status.as_u16(), public.code), (status, code));
        let body: serde_json::Value = serde_json::from_slice(&refusal.body("r-1")).unwrap();
        assert_eq!(body["error"], code);
        assert_eq!(body["request_id"], "r-1");
        assert!(!public.detail.is_empty());
    }
}

#[test]
fn what_passes_by_itself_says_when() {
    assert_eq!(Refusal::RateLimited(EXCEEDED).retry_after(), Some(7));
    assert_eq!(Refusal::UpstreamUnavailable.retry_after(), Some(1));
    assert_eq!(Refusal::Forbidden.retry_after(), None);
    // Waiting alone ends none of these.
    let lasting = [Refusal::TooManyStreams, Refusal::TooManyConnections, Refusal::LeaseBudget, Refusal::KmsDisabled];
    for (refusal, status, code) in all() {
        let passes = matches!(status, 429 | 503) && !lasting.contains(&refusal);
        assert_eq!(refusal.retry_after().is_some(), passes, "{code}");
    }
}
