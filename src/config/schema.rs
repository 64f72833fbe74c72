//! The configuration file as JSON Schema (2020-12), for editors: made from the
//! table the readers use. What one value alone cannot tell, such as names that
//! are not defined, `portcullis check` tells.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::options::{Opt, Section};
use super::table::Table;

/// The pattern of a text that is never empty.
const TEXT: &str = r"^[^\u0000-\u001f\u007f-\u009f]+$";
const SECRET: &str = "^[!-~]+$";
const TIME: &str = r"^([0-9]+ *(ms|s|m|h|d)?|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)$";
const SIZE: &str = "^[0-9]+ *([Bb]|[KkMmGg][Ii]?[Bb])?$";

/// The schema of a whole file that has options of this table.
#[must_use]
pub fn schema(table: &Table) -> Value {
    let mut definitions = Map::new();
    for section in table.sections().filter(|section| !section.label.is_empty()) {
        definitions.insert(section.label.to_owned(), object(table, section));
    }
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of Portcullis",
        "$defs": definitions,
    });
    if let (Some(schema), Value::Object(top)) = (schema.as_object_mut(), object(table, &table.top)) {
        schema.extend(top);
    }
    schema
}

fn object(table: &Table, section: &Section) -> Value {
    let mut properties = Map::new();
    for option in section.options {
        let described = describe(table, section, option);
        // Upper case is accepted too.
        properties.insert(option.name.to_ascii_uppercase(), described.clone());
        properties.insert(option.name.to_owned(), described);
    }
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn describe(table: &Table, section: &Section, option: &Opt) -> Value {
    let mut value = takes(table, section, option);
    if let Some(members) = value.as_object_mut() {
        members.insert("description".to_owned(), option.text.into());
        members.extend(default(option).map(|default| ("default".to_owned(), default)));
    }
    value
}

fn takes(table: &Table, section: &Section, option: &Opt) -> Value {
    let below = || json!({"$ref": format!("#/$defs/{}", below(table, section, option))});
    match option.kind {
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Text => json!({"type": "string", "pattern": TEXT}),
        Kind::Secret => json!({"type": "string", "pattern": SECRET, "writeOnly": true}),
        Kind::Number(low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
        Kind::Time(low, high) => json!({"anyOf": [
            {"type": "integer", "minimum": low.div_ceil(1000), "maximum": high / 1000},
            {"type": "string", "pattern": TIME},
        ]}),
        Kind::Size(low, high) => json!({"anyOf": [
            {"type": "integer", "minimum": low, "maximum": high},
            {"type": "string", "pattern": SIZE},
        ]}),
        Kind::Choice(words) => json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": any_case(words)}]}),
        Kind::Words => json!({"anyOf": [
            {"type": "array", "items": {"type": "string", "pattern": TEXT}},
            {"type": "string"},
        ]}),
        Kind::Grants => json!({"anyOf": [
            {"type": "array", "items": {"anyOf": [{"type": "string", "pattern": TEXT}, {"$ref": "#/$defs/grant"}]}},
            {"type": "string"},
        ]}),
        Kind::Keys => json!({
            "anyOf": [{"type": "object", "additionalProperties": {"type": "string"}}, {"type": "string"}],
            "writeOnly": true,
        }),
        Kind::Table => json!({"anyOf": [below(), {"type": "null"}]}),
        Kind::Tables => json!({"anyOf": [{"type": "array", "items": below()}, below()]}),
        Kind::Named => json!({"anyOf": [{"type": "object", "additionalProperties": below()}, {"type": "null"}]}),
    }
}

/// The words in any case, as a pattern.
fn any_case(words: &[&str]) -> String {
    let letter = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{c}]", c.to_ascii_uppercase()),
        false => c.to_string(),
    };
    let words: Vec<String> = words.iter().map(|word| word.chars().map(letter).collect()).collect();
    format!("^({})$", words.join("|"))
}

/// The label of the section that an option of `section` holds; rates have many names.
fn below(table: &Table, section: &Section, option: &Opt) -> &'static str {
    let own = match section.label {
        "" => option.name.to_owned(),
        label => format!("{label}.{}", option.name),
    };
    let fits = |label: &str| label == own || label.strip_suffix(".*").is_some_and(|label| label == own);
    table.sections().map(|section| section.label).find(|label| fits(label)).unwrap_or("rate")
}

fn default(option: &Opt) -> Option<Value> {
    let text = Some(option.default).filter(|text| !text.is_empty() && !text.starts_with(' '))?;
    Some(match option.kind {
        Kind::Flag => (text == "true").into(),
        Kind::Number(..) => text.parse::<u64>().ok()?.into(),
        Kind::Words => text.split(',').collect::<Vec<_>>().into(),
        _ => text.into(),
    })
}
