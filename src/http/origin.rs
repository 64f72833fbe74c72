//! The address by which the gate is reached, and the pages that it serves there itself.

use std::net::IpAddr;

use http::Uri;
use http::header::HOST;
use http::uri::Authority;
use pingora_core::protocols::http::ServerSession;

use crate::snapshot::Snapshot;

use super::side::Side;

/// Scheme and authority by which the gate is reached: as configured, else as the request has them.
pub(super) fn base(session: &ServerSession, snapshot: &Snapshot, side: Side) -> Option<String> {
    if let Some(base) = &snapshot.surfaces.public_url {
        return Some(base.to_string());
    }
    let Side::Edge { index, .. } = side else { return None };
    let scheme = if snapshot.tls_of(index).is_some() { "https" } else { "http" };
    let request = session.req_header();
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority: Authority =
        request.uri.authority().map_or(host, |authority| Some(authority.as_str()))?.parse().ok()?;
    let plain = !authority.as_str().contains('@') && !authority.host().is_empty();
    plain.then(|| format!("{scheme}://{authority}"))
}

/// True for the origin of the gate's own pages: that of [`base`]. Where it is the request that names the host and no
/// certificate proves the name, the host must be a loopback one: any other may be a page's own that points at the
/// gate (DNS rebinding).
pub(super) fn is_own(origin: &str, session: &ServerSession, snapshot: &Snapshot, side: Side) -> bool {
    let proven = snapshot.surfaces.public_url.is_some();
    base(session, snapshot, side).is_some_and(|base| is_same(origin, &base) && (proven || names_itself(&base)))
}

/// True for a host that no page can take for its own: proven by TLS, or on this machine.
fn names_itself(base: &str) -> bool {
    let Ok(base) = base.parse::<Uri>() else { return false };
    base.scheme_str() == Some("https") || base.host().is_some_and(is_loopback)
}

/// Tells if a host, an IPv6 address in brackets, is `localhost` or a loopback address.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    loopback || host.eq_ignore_ascii_case("localhost")
}

/// Compares origins (RFC 6454, section 5), of which a browser leaves out the scheme's own port.
fn is_same(origin: &str, base: &str) -> bool {
    let own_port = if base.starts_with("https:") { ":443" } else { ":80" };
    origin.eq_ignore_ascii_case(base.strip_suffix(own_port).unwrap_or(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_the_same_by_scheme_host_and_port() {
        for (origin, base, same) in [
            ("https://gate.example", "https://gate.example", true),
            ("https://gate.example", "https://Gate.example:443", true),
            ("http://localhost", "http://localhost:80", true),
            ("https://gate.example:8443", "https://gate.example:8443", true),
            ("http://gate.example", "https://gate.example", false),
            ("https://gate.example", "https://gate.example:8443", false),
            ("https://gate.example.evil", "https://gate.example", false),
            ("http://[::1]", "http://[::1]:443", false),
            ("null", "https://gate.example", false),
            ("", "https://gate.example", false),
        ] {
            assert_eq!(is_same(origin, base), same, "{origin} {base}");
        }
    }

    #[test]
    fn without_a_certificate_a_host_is_believed_on_this_machine_only() {
        for (base, believed) in [
            ("https://gate.example:8443", true),
            ("http://localhost:8080", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:8080", true),
            ("http://gate.example", false),
            ("http://localhost.evil.example", false),
            ("http://192.0.2.1", false),
        ] {
            assert_eq!(names_itself(base), believed, "{base}");
        }
    }
}
