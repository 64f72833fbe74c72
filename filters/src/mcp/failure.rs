//! JSON-RPC errors: a message that could not become a call.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Revision;
use crate::refusal::Refusal;

/// An error of the protocol (JSON-RPC 2.0 section 5.1, MCP error codes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Not JSON.
    Parse,
    /// JSON, but not a message that may stand here.
    Invalid(&'static str),
    /// A method that is not spoken.
    UnknownMethod,
    /// Parameters that the method does not take.
    Parameters(&'static str),
    /// Arguments that the tool does not take, told as an error.
    Arguments(Refusal),
    /// Headers and body say different things.
    HeaderMismatch(&'static str),
    /// What a URI names is not there, or is not the caller's; the code depends
    /// on the revision.
    NoResource(Revision),
    /// What has no result to say so is refused: a message of a batch that a
    /// limit or a missing scope stops, the reading of a resource.
    Refused(Refusal),
    /// A revision that is not spoken.
    UnsupportedVersion(Option<Box<str>>),
}

impl Failure {
    /// The error for a refusal of what is no tool.
    #[must_use]
    pub fn of(refusal: Refusal, revision: Revision) -> Self {
        match refusal {
            Refusal::NotFound | Refusal::Absent(_) => Self::NoResource(revision),
            Refusal::Path(problem) => Self::Parameters(problem.text()),
            Refusal::Malformed(text) => Self::Parameters(text),
            other => Self::Refused(other),
        }
    }

    fn code(&self) -> i32 {
        match self {
            Self::Parse => -32700,
            Self::Invalid(_) => -32600,
            Self::UnknownMethod => -32601,
            Self::Parameters(_) | Self::Arguments(_) => -32602,
            Self::NoResource(revision) if revision.is_stateless() => -32602,
            Self::NoResource(_) => -32002,
            Self::Refused(refusal) if refusal.public().status.is_server_error() => -32603,
            Self::Refused(_) => -32000,
            Self::HeaderMismatch(_) => -32020,
            Self::UnsupportedVersion(_) => -32022,
        }
    }

    fn message(&self) -> Cow<'static, str> {
        let text = match self {
            Self::Parse => "The body is not valid JSON",
            Self::Invalid(text) | Self::Parameters(text) | Self::HeaderMismatch(text) => text,
            Self::UnknownMethod => "Method not found",
            Self::NoResource(_) => "Resource not found",
            Self::Arguments(refusal) | Self::Refused(refusal) => return refusal.text(),
            Self::UnsupportedVersion(_) => "Unsupported protocol version",
        };
        text.into()
    }

    /// The HTTP status that the revision asks for.
    #[must_use]
    pub fn status(&self, revision: Revision) -> u16 {
        match self {
            Self::Parse | Self::Invalid(_) | Self::HeaderMismatch(_) | Self::UnsupportedVersion(_) => 400,
            Self::UnknownMethod if revision.is_stateless() => 404,
            Self::Parameters(_) | Self::NoResource(_) if revision.is_stateless() => 400,
            Self::UnknownMethod | Self::Parameters(_) | Self::Arguments(_) | Self::NoResource(_) | Self::Refused(_) => {
                200
            }
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::UnsupportedVersion(requested) => {
                let supported = Revision::ALL.map(Revision::name);
                Some(json!({"supported": supported, "requested": requested.as_deref().unwrap_or("")}))
            }
            Self::Arguments(Refusal::Arguments(misfit)) => {
                Some(json!({"error": "invalid_arguments", "pointer": misfit.pointer, "expected": misfit.expected}))
            }
            Self::NoResource(_) => Some(json!({"error": "not_found"})),
            Self::Refused(refusal) => Some(match refusal.retry_after() {
                Some(seconds) => json!({"error": refusal.public().code, "retry_after": seconds}),
                None => json!({"error": refusal.public().code}),
            }),
            _ => None,
        }
    }

    /// Writes the error response. Without an id that can be repeated it has
    /// none, as the schemas since 2025-11-25 allow; the older ones know no such
    /// message, and it has `null`, as JSON-RPC 2.0 section 5 says.
    pub fn write(&self, id: Option<&RawValue>, revision: Revision, out: &mut Vec<u8>) {
        let mut error = json!({"code": self.code(), "message": self.message()});
        if let (Some(data), Some(error)) = (self.data(), error.as_object_mut()) {
            error.insert("data".into(), data);
        }
        out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
        let id = id.map(RawValue::get).or((revision < Revision::V2025_11_25).then_some("null"));
        if let Some(id) = id {
            out.extend_from_slice(b"\"id\":");
            out.extend_from_slice(id.as_bytes());
            out.push(b',');
        }
        out.extend_from_slice(b"\"error\":");
        out.extend_from_slice(error.to_string().as_bytes());
        out.push(b'}');
    }
}
