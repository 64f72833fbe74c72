//! API keys in plain text, which are hashed at once, and what all keys have in
//! common: one digest, one agent.

use std::collections::HashMap;

use filters::credential::KeyEntry;
use filters::names::AgentId;
use filters::secret::Digest;

use super::super::fields::{Fields, Sited};
use super::super::from_yaml;
use super::super::node::{Content, Entry, Node};
use super::super::report::Place;

/// A key and where it is given.
pub(super) type SitedKey = Sited<KeyEntry<AgentId>>;

/// The mend of a name that is none.
pub(super) const AGENT_NAME: &str =
    "use lower-case letters, digits, `.`, `_` and `-`, at most 63 characters, the first a letter or digit";

const NAME: &str = "api_keys_json";
const SHAPE: &str = "write a JSON map from key to agent: `{\"<key>\": \"<agent>\"}`";

/// Adds the keys of `API_KEYS_JSON`: a variable's or the file's text, or a
/// table of the file. A key is never named in a problem.
pub(super) fn from_json(top: &Fields<'_>, keys: &mut Vec<SitedKey>) {
    let before = keys.len();
    let place = top.place_of(NAME);
    let text = match top.structure(NAME) {
        Some(Node { content: Content::Text(text), .. }) => Some(text),
        Some(node) => {
            add(top, node, keys, |line| top.source.line(line));
            None
        }
        None => top.raw_text(NAME),
    };
    if let Some(text) = text {
        match from_yaml::parse_json(text) {
            Ok(node) => add(top, &node, keys, |_| place.clone()),
            Err(_) => top.problem(NAME, &place, "is not JSON, or holds a key twice", SHAPE),
        }
    }
    if keys.len() > before {
        let text =
            "`api_keys_json` holds API keys in plain text; prefer `api_keys = [{ sha256 = \"…\" }]` in `[agents.NAME]`";
        top.source.findings.warning(&place, text);
    }
}

fn add(top: &Fields<'_>, node: &Node, keys: &mut Vec<SitedKey>, place: impl Fn(usize) -> Place) {
    let Content::Table(entries) = &node.content else {
        return top.problem(NAME, &place(node.line), "is not a map", SHAPE);
    };
    for Entry { key, line, node } in entries {
        let place = place(*line);
        let agent = match &node.content {
            Content::Text(name) => AgentId::parse(name),
            _ => None,
        };
        match agent {
            Some(agent) if is_header(key) => {
                let digest = Digest::of(key.as_bytes());
                keys.push(Sited { place, value: KeyEntry { digest, agent, expires: None } });
            }
            Some(_) => {
                top.problem(NAME, &place, "holds a key that no header can carry", "use printable ASCII without spaces")
            }
            None => top.problem(NAME, &place, "maps a key to an invalid agent name", AGENT_NAME),
        }
    }
}

fn is_header(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic())
}

/// Reports keys that stand twice; none are left where they are switched off.
pub(super) fn finish(top: &Fields<'_>, keys: Vec<SitedKey>) -> Vec<KeyEntry<AgentId>> {
    let mut places: HashMap<String, &Place> = HashMap::new();
    for key in &keys {
        if let Some(other) = places.insert(key.value.digest.to_hex(), &key.place) {
            let mend = format!("keep one; the other is at {other}");
            top.source.findings.problem(&key.place, "an API key is given twice", mend);
        }
    }
    if top.flag("auth_api_key_enabled").unwrap_or(true) {
        keys.into_iter().map(|key| key.value).collect()
    } else {
        Vec::new()
    }
}
