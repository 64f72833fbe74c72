//! Notifications that go before the answer to a call: that it goes on, and a record of it.
//!
//! Sources: <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/progress>,
//! <https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/logging>.

use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Failure;
use super::events::written;

/// The severity of a record (RFC 5424, section 6.2.1), the least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they are the names of RFC 5424")]
pub enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl Level {
    /// The level of that name.
    ///
    /// # Errors
    /// [`Failure::Parameters`].
    pub(super) fn parse(name: Option<&str>) -> Result<Self, Failure> {
        let level = name.map(|name| -> StrDeserializer<'_, Error> { name.into_deserializer() });
        level
            .and_then(|level| Self::deserialize(level).ok())
            .ok_or(Failure::Parameters("The level must be one of RFC 5424's, in lower case"))
    }
}

/// A notification, without parameters where it has none.
pub(super) fn notification(method: &str, params: Option<impl Serialize>) -> String {
    #[derive(Serialize)]
    struct Notification<'a, P> {
        jsonrpc: &'static str,
        method: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        params: Option<P>,
    }
    written(&Notification { jsonrpc: "2.0", method, params })
}

/// A record of a call, for the client that made it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CallRecord<'a> {
    /// The gate's id of the request.
    pub request_id: &'a str,
    /// The operation; empty where there was none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub operation: &'a str,
    /// `allow`, or the code of the refusal.
    pub decision: &'a str,
}

/// `notifications/message`: a record of a call.
#[must_use]
pub fn record(level: Level, data: &CallRecord<'_>) -> String {
    #[derive(Serialize)]
    struct Message<'a> {
        level: Level,
        logger: &'static str,
        data: &'a CallRecord<'a>,
    }
    let params = Message { level, logger: "portcullis", data };
    notification("notifications/message", Some(params))
}

/// `notifications/progress`: the call that came with this token has taken so many seconds.
#[must_use]
pub fn progress(token: &RawValue, seconds: u64) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Progress<'a> {
        progress_token: &'a RawValue,
        progress: u64,
        message: String,
    }
    let params = Progress { progress_token: token, progress: seconds, message: format!("under way for {seconds} s") };
    notification("notifications/progress", Some(params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_by_their_severity() {
        let names = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
        let levels = names.map(|name| Level::parse(Some(name)).unwrap());
        assert!(levels.is_sorted_by(|before, after| before < after));
        for name in [None, Some("Info"), Some("loud"), Some("")] {
            assert!(Level::parse(name).is_err(), "{name:?}");
        }
    }
}
