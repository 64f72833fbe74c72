//! A message that the gate gave no answer to: why, as the JSON-RPC error that its client gets.

use std::borrow::Cow;
use std::error::Error as _;
use std::fmt;

use http::HeaderMap;
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The reason why there is no answer.
#[derive(Debug)]
pub enum Trouble {
    /// The gate cannot be reached, or the connection broke off.
    Unreachable(String),
    /// The gate refused the request as a whole.
    Refused(Refused),
    /// The answer is none that a gate gives.
    Odd(StatusCode),
    /// The answer has more bytes than are held.
    TooLarge,
    /// More subscriptions are open than are kept.
    TooManyStreams,
}

/// A refusal of the gate's.
#[derive(Debug, Deserialize)]
pub struct Refused {
    /// The stable code.
    error: String,
    /// A sentence for people.
    detail: String,
    #[serde(default)]
    request_id: Option<String>,
    /// The status, and the seconds to wait; both stand in the head.
    #[serde(skip)]
    status: u16,
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Trouble {
    /// The trouble in an answer that holds no JSON-RPC message.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let Ok(mut refused) = serde_json::from_slice::<Refused>(body) else { return Self::Odd(status) };
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        (refused.status, refused.retry_after) = (status.as_u16(), seconds);
        Self::Refused(refused)
    }

    /// The trouble of a request that was not answered.
    pub(super) fn unanswered(error: reqwest::Error) -> Self {
        Self::Unreachable(cause(error))
    }

    /// The error response to the request of that id.
    pub(super) fn to_message(&self, id: &RawValue) -> Vec<u8> {
        let (request_id, retry_after) = match self {
            Self::Refused(refused) => (refused.request_id.as_deref(), refused.retry_after),
            Self::Unreachable(_) | Self::Odd(_) | Self::TooLarge | Self::TooManyStreams => (None, None),
        };
        let data = Data { error: self.code(), request_id, retry_after };
        let error = Error { code: self.number(), message: self.to_string().into(), data };
        // No type here has a map with odd keys.
        serde_json::to_vec(&Response { jsonrpc: "2.0", id, error }).unwrap_or_default()
    }

    /// The stable code: the gate's, or one of the bridge's own.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Refused(refused) => &refused.error,
            Self::Unreachable(_) => "gate_unreachable",
            Self::Odd(_) | Self::TooLarge => "gate_answer",
            Self::TooManyStreams => "too_many_streams",
        }
    }

    /// JSON-RPC's code: -32603 where the server's side is at fault, -32000 where it refuses.
    const fn number(&self) -> i32 {
        match self {
            Self::Refused(Refused { status: 400..=499, .. }) | Self::TooManyStreams => -32000,
            Self::Refused(_) | Self::Unreachable(_) | Self::Odd(_) | Self::TooLarge => -32603,
        }
    }
}

/// The innermost cause of an error, which says what happened; the others say where it did.
pub(super) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.last().map_or_else(|| error.to_string(), ToString::to_string)
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "The gate cannot be reached: {why}"),
            Self::Refused(refused) => f.write_str(&refused.detail),
            Self::Odd(status) => write!(f, "The answer, {status}, is not a gate's; the gate's address may be wrong"),
            Self::TooLarge => f.write_str("The gate's answer is too large to be passed on"),
            Self::TooManyStreams => f.write_str("Too many subscriptions are open; cancel one first"),
        }
    }
}

#[derive(Serialize)]
struct Response<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: i32,
    message: Cow<'a, str>,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(trouble: &Trouble) -> Value {
        let id = RawValue::from_string("\"a\"".to_owned()).unwrap();
        serde_json::from_slice(&trouble.to_message(&id)).unwrap()
    }

    #[test]
    fn a_refusal_keeps_its_code_and_sentence() {
        let body = json!({"error": "rate_limited", "detail": "Too many.", "request_id": "7"}).to_string();
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "3".parse().unwrap())]);
        let trouble = Trouble::of(StatusCode::TOO_MANY_REQUESTS, &headers, body.as_bytes());
        let data = json!({"error": "rate_limited", "request_id": "7", "retry_after": 3});
        let error = json!({"code": -32000, "message": "Too many.", "data": data});
        assert_eq!(told(&trouble), json!({"jsonrpc": "2.0", "id": "a", "error": error}));
        let body = json!({"error": "vault_unavailable", "detail": "Later."}).to_string();
        let trouble = Trouble::of(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), body.as_bytes());
        assert_eq!(told(&trouble)["error"]["code"], -32603);
    }

    #[test]
    fn a_page_of_a_balancers_is_no_refusal() {
        let trouble = Trouble::of(StatusCode::BAD_GATEWAY, &HeaderMap::new(), b"<html>");
        let told = told(&trouble);
        assert_eq!(told["error"]["data"], json!({"error": "gate_answer"}));
        assert!(told["error"]["message"].as_str().unwrap().contains("502 Bad Gateway"), "{told}");
    }
}
