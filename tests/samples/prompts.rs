//! The prompts, by the names that the suite gets them by.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::input::{Question, Questions};
use super::tools::{image, resource, text};
use super::{Answer, Asked};

/// A prompt; its arguments must all be there.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) name: &'static str,
    pub(super) arguments: &'static [&'static str],
    pub(super) get: fn(&Asked<'_>, &BTreeMap<&'static str, String>) -> Answer,
}

impl Prompt {
    /// As it is listed.
    pub(super) fn listed(&self) -> Value {
        let arguments: Vec<Value> = self.arguments.iter().map(|name| json!({"name": name, "required": true})).collect();
        json!({"name": self.name, "arguments": arguments})
    }
}

pub(super) const PROMPTS: &[Prompt] = &[
    Prompt { name: "test_simple_prompt", arguments: &[], get: |_, _| Answer::Complete(said(&[text("A text.")])) },
    Prompt {
        name: "test_prompt_with_arguments",
        arguments: &["arg1", "arg2"],
        get: |_, given| Answer::Complete(said(&[text(&format!("{} and {}", given["arg1"], given["arg2"]))])),
    },
    Prompt {
        name: "test_prompt_with_embedded_resource",
        arguments: &["resourceUri"],
        get: |_, given| Answer::Complete(said(&[resource(&given["resourceUri"]), text("Read it.")])),
    },
    Prompt {
        name: "test_prompt_with_image",
        arguments: &[],
        get: |_, _| Answer::Complete(said(&[image(), text("Look at it.")])),
    },
    Prompt {
        name: "test_input_required_result_prompt",
        arguments: &[],
        get: |asked, _| {
            let questions = [("user_context", Question::Elicit("context", "string"))];
            asked.ask(&Questions::new(&[&questions]), || said(&[text("A text.")]))
        },
    },
];

/// Messages of the user's.
fn said(contents: &[Value]) -> Value {
    let messages: Vec<Value> = contents.iter().map(|content| json!({"role": "user", "content": content})).collect();
    json!({"messages": messages})
}
