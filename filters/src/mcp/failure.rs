//! JSON-RPC errors: a message that could not become a call.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Call, Request, Revision};
use crate::refusal::{Misfit, Refusal};

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
    /// Arguments that the tool, or the one that a prompt suggests, does not take, told as an error.
    Arguments(Refusal),
    /// Headers and body say different things.
    HeaderMismatch(&'static str),
    /// The resource of a URI is not there, or is not the caller's; the code depends
    /// on the revision. The URI is told as it was asked for.
    NoResource(Revision, Option<Box<str>>),
    /// A request without a result of its own is refused: a message of a batch that a
    /// limit or a missing scope stops, the reading of a resource.
    Refused(Refusal),
    /// The client has not declared a capability that the call needs: its name, and the error's text.
    NoCapability(&'static str, &'static str),
    /// A revision that is not spoken, as it was asked for, at most 256 bytes of it.
    UnsupportedVersion(Box<str>),
}

impl Failure {
    /// The error for a call that the client would have to ask its user about, without elicitation.
    pub const NO_ELICITATION: Self =
        Self::NoCapability("elicitation", "The call is to be confirmed first, and the client cannot ask its user");

    /// The error for a refusal of a call of no tool.
    #[must_use]
    pub fn of(refusal: Refusal, call: &Call<'_>) -> Self {
        if let Refusal::NotFound | Refusal::Absent(_) = refusal {
            let uri = if let Request::ReadResource { uri } | Request::Subscribe { uri } = &call.request {
                Some(uri.as_ref().into())
            } else {
                None
            };
            return Self::NoResource(call.revision, uri);
        }
        if let Refusal::Path(_) | Refusal::Malformed(_) = refusal {
            return Self::Parameters(refusal.public().detail);
        }
        Self::Refused(refusal)
    }

    fn code(&self) -> i32 {
        match self {
            Self::Parse => -32700,
            Self::Invalid(_) => -32600,
            Self::UnknownMethod => -32601,
            Self::Parameters(_) | Self::Arguments(_) => -32602,
            Self::NoResource(revision, _) if revision.is_stateless() => -32602,
            Self::NoResource(..) => -32002,
            Self::Refused(refusal) if refusal.public().status.is_server_error() => -32603,
            Self::Refused(_) => -32000,
            Self::HeaderMismatch(_) => -32020,
            Self::NoCapability(..) => -32021,
            Self::UnsupportedVersion(_) => -32022,
        }
    }

    fn message(&self) -> Cow<'static, str> {
        let text = match self {
            Self::Parse => "The body is not valid JSON",
            Self::Invalid(text) | Self::Parameters(text) | Self::HeaderMismatch(text) | Self::NoCapability(_, text) => {
                text
            }
            Self::UnknownMethod => "Method not found",
            Self::NoResource(..) => "Resource not found",
            Self::Arguments(refusal) | Self::Refused(refusal) => return refusal.text(),
            Self::UnsupportedVersion(_) => "Unsupported protocol version",
        };
        text.into()
    }

    /// The HTTP status that the revision asks for.
    #[must_use]
    pub fn status(&self, revision: Revision) -> u16 {
        match self {
            Self::Parse
            | Self::Invalid(_)
            | Self::HeaderMismatch(_)
            | Self::NoCapability(..)
            | Self::UnsupportedVersion(_) => 400,
            Self::UnknownMethod if revision.is_stateless() => 404,
            Self::Parameters(_) | Self::Arguments(_) | Self::NoResource(..) if revision.is_stateless() => 400,
            Self::UnknownMethod
            | Self::Parameters(_)
            | Self::Arguments(_)
            | Self::NoResource(..)
            | Self::Refused(_) => 200,
        }
    }

    fn data(&self) -> Option<Data<'_>> {
        match self {
            Self::UnsupportedVersion(requested) => {
                Some(Data::Versions { supported: Revision::ALL.map(Revision::name), requested })
            }
            Self::NoCapability(name, _) => {
                Some(Data::Capabilities { required: BTreeMap::from([(*name, Capability {})]) })
            }
            Self::Arguments(refusal) => {
                let Refusal::Arguments(misfit) = refusal else { return None };
                Some(Data::Misfit { error: refusal.public().code, misfit })
            }
            Self::NoResource(_, uri) => Some(Data::Code { error: "not_found", uri: uri.as_deref(), retry_after: None }),
            Self::Refused(refusal) => {
                Some(Data::Code { error: refusal.public().code, uri: None, retry_after: refusal.retry_after() })
            }
            Self::Parse | Self::Invalid(_) | Self::UnknownMethod | Self::Parameters(_) | Self::HeaderMismatch(_) => {
                None
            }
        }
    }

    /// Writes the error response. Without an id that can be repeated it has none, as the schemas
    /// since 2025-11-25 allow; the older ones know no such message, and it has `null`, as JSON-RPC
    /// 2.0 section 5 says.
    pub fn write(&self, id: Option<&RawValue>, revision: Revision, out: &mut Vec<u8>) {
        let id = (id.is_some() || revision < Revision::V2025_11_25).then_some(id);
        let error = Error { code: self.code(), message: self.message(), data: self.data() };
        // Writing to a vector cannot fail, and no type here has a map with odd keys.
        let _ = serde_json::to_writer(out, &Response { jsonrpc: "2.0", id, error });
    }
}

/// A JSON-RPC response with an error.
#[derive(Serialize)]
struct Response<'a> {
    jsonrpc: &'static str,
    /// `Some(None)` is `null`.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Option<&'a RawValue>>,
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: i32,
    message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

/// The part of an error that a program reads.
#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Versions {
        supported: [&'static str; Revision::ALL.len()],
        requested: &'a str,
    },
    Capabilities {
        /// The capabilities, by their names.
        #[serde(rename = "requiredCapabilities")]
        required: BTreeMap<&'static str, Capability>,
    },
    Misfit {
        error: &'static str,
        #[serde(flatten)]
        misfit: &'a Misfit,
    },
    Code {
        error: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        uri: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
}

/// A capability that a client lacks; nothing is said of how it is to have it.
#[derive(Serialize)]
struct Capability {}
