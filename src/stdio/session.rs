//! The result of the handshake: the revision, and the gate's session where it gives one. A session
//! that the gate has forgotten is begun again without the client's noticing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use filters::headers::{MCP_PROTOCOL_VERSION, MCP_SESSION_ID};
use filters::mcp::Revision;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;

use super::message::Message;

/// Most subscriptions that are made again in a new session.
const KEPT: usize = 1000;

/// The session of one client.
#[derive(Default)]
pub(super) struct Session {
    state: Mutex<State>,
    /// Held by whoever begins it again.
    pub(super) renewing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The client's `initialize`.
    hello: Option<Bytes>,
    current: Current,
    /// The client's `resources/subscribe` for each resource.
    subscribed: BTreeMap<String, Bytes>,
}

/// A session as of a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Current {
    revision: Option<HeaderValue>,
    id: Option<HeaderValue>,
    /// One more for each handshake.
    pub(super) number: u64,
}

/// The part of the answer to `initialize` that is read.
#[derive(Deserialize)]
struct Welcome {
    result: Settled,
}

#[derive(Deserialize)]
struct Settled {
    #[serde(rename = "protocolVersion")]
    revision: String,
}

impl Current {
    /// The headers of every request in the session.
    pub(super) fn headers(&self) -> HeaderMap {
        let fields = [(MCP_PROTOCOL_VERSION, &self.revision), (MCP_SESSION_ID, &self.id)];
        fields.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    /// True where the gate keeps a session.
    pub(super) const fn is_kept(&self) -> bool {
        self.id.is_some()
    }

    /// The revision that messages without an id are told in; the newest with a handshake before there
    /// was one.
    pub(super) fn revision(&self) -> Revision {
        let name = self.revision.as_ref().and_then(|value| value.to_str().ok());
        name.and_then(Revision::parse).unwrap_or(Revision::V2025_11_25)
    }
}

impl Session {
    pub(super) fn current(&self) -> Current {
        self.state().current.clone()
    }

    /// The client's `initialize`, once it was answered.
    pub(super) fn hello(&self) -> Option<Bytes> {
        self.state().hello.clone()
    }

    /// The client's subscriptions.
    pub(super) fn subscriptions(&self) -> Vec<Bytes> {
        self.state().subscribed.values().cloned().collect()
    }

    /// Begins with the answer to `hello`; false where that is no agreement.
    pub(super) fn begin(&self, hello: &Bytes, headers: &HeaderMap, answer: &[u8]) -> bool {
        let Ok(Welcome { result }) = serde_json::from_slice(answer) else { return false };
        let Ok(revision) = HeaderValue::try_from(result.revision) else { return false };
        let mut state = self.state();
        state.current = Current {
            revision: Some(revision),
            id: headers.get(MCP_SESSION_ID).cloned(),
            number: state.current.number + 1,
        };
        state.hello = Some(hello.clone());
        true
    }

    /// Notes a subscription that the gate has made, or ended.
    pub(super) fn note(&self, message: &Message) {
        let Some(uri) = &message.uri else { return };
        let mut state = self.state();
        match message.method.as_str() {
            "resources/subscribe" if state.subscribed.len() < KEPT => {
                state.subscribed.insert(uri.clone(), message.text.clone());
            }
            "resources/unsubscribe" => _ = state.subscribed.remove(uri),
            _ => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_what_the_answer_to_the_handshake_says() {
        let (session, hello) = (Session::default(), Bytes::from_static(b"hello"));
        assert!(!session.begin(&hello, &HeaderMap::new(), br#"{"error":{}}"#));
        assert!(session.current().headers().is_empty() && session.hello().is_none());
        let headers = HeaderMap::from_iter([(MCP_SESSION_ID, HeaderValue::from_static("s1"))]);
        assert!(session.begin(&hello, &headers, br#"{"id":1,"result":{"protocolVersion":"2025-06-18"}}"#));
        let current = session.current();
        assert_eq!(current.headers()[MCP_PROTOCOL_VERSION], "2025-06-18");
        assert_eq!(current.headers()[MCP_SESSION_ID], "s1");
        assert!(current.is_kept() && current.number == 1 && current.revision() == Revision::V2025_06_18);
    }

    #[test]
    fn subscriptions_are_kept_until_they_end() {
        let session = Session::default();
        let message = |method: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"uri":"kv://a/b"}}}}"#);
            Message::read(text.into()).unwrap()
        };
        session.note(&message("resources/read"));
        assert!(session.subscriptions().is_empty());
        session.note(&message("resources/subscribe"));
        session.note(&message("resources/subscribe"));
        assert_eq!(session.subscriptions().len(), 1);
        session.note(&message("resources/unsubscribe"));
        assert!(session.subscriptions().is_empty());
    }
}
