//! JSON Schemas of arguments, in the plain form that models and clients read: an argument has one type,
//! and one that may be left out is not required, instead of being `null`.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

/// The schema (draft 2020-12) of an operation's arguments.
pub(super) fn of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<T>();
    schema.remove("title");
    schema.as_object_mut().into_iter().flat_map(|members| members.values_mut()).for_each(plain);
    schema
}

/// Takes out `null`, which is as good as absent, and what concerns no caller.
fn plain(schema: &mut Value) {
    match schema {
        Value::Array(schemas) => schemas.iter_mut().for_each(plain),
        Value::Object(members) => members.values_mut().for_each(plain),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    let Some(members) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_mut_slice() {
            let only = only.take();
            members.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(values)) = members.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if members.get("default").is_some_and(Value::is_null) {
        members.remove("default");
    }
    if members.get("writeOnly").is_some_and(Value::is_boolean) {
        members.remove("writeOnly");
    }
    if let Some(Value::Array(forms)) = members.get_mut("anyOf") {
        forms.retain(|form| form.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = forms.as_mut_slice() {
            let only = std::mem::take(only);
            members.remove("anyOf");
            only.into_iter().for_each(|(name, value)| _ = members.entry(name).or_insert(value));
        }
    }
}
