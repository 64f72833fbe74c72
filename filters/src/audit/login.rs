//! Records of refused logins: Authentication (OCSF class 3002).

use std::net::IpAddr;

use super::{member, number, of_trace, source};
use crate::trace::TraceId;

/// The facts of a login that was refused. Nothing in it is part of a secret.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// Milliseconds since the epoch.
    pub time: u64,
    /// The id that the server log has too.
    pub correlation_id: &'a str,
    /// The gate's id of the request.
    pub request_id: &'a str,
    /// The trace that the request is in.
    pub trace: Option<TraceId>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The code of the refusal.
    pub decision: &'static str,
    /// The kind of credential.
    pub judged: &'static str,
    /// The reason.
    pub why: &'a str,
    /// The principal, where that was proved.
    pub principal: &'a str,
    /// First digits of the SHA-256 of an API key.
    pub key: &'a str,
    /// SHA-256 of a certificate.
    pub certificate: &'a str,
    /// Configured name of a token's issuer.
    pub issuer: &'a str,
    /// The HTTP status.
    pub status: u16,
}

impl Login<'_> {
    /// Writes the body of the record.
    pub fn write(&self, out: &mut Vec<u8>) {
        member(",\"correlation_uid\":", self.correlation_id, out);
        number(
            "},\"class_uid\":3002,\"category_uid\":3,\"activity_id\":1,\"type_uid\":300201,\"time\":",
            self.time,
            out,
        );
        out.extend_from_slice(b",\"severity_id\":2,\"status_id\":2");
        member(",\"status_detail\":", self.why, out);
        member(",\"auth_protocol_id\":99,\"auth_protocol\":", self.judged, out);
        out.extend_from_slice(b",\"user\":{\"type_id\":0");
        member(",\"name\":", self.principal, out);
        out.push(b'}');
        source(self.client, out);
        if !self.certificate.is_empty() {
            member(",\"certificate\":{\"fingerprints\":[{\"algorithm_id\":3,\"value\":", self.certificate, out);
            out.extend_from_slice(b"}]}");
        }
        number(",\"http_response\":{\"code\":", self.status.into(), out);
        member("},\"unmapped\":{\"decision\":", self.decision, out);
        member(",\"request_id\":", self.request_id, out);
        member(",\"key\":", self.key, out);
        member(",\"issuer\":", self.issuer, out);
        of_trace(self.trace, out);
    }
}
