//! Requests to Vault, and the meaning of its answers.
//!
//! A [`VaultRequest`] cannot be made outside this crate but by the functions
//! of [`control`] and [`transit`], which name the few things the gate asks for itself.

pub mod admin;
pub mod control;
pub mod provision;
pub mod reason;
pub mod record;
pub mod transit;

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderName;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::grants::{Engine, Holds};
use crate::json::Object;
use crate::path::VaultPath;
use crate::pattern::AbsolutePattern;
use crate::refusal::Refusal;

/// The mounts and prefixes in Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Mount of the KV version 2 engine.
    pub kv_mount: Box<str>,
    /// Mounts of the engines of Vault whose resources are names.
    pub mounts: Vec<(Engine, Box<str>)>,
    /// The path before the agent's name in the KV tree.
    pub own_prefix: Box<str>,
    /// The path before shared paths in the KV tree.
    pub shared_prefix: Box<str>,
    /// The path before the gate's own bookkeeping in the KV tree.
    pub gate_prefix: Box<str>,
    /// The transit key that the keys of handles are derived from.
    pub handle_key: Box<str>,
    /// The transit keys that the audit's keys are in; none where Vault has none of them.
    pub audit_keys: Vec<Box<str>>,
    /// The KMS key of calls that name none.
    pub kms_default_key: Option<Box<str>>,
}

/// The engine, by its name, with the gate's own transit keys.
pub const HANDLES: &str = "transit";
/// The engine, by its name, whose certificates the gate itself revokes.
pub const CERTIFICATES: &str = "pki";

impl Layout {
    /// The layout of the options' defaults, for these engines.
    #[must_use]
    pub fn of(engines: impl Iterator<Item = Engine>) -> Self {
        let mounts = engines.filter_map(|engine| Some((engine, engine.default_mount()?.into())));
        let (named, paths): (Vec<_>, Vec<_>) = mounts.partition(|(engine, _)| engine.names().is_some());
        Self {
            kv_mount: paths.into_iter().map(|(_, mount)| mount).next().unwrap_or_default(),
            mounts: named,
            own_prefix: "mcp".into(),
            shared_prefix: "shared".into(),
            gate_prefix: "portcullis".into(),
            handle_key: "portcullis-handles".into(),
            audit_keys: Vec::new(),
            kms_default_key: None,
        }
    }

    /// The mount of an engine of Vault's.
    #[must_use]
    pub fn mount(&self, engine: Engine) -> Option<&str> {
        match engine.spec().holds {
            Holds::Absolute => None,
            Holds::Paths => Some(&self.kv_mount),
            Holds::Names(_) => self.mounts.iter().find(|(other, _)| *other == engine).map(|(_, mount)| &**mount),
        }
    }

    /// The names of the gate's own transit keys, which no grant gives.
    pub fn own_keys(&self) -> impl Iterator<Item = &str> {
        [&self.handle_key].into_iter().chain(&self.audit_keys).map(|key| &**key)
    }

    /// Names the protected paths that a pattern reaches, for people to read: `sys/`, `auth/`, `identity/`, the gate's
    /// own records, or the agents' own namespaces. `None` where it reaches none of them.
    #[must_use]
    pub fn danger(&self, pattern: &AbsolutePattern) -> Option<String> {
        let kv = &self.kv_mount;
        let own = [(&self.gate_prefix, "what the gate itself keeps"), (&self.own_prefix, "the agents' own namespaces")];
        let own = own.into_iter().find(|(prefix, _)| pattern.reaches(&format!("{kv}/+/{prefix}")));
        let of_vault = ["sys", "auth", "identity"].into_iter().find(|root| pattern.reaches(root));
        let own = own.map(|(prefix, what)| format!("{what} (`{kv}/+/{prefix}/`)"));
        of_vault.map(|root| format!("`{root}/`")).or(own)
    }

    /// The mount of the engine of this name, whose resources are names; empty where there is none.
    #[must_use]
    pub fn mount_of(&self, name: &str) -> &str {
        self.mounts.iter().find(|(engine, _)| engine.name() == name).map_or("", |(_, mount)| mount)
    }
}

/// A method of Vault's HTTP API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Create or update.
    Post,
    /// Change a part (JSON merge patch, RFC 7396).
    Patch,
    /// Delete.
    Delete,
    /// List, Vault's own method.
    List,
}

impl Method {
    /// The media type of a body.
    #[must_use]
    pub const fn media(self) -> &'static str {
        match self {
            Self::Patch => "application/merge-patch+json",
            Self::Get | Self::Post | Self::Delete | Self::List => "application/json",
        }
    }

    /// As it stands in a request line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::List => "LIST",
        }
    }
}

/// Paths that tell of Vault as a whole.
/// Source: <https://openbao.org/docs/concepts/namespaces>
const OF_THE_ROOT: [&str; 3] = ["sys/health", "sys/seal-status", "sys/leader"];

/// One request to Vault, without token and namespace. It is sent by value, and cannot be copied: whoever
/// has no more than a reference to it, as to an agent's, cannot send it.
pub struct VaultRequest {
    method: Method,
    path: VaultPath,
    body: Option<Bytes>,
    repeatable: bool,
    headers: PassedHeaders,
}

/// Headers of a caller's that go on, by their names: which state of Vault's it asks for, or which node.
/// Source: <https://developer.hashicorp.com/vault/docs/enterprise/consistency>
pub type PassedHeaders = Vec<(HeaderName, Box<str>)>;

impl VaultRequest {
    pub(crate) const fn new(method: Method, path: VaultPath, body: Option<Bytes>, repeatable: bool) -> Self {
        Self { method, path, body, repeatable, headers: Vec::new() }
    }

    /// The same request, with these headers.
    #[must_use]
    pub(crate) fn with_headers(self, headers: PassedHeaders) -> Self {
        Self { headers, ..self }
    }

    /// The headers of the caller's that go on.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, Box<str>)] {
        &self.headers
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Path and query, beginning with `/v1/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// True where it is asked in the root, whichever namespace the gate is in: OpenBao refuses some of
    /// these paths in any other.
    #[must_use]
    pub fn is_of_the_root(&self) -> bool {
        self.path().strip_prefix("/v1/").is_some_and(|path| OF_THE_ROOT.contains(&path))
    }

    /// The JSON body, if there is one.
    #[must_use]
    pub const fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// True where it may be sent again when a connection breaks before the answer:
    /// a fact of the operation, not of the method.
    #[must_use]
    pub const fn is_repeatable(&self) -> bool {
        self.repeatable
    }
}

impl std::fmt::Debug for VaultRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.method.name(), self.path)
    }
}

fn post(path: VaultPath, body: &impl Serialize, repeatable: bool) -> VaultRequest {
    let body = serde_json::to_vec(body).unwrap_or_default();
    VaultRequest::new(Method::Post, path, Some(Bytes::from(body)), repeatable)
}

/// The meaning of an answer of Vault that is not a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The token is no longer one: mint another and ask again, once.
    InvalidToken,
    /// The caller is refused.
    Refused(Refusal),
}

#[derive(Deserialize)]
struct Errors<'a> {
    #[serde(borrow)]
    errors: Vec<Cow<'a, str>>,
}

/// Vault's own errors in the body of an answer; `None` where it is somebody else's: a balancer's page.
fn errors(body: &[u8]) -> Option<Vec<Cow<'_, str>>> {
    serde_json::from_slice::<Object<Errors<'_>>>(body).ok().map(|told| told.0.errors)
}

/// True where Vault itself says why it refuses.
#[must_use]
pub fn is_refusal(body: &[u8]) -> bool {
    errors(body).is_some_and(|errors| !errors.is_empty())
}

/// Vault's own words of why it refuses, on one line; `None` where there are none. They may quote what
/// was asked, and are for whoever asked it by a command.
#[must_use]
pub fn words(body: &[u8]) -> Option<String> {
    let told = errors(body)?;
    let words: Vec<&str> = told.iter().flat_map(|error| error.split_whitespace()).filter(|word| *word != "*").collect();
    let words = words.join(" ");
    // Vault counts its errors first.
    let words = words.split_once("occurred: ").map_or(words.as_str(), |(_, rest)| rest);
    (!words.is_empty()).then(|| words.to_owned())
}

/// True where the body of a 404 is Vault's own way to say that there is nothing: no errors at all, or
/// a version of a secret that was deleted. A path that nothing is mounted at has an error.
#[must_use]
pub fn is_nothing(body: &[u8]) -> bool {
    errors(body).is_some_and(|errors| errors.is_empty()) || record::is_deleted(body)
}

/// True where a status that is not 2xx is that of a batch of which items failed: the results are
/// there, those of the other items too.
#[must_use]
pub fn is_partial(status: u16, body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Batch {
        #[serde(rename = "data")]
        _data: Results,
    }
    #[derive(Deserialize)]
    struct Results {
        #[serde(rename = "batch_results")]
        _results: Vec<IgnoredAny>,
    }
    matches!(status, 400 | 500) && serde_json::from_slice::<Batch>(body).is_ok()
}

/// True where a 403 leaves open that the token is unknown. OpenBao has the same words for an unknown
/// token and for much that a token may not do; where a policy denies, it says so as one of a list of
/// errors (2.7, tried).
#[must_use]
pub fn is_doubtful(status: u16, body: &[u8]) -> bool {
    status == 403 && errors(body).is_some_and(|errors| errors == ["permission denied"])
}

/// True where an answer of this status says that what was asked is done.
#[must_use]
pub const fn is_success(status: u16) -> bool {
    matches!(status, 200..=299)
}

/// Reads a status that is not 2xx, with its body.
#[must_use]
pub fn trouble(status: u16, body: &[u8]) -> Trouble {
    let says = |text: &str| errors(body).is_some_and(|errors| errors.iter().any(|error| error.contains(text)));
    let refusal = match status {
        400 if says("check-and-set parameter did not match") => Refusal::CheckAndSet,
        400 if says("check-and-set parameter required") => Refusal::CheckAndSet,
        400 | 405 => Refusal::RejectedByVault(reason::reason(body).unwrap_or(reason::REJECTED)),
        403 if says("invalid token") || says("token not found") => return Trouble::InvalidToken,
        403 => Refusal::DeniedByVault,
        // A patch of what is not there is answered with no body at all.
        404 if body.is_empty() || is_nothing(body) || record::is_destroyed(body).is_some() => Refusal::NotFound,
        412 => Refusal::StateNotThere,
        429 | 472 | 473 | 500..=503 => Refusal::UpstreamUnavailable,
        // Where something else is mounted than the configuration says, or nothing.
        404 if says("no handler for route") || says("unsupported path") => Refusal::NotProvisioned,
        413 => Refusal::BodyTooLarge,
        504 => Refusal::UpstreamTimeout,
        _ => Refusal::UpstreamNonsense,
    };
    Trouble::Refused(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vaults_answers_mean_one_thing_each() {
        let cas = br#"{"errors":["check-and-set parameter did not match the current version"]}"#;
        let dead = br#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#;
        let denied = br#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
        assert_eq!(trouble(400, cas), Trouble::Refused(Refusal::CheckAndSet));
        assert_eq!(trouble(400, b"?"), Trouble::Refused(Refusal::RejectedByVault(reason::REJECTED)));
        assert_eq!(trouble(403, dead), Trouble::InvalidToken);
        assert_eq!(trouble(403, denied), Trouble::Refused(Refusal::DeniedByVault));
        let doubtful = br#"{"errors":["permission denied"]}"#;
        assert_eq!(trouble(403, doubtful), Trouble::Refused(Refusal::DeniedByVault));
        assert!(is_doubtful(403, doubtful) && !is_doubtful(400, doubtful));
        assert!(!is_doubtful(403, denied) && !is_doubtful(403, dead) && !is_doubtful(403, b""));
        for (status, refusal) in [
            (404, Refusal::NotFound),
            (503, Refusal::UpstreamUnavailable),
            (500, Refusal::UpstreamUnavailable),
            (473, Refusal::UpstreamUnavailable),
            (307, Refusal::UpstreamNonsense),
            (302, Refusal::UpstreamNonsense),
            (418, Refusal::UpstreamNonsense),
        ] {
            assert_eq!(trouble(status, b""), Trouble::Refused(refusal), "{status}");
        }
    }

    #[test]
    fn vault_as_a_whole_is_asked_about_in_the_root() {
        let ask = |path: &str| VaultRequest::new(Method::Get, VaultPath::render(&[path]).unwrap(), None, true);
        for path in ["sys/health", "sys/seal-status", "sys/leader"] {
            assert!(ask(path).is_of_the_root(), "{path}");
        }
        for path in ["sys/leases/renew", "sys/wrapping/wrap", "secret/data/sys/health", "sys/health/x", "sys"] {
            assert!(!ask(path).is_of_the_root(), "{path}");
        }
        assert!(control::health().unwrap().is_of_the_root());
    }

    #[test]
    fn a_batch_of_which_items_failed_has_results() {
        let results = br#"{"data":{"batch_results":[{"error":"x"},{"plaintext":"eA=="}]},"errors":null}"#;
        assert!(is_partial(400, results) && is_partial(500, results));
        assert!(!is_partial(403, results));
        for body in ["", r#"{"errors":["x"]}"#, r#"{"data":{"batch_results":null}}"#, r#"{"data":{}}"#] {
            assert!(!is_partial(400, body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn only_vault_says_that_there_is_nothing() {
        for body in [
            r#"{"errors":[]}"#,
            "{ \"errors\" : [ ] }\n",
            r#"{"request_id":"x","data":{"data":null,"metadata":{"version":3,"deletion_time":"2026-01-01T00:00:00Z"}}}"#,
        ] {
            assert!(is_nothing(body.as_bytes()), "{body}");
            assert_eq!(trouble(404, body.as_bytes()), Trouble::Refused(Refusal::NotFound), "{body}");
        }
        for body in [
            "<html><body>404 Not Found</body></html>",
            "404 page not found",
            "{}",
            "[]",
            "null",
            r#"{"errors":null}"#,
            r#"{"error":"not_found"}"#,
            r#"{"data":{"keys":[]}}"#,
        ] {
            assert!(!is_nothing(body.as_bytes()), "{body}");
            assert_eq!(trouble(404, body.as_bytes()), Trouble::Refused(Refusal::UpstreamNonsense), "{body}");
        }
        for body in [
            r#"{"errors":["no handler for route \"secret/data/x\". route entry not found."]}"#,
            r#"{"errors":["1 error occurred:\n\t* unsupported path\n\n"]}"#,
        ] {
            assert!(!is_nothing(body.as_bytes()), "{body}");
            assert_eq!(trouble(404, body.as_bytes()), Trouble::Refused(Refusal::NotProvisioned), "{body}");
        }
    }
}
