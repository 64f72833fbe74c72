//! The head of a request: read once, bounded, and judged before anything else.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use filters::headers::{CORRELATION_ID, TRACEPARENT, TRACESTATE, VAULT_WRAP_TTL};
use filters::names::is_correlation_id;
use filters::path::PathProblem;
use filters::refusal::Refusal;
use filters::trace::{TraceContext, TraceParent, trace_state};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method, Version};
use pingora_core::protocols::http::ServerSession;

use crate::snapshot::Snapshot;

use super::origin::{is_loopback, is_own};
use super::side::Side;

/// Tells this process's requests from another's.
static PROCESS: LazyLock<String> = LazyLock::new(|| format!("{:016x}-", crate::random::u64()));
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A new id: 16 hexadecimal digits of the process, and at least 8 of a count, so that answers which differ in it alone
/// are equally long.
pub(crate) fn request_id() -> String {
    let mut id = String::with_capacity(PROCESS.len() + 16);
    id.push_str(&PROCESS);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let digits = (u64::BITS - count.leading_zeros()).div_ceil(4).max(8);
    // The formatter of the standard library would cost every request more.
    let digit = |place| char::from_digit(u32::try_from((count >> (4 * place)) & 0xf).ok()?, 16);
    id.extend((0..digits).rev().filter_map(digit));
    id
}

/// The head of a request, read and judged.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request_id: String,
    pub(super) correlation_id: String,
    /// The span that the request belongs to, as it says.
    pub(super) parent: Option<TraceParent>,
    /// Who has the connection and may be a proxy whose headers count: behind a
    /// balancer nobody, whose headers are those of anyone it serves.
    pub(super) peer: Option<IpAddr>,
    /// Who asks: who has the connection, or whom trusted proxies name.
    pub(super) client: Option<IpAddr>,
    /// `GET` for a `HEAD`, which is judged as one.
    pub(super) method: Method,
    /// True for a `HEAD`, whose answer has no body.
    pub(super) is_bodiless: bool,
    /// Without the query, as it came.
    pub(super) path: String,
    pub(super) query: String,
    /// The time for which the caller lets its answer be wrapped.
    pub(super) wrap_ttl: Option<String>,
    /// The origin of a page; forgotten where it may not call.
    pub(super) origin: Option<String>,
    /// True for a page that the gate served itself.
    pub(super) is_own_page: bool,
    /// True for a request that came by the operators' Unix socket.
    pub(super) by_socket: bool,
}

impl Head {
    /// Reads the head of `session`, whose connection is from `address`, and the first thing that is
    /// wrong with it.
    pub(super) fn read(
        session: &ServerSession,
        snapshot: &Snapshot,
        side: Side,
        address: Option<IpAddr>,
    ) -> (Self, Option<Refusal>) {
        let request = session.req_header();
        let headers = &request.headers;
        let request_id = request_id();
        let parent = parent(headers).filter(|_| snapshot.surfaces.trace_context);
        let correlation_id = match headers.get(CORRELATION_ID) {
            Some(value) if is_correlation_id(value.as_bytes()) => value.to_str().unwrap_or_default().to_owned(),
            _ => parent.map_or_else(|| request_id.clone(), |parent| parent.trace.to_string()),
        };
        let target = std::str::from_utf8(request.raw_path());
        let asks_all = request.method == Method::OPTIONS;
        let local = target.ok().and_then(path_of).filter(|path| path.starts_with('/') || asks_all && *path == "*");
        let admin = matches!(side, Side::Admin);
        let by_socket = admin && address.is_none();
        let mut wrap_ttls = headers.get_all(VAULT_WRAP_TTL).iter();
        // What is no text is no duration either, and refused as such.
        let wrap_ttl = wrap_ttls.next().map(|value| value.to_str().unwrap_or_default().to_owned());
        let problem = match target {
            _ if admin && !by_socket && !is_local(headers, &snapshot.admin_hosts) => Some(Refusal::HostNotAllowed),
            _ if size(headers) + request.raw_path().len() > snapshot.limits.bounds.head => Some(Refusal::HeadTooLarge),
            Err(_) => Some(Refusal::Path(PathProblem::NotUtf8)),
            Ok(_) if local.is_none() => {
                Some(Refusal::Malformed("The request's target must be a path or a URL with one."))
            }
            Ok(_) if !session.is_http2() && !names_host(request.version, headers) => {
                Some(Refusal::Malformed("The Host header must name the host, once."))
            }
            Ok(_) if wrap_ttls.next().is_some() => {
                Some(Refusal::Malformed("The X-Vault-Wrap-TTL header stands twice."))
            }
            Ok(_) => None,
        };
        let local = local.unwrap_or_default();
        let (path, query) = local.split_once('?').unwrap_or((local, ""));
        let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or("null").to_owned());
        let is_own_page = origin.as_deref().is_some_and(|origin| is_own(origin, session, snapshot, side));
        let peer = address.filter(|_| !matches!(side, Side::Edge { balanced: true, .. }));
        let client = peer.map(|peer| snapshot.credentials.proxies.client_behind(peer, headers)).or(address);
        let is_bodiless = request.method == Method::HEAD;
        let method = if is_bodiless { Method::GET } else { request.method.clone() };
        let (path, query) = (path.to_owned(), query.to_owned());
        let head = Self {
            request_id,
            correlation_id,
            parent,
            peer,
            client,
            method,
            is_bodiless,
            path,
            query,
            wrap_ttl,
            origin,
            is_own_page,
            by_socket,
        };
        (head, problem)
    }

    /// Notes the span that the request belongs to, as its body says: what the head says goes first.
    pub(super) fn belongs_to(&mut self, parent: TraceParent) {
        if self.correlation_id == self.request_id {
            self.correlation_id = parent.trace.to_string();
        }
        self.parent.get_or_insert(parent);
    }

    /// The span that the request belongs to, as the head of `headers` says.
    pub(super) fn trace(&self, headers: &HeaderMap) -> Option<TraceContext> {
        let lines = || headers.get_all(TRACESTATE).iter().filter_map(|line| line.to_str().ok());
        self.parent.map(|parent| TraceContext { parent, state: trace_state(lines()) })
    }

    /// True where the body may say which span the request belongs to: messages of MCP, where the head says none.
    pub(super) fn leaves_trace_to_body(&self) -> bool {
        self.parent.is_none() && self.method == Method::POST && self.is_mcp()
    }

    pub(super) fn is_mcp(&self) -> bool {
        matches!(self.path.as_str(), "/mcp" | "/mcp/rpc" | "/mcp/sse")
    }

    /// The name of the method as it came, of a closed set.
    pub(super) fn method_name(&self) -> &'static str {
        match self.method {
            Method::GET if self.is_bodiless => "HEAD",
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            Method::PATCH => "PATCH",
            Method::OPTIONS => "OPTIONS",
            _ => "OTHER",
        }
    }
}

/// The span that these headers name, once.
fn parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut lines = headers.get_all(TRACEPARENT).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    TraceParent::parse(line.to_str().ok()?)
}

/// The path and query of a target, or `*`; `None` for what has neither. Of a URL (RFC 9112, section
/// 3.2.2) the host is the one of the Host header, or the head was not read.
fn path_of(target: &str) -> Option<&str> {
    if target.contains('#') {
        return None;
    }
    let scheme = |scheme: &str| {
        let (given, rest) = target.split_at_checked(scheme.len())?;
        given.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let Some(rest) = scheme("http://").or_else(|| scheme("https://")) else { return Some(target) };
    match rest.find(['/', '?']) {
        Some(0) => None,
        Some(end) if rest.as_bytes().get(end) == Some(&b'/') => rest.get(end..),
        // There is no resource whose path is empty, with a query or without.
        Some(_) | None => Some("/"),
    }
}

/// True where a head of HTTP/1 names its host, as RFC 9112 section 3.2 asks from HTTP/1.1 on.
fn names_host(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => is_name_and_port(host.as_bytes()) || is_authority(host.as_bytes()),
        (Some(_), Some(_)) => false,
    }
}

/// Tells if it is a name or an address with a port, as almost every host is.
fn is_name_and_port(host: &[u8]) -> bool {
    let port = host.iter().rev().position(|byte| *byte == b':');
    let (name, port) = port.map_or((host, &b"0"[..]), |digits| {
        let (name, port) = host.split_at(host.len() - digits - 1);
        (name, port.get(1..).unwrap_or_default())
    });
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !name.is_empty() && !port.is_empty() && name.iter().all(plain) && port.iter().all(u8::is_ascii_digit)
}

fn is_authority(host: &[u8]) -> bool {
    Authority::try_from(host).is_ok_and(|host| !host.as_str().contains('@'))
}

/// Tells if the operators' address is asked by a loopback address, `localhost` or one of `names`. A
/// page in a browser may have any other name point there.
fn is_local(headers: &HeaderMap, names: &[String]) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = authority.host();
    let known = names.iter().any(|known| known.eq_ignore_ascii_case(name.trim_matches(['[', ']'])));
    !authority.as_str().contains('@') && (known || is_loopback(name))
}

/// Bytes of names and values as they stood on the wire, about.
fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

const JSON: &str = "application/json";

/// True where the body is declared as JSON (invariant 11: a page of another
/// origin cannot send that without asking first).
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let mut declared = headers.get_all(CONTENT_TYPE).iter();
    let Some(media) = declared.next().filter(|_| declared.next().is_none()) else { return false };
    // Mostly it says no more.
    media == JSON
        || media.to_str().is_ok_and(|media| {
            let media = media.split(';').next().unwrap_or_default().trim();
            media.eq_ignore_ascii_case(JSON)
        })
}

/// True where the body is as it was written: no coding but `identity` is undone (RFC 9110, section 8.4).
pub(super) fn is_plain(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|value| {
        let codings = value.to_str().unwrap_or("?").split(',').map(str::trim);
        codings.into_iter().all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: http::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn one_host_must_be_named() {
        let named = |host: &str| names_host(Version::HTTP_11, &with(HOST, host));
        for host in ["localhost", "gate.example:8443", "192.0.2.1", "[2001:db8::1]:8443", "a_b"] {
            assert!(named(host), "{host}");
            assert!(is_authority(host.as_bytes()), "{host}");
        }
        for host in ["", "a b", "user@gate.example", "gate.example/path", "gate:port:port"] {
            assert!(!named(host), "{host}");
        }
        let mut twice = with(HOST, "a");
        twice.append(HOST, "a".parse().unwrap());
        assert!(!names_host(Version::HTTP_11, &twice));
        assert!(!names_host(Version::HTTP_11, &HeaderMap::new()));
        assert!(names_host(Version::HTTP_10, &HeaderMap::new()));
    }

    #[test]
    fn json_must_be_declared_as_such() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/jsonx", false),
            ("text/plain; application/json", false),
            ("", false),
        ] {
            assert_eq!(is_json(&with(CONTENT_TYPE, value)), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn a_target_is_a_path_or_a_url() {
        for (target, path) in [
            ("/a?b=http://c/", Some("/a?b=http://c/")),
            ("http://gate.example:8443/a/b?c", Some("/a/b?c")),
            ("HTTPS://gate.example/", Some("/")),
            ("http://gate.example", Some("/")),
            ("http://gate.example?a=/b", Some("/")),
            ("http://[::1]:1//a", Some("//a")),
            ("http:///a", None),
            ("http://?a", None),
            ("/a#b", None),
            ("http://gate.example/a#b", None),
            ("ftp://gate.example/a", Some("ftp://gate.example/a")),
        ] {
            assert_eq!(path_of(target), path, "{target}");
        }
    }

    #[test]
    fn a_body_is_plain_without_a_coding() {
        assert!(is_plain(&HeaderMap::new()));
        for (value, plain) in
            [("identity", true), ("Identity, identity", true), ("gzip", false), ("identity, br", false), ("", true)]
        {
            assert_eq!(is_plain(&with(CONTENT_ENCODING, value)), plain, "{value}");
        }
    }

    #[test]
    fn operators_address_is_asked_by_its_own_names() {
        for (host, expected) in [
            ("localhost:9901", true),
            ("LocalHost", true),
            ("127.0.0.1:9901", true),
            ("127.0.0.2", true),
            ("[::1]:9901", true),
            ("Gate.Internal:9901", true),
            ("evil.example:9901", false),
            ("localhost.evil.example", false),
            ("localhost@evil.example", false),
            ("evil.example@localhost", false),
            ("192.0.2.1:9901", false),
            ("gate.internal.", false),
            ("", false),
        ] {
            assert_eq!(is_local(&with(HOST, host), &["gate.internal".to_owned()]), expected, "{host}");
        }
        assert!(!is_local(&HeaderMap::new(), &[]));
        let mut two = with(HOST, "localhost");
        two.append(HOST, "localhost".parse().unwrap());
        assert!(!is_local(&two, &[]));
    }

    #[test]
    fn request_ids_differ() {
        assert_ne!(request_id(), request_id());
    }
}
