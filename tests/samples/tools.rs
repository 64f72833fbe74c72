//! The tools, by the names that the suite calls them by.

use filters::mcp::{self, CallRecord, Level};
use serde_json::{Value, json};

use super::input::{Question, Questions};
use super::{Answer, Asked};

/// A tool.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) call: fn(&Asked<'_>) -> Answer,
}

impl Tool {
    /// As it is listed.
    pub(super) fn listed(&self) -> Value {
        let schema = if self.name == SCHEMA { schema() } else { json!({"type": "object"}) };
        json!({"name": self.name, "inputSchema": schema})
    }
}

/// The tool whose schema is looked at.
const SCHEMA: &str = "json_schema_2020_12_tool";

/// A picture of one grey point.
pub(super) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";
/// Two samples of silence.
const WAV: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQIAAACAgA==";

pub(super) const TOOLS: &[Tool] = &[
    Tool { name: "test_simple_text", call: |_| content(json!([text("A text.")])) },
    Tool { name: "test_image_content", call: |_| content(json!([image()])) },
    Tool {
        name: "test_audio_content",
        call: |_| content(json!([{"type": "audio", "data": WAV, "mimeType": "audio/wav"}])),
    },
    Tool { name: "test_embedded_resource", call: |_| content(json!([resource("test://embedded-resource")])) },
    Tool {
        name: "test_multiple_content_types",
        call: |_| content(json!([text("Of each kind:"), image(), resource("test://mixed-content-resource")])),
    },
    Tool {
        name: "test_error_handling",
        call: |_| Answer::Complete(json!({"content": [text("It never works.")], "isError": true})),
    },
    Tool { name: SCHEMA, call: |_| content(json!([text("Done.")])) },
    Tool { name: "test_tool_with_progress", call: goes_on },
    Tool { name: "test_tool_with_logging", call: records },
    Tool { name: "test_logging_tool", call: records },
    Tool { name: "test_trigger_tool_change", call: change },
    Tool { name: "test_trigger_prompt_change", call: change },
    Tool {
        name: "test_missing_capability",
        call: |asked| asked.after(&Questions::new(&[&[("answer", Question::Sample)]])),
    },
    Tool {
        name: "test_streaming_elicitation",
        call: |asked| asked.after(&Questions::new(&[&[("name", Question::Elicit("name", "string"))]])),
    },
    Tool {
        name: "test_input_required_result_elicitation",
        call: |asked| asked.after(&Questions::new(&[&[("user_name", Question::Elicit("name", "string"))]])),
    },
    Tool {
        name: "test_input_required_result_sampling",
        call: |asked| asked.after(&Questions::new(&[&[("capital_question", Question::Sample)]])),
    },
    Tool {
        name: "test_input_required_result_list_roots",
        call: |asked| asked.after(&Questions::new(&[&[("client_roots", Question::Roots)]])),
    },
    Tool {
        name: "test_input_required_result_capabilities",
        call: |asked| {
            let questions = [("user_name", Question::Elicit("name", "string")), ("greeting", Question::Sample)];
            asked.after(&Questions::new(&[&questions]))
        },
    },
    Tool {
        name: "test_input_required_result_request_state",
        call: |asked| asked.after(&Questions::sealed(&[&[("confirm", Question::Elicit("ok", "boolean"))]])),
    },
    Tool {
        name: "test_input_required_result_tampered_state",
        call: |asked| asked.after(&Questions::sealed(&[&[("confirm", Question::Elicit("ok", "boolean"))]])),
    },
    Tool {
        name: "test_input_required_result_multiple_inputs",
        call: |asked| {
            let name = ("user_name", Question::Elicit("name", "string"));
            let questions = [name, ("greeting", Question::Sample), ("client_roots", Question::Roots)];
            asked.after(&Questions::sealed(&[&questions]))
        },
    },
    Tool {
        name: "test_input_required_result_multi_round",
        call: |asked| {
            let first = [("step1", Question::Elicit("name", "string"))];
            let second = [("step2", Question::Elicit("color", "string"))];
            asked.after(&Questions::sealed(&[&first, &second]))
        },
    },
];

impl Asked<'_> {
    /// A text, once the questions are answered.
    fn after(&self, questions: &Questions<'_>) -> Answer {
        self.ask(questions, || json!({"content": [text("The state is there: state-ok.")]}))
    }
}

fn change(asked: &Asked<'_>) -> Answer {
    asked.shared.change();
    content(json!([text("Done.")]))
}

/// Tells three times that it goes on, where the client wants to hear of it.
fn goes_on(asked: &Asked<'_>) -> Answer {
    let token = asked.call.progress;
    let notices = token.into_iter().flat_map(|token| [1, 2, 3].map(|seconds| mcp::progress(token, seconds)));
    Answer::After(notices.collect(), json!({"content": [text("Done.")]}))
}

/// Leaves three records of itself, where the client wants them.
fn records(asked: &Asked<'_>) -> Answer {
    let Asked { call, shared } = asked;
    let of_session = || shared.level.lock().expect("a level").filter(|_| !call.revision.is_stateless());
    let wanted = call.level.or_else(of_session).is_some_and(|least| least <= Level::Info);
    let record = CallRecord { request_id: "1", operation: "sample", decision: "allow" };
    let notices = if wanted { vec![mcp::record(Level::Info, &record); 3] } else { Vec::new() };
    Answer::After(notices, json!({"content": [text("Done.")]}))
}

fn content(content: Value) -> Answer {
    Answer::Complete(json!({"content": content}))
}

pub(super) fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

pub(super) fn image() -> Value {
    json!({"type": "image", "data": PNG, "mimeType": "image/png"})
}

pub(super) fn resource(uri: &str) -> Value {
    json!({"type": "resource", "resource": {"uri": uri, "mimeType": "text/plain", "text": "A text."}})
}

/// A schema with what JSON Schema 2020-12 has and the tools of older revisions had not.
fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "addressDef", "type": "object"}},
        "properties": {"kind": {"type": "string"}, "phone": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["address"]}]}],
        "if": {"properties": {"kind": {"const": "phone"}}},
        "then": {"required": ["phone"]},
        "else": {"required": ["address"]},
        "additionalProperties": false,
    })
}
