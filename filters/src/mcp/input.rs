//! Questions to a client's user (multi round-trip requests, revision 2026-07-28): a call is answered with a question,
//! and made again with the answer.
//!
//! Source: <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Call, result};
use crate::grants::Resource;
use crate::operation::Entry;

/// The name of the one question that is asked.
const QUESTION: &str = "confirm";

/// The capabilities of the client that calls, and its user's answer where the call brings one.
#[derive(Clone, Debug, Default)]
pub struct Input<'a> {
    /// The client's capabilities, in JSON.
    pub capabilities: Option<&'a RawValue>,
    /// The state that went out with the question.
    pub state: Option<Cow<'a, str>>,
    /// The answers in JSON, by the names of their questions.
    pub responses: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Capabilities<'a> {
    #[serde(borrow, default)]
    elicitation: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
}

#[derive(Deserialize)]
struct Responses<'a> {
    #[serde(borrow, default)]
    confirm: Option<Answer<'a>>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
}

impl Input<'_> {
    /// True where the client can show its user a form.
    #[must_use]
    pub fn elicits(&self) -> bool {
        let read = |raw: &RawValue| {
            serde_json::from_str::<Capabilities<'_>>(raw.get()).ok()?.elicitation.map(|modes| {
                // A client that names no mode has this one.
                modes.is_empty() || modes.contains_key("form")
            })
        };
        self.capabilities.and_then(read).unwrap_or(false)
    }

    /// The state that came back, and whether the user allows the call; `None` where there is no answer.
    #[must_use]
    pub fn answer(&self) -> Option<(&str, bool)> {
        let responses: Responses<'_> = serde_json::from_str(self.responses?.get()).ok()?;
        Some((self.state.as_deref()?, responses.confirm?.action == "accept"))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InputRequired<'a> {
    input_requests: BTreeMap<&'static str, Elicitation<'a>>,
    request_state: &'a str,
}

#[derive(Serialize)]
struct Elicitation<'a> {
    method: &'static str,
    params: Form<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    mode: &'static str,
    message: &'a str,
    requested_schema: Fields,
}

/// A form without fields: to submit it is the answer.
#[derive(Serialize)]
struct Fields {
    r#type: &'static str,
    properties: BTreeMap<&'static str, ()>,
}

/// Answers `tools/call` with the question if the user allows it; `state` comes back with the answer.
pub fn input_required(
    call: &Call<'_>,
    entry: &'static Entry,
    resource: Option<&Resource>,
    state: &str,
    out: &mut Vec<u8>,
) {
    let on = match resource {
        Some(Resource::Secret(_, path) | Resource::Names(_, Some(path))) => format!(" on {}", path.as_str()),
        Some(Resource::Key(_, name)) => format!(" on {name}"),
        Some(Resource::Names(_, None) | Resource::Nameless(_)) | None => String::new(),
    };
    let message = format!("Allow {}{on}? {}", entry.spec.name, entry.spec.summary);
    let requested_schema = Fields { r#type: "object", properties: BTreeMap::new() };
    let params = Form { mode: "form", message: &message, requested_schema };
    let question = Elicitation { method: "elicitation/create", params };
    let required = InputRequired { input_requests: BTreeMap::from([(QUESTION, question)]), request_state: state };
    result::write_input_required(call, required, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Option<&RawValue> {
        Some(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn only_who_can_show_a_form_is_asked() {
        for (capabilities, elicits) in [
            (r#"{"elicitation":{}}"#, true),
            (r#"{"elicitation":{"form":{}}}"#, true),
            (r#"{"elicitation":{"url":{},"form":{}}}"#, true),
            (r#"{"elicitation":{"url":{}}}"#, false),
            (r#"{"elicitation":null}"#, false),
            (r#"{"elicitation":true}"#, false),
            (r#"{"roots":{}}"#, false),
            ("{}", false),
        ] {
            let input = Input { capabilities: raw(capabilities), ..Input::default() };
            assert_eq!(input.elicits(), elicits, "{capabilities}");
        }
        assert!(!Input::default().elicits());
    }

    #[test]
    fn an_answer_has_a_state_and_an_action() {
        for (state, responses, answer) in [
            (Some("s"), r#"{"confirm":{"action":"accept","content":{}}}"#, Some(("s", true))),
            (Some("s"), r#"{"confirm":{"action":"decline"}}"#, Some(("s", false))),
            (Some("s"), r#"{"confirm":{"action":"cancel"}}"#, Some(("s", false))),
            (Some("s"), r#"{"confirm":{"action":"ACCEPT"}}"#, Some(("s", false))),
            (Some("s"), r#"{"other":{"action":"accept"}}"#, None),
            (Some("s"), r#"{"confirm":"accept"}"#, None),
            (Some("s"), "[]", None),
            (None, r#"{"confirm":{"action":"accept"}}"#, None),
        ] {
            let input = Input { state: state.map(Into::into), responses: raw(responses), ..Input::default() };
            assert_eq!(input.answer(), answer, "{responses}");
        }
    }
}
