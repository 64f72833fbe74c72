//! What is asked, on whichever surface: an [`Operation`], and the one
//! description of its kind from which every surface is made.

use bytes::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::error::Category;

use crate::grants::{Engine, Resource};
use crate::identity::Identity;
use crate::refusal::{Misfit, Refusal};
use crate::scope::Scope;
use crate::vault::Method;

/// The facts of an operation that need no argument.
#[derive(Debug)]
pub struct Facts {
    /// `kv.read`.
    pub name: &'static str,
    /// A few words for people.
    pub title: &'static str,
    /// One line for people and models.
    pub summary: &'static str,
    /// What the credential and the role must carry; `None` for what any agent may do.
    pub scope: Option<Scope>,
    /// The engine, unless the gate answers itself.
    pub engine: Option<Engine>,
    /// Whether it touches something that a grant must name.
    pub named: bool,
    /// Hints for MCP clients.
    pub hints: Hints,
    /// The REST method.
    pub method: &'static str,
    /// The REST path, with at most one `{parameter}`.
    pub template: &'static str,
    /// Query parameters of the REST route.
    pub query: &'static [(&'static str, Kind)],
    /// Whether the REST route takes a JSON body.
    pub takes_body: bool,
    /// The REST status of a success.
    pub success: u16,
    /// What a 404 of Vault's means.
    pub absent: Absent,
}

/// MCP tool annotations.
#[derive(Clone, Copy, Debug)]
pub struct Hints {
    /// Changes nothing.
    pub read_only: bool,
    /// May destroy what was there.
    pub destructive: bool,
    /// Twice is as once.
    pub idempotent: bool,
}

/// How a query parameter is written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As a string.
    Text,
    /// As a number or boolean.
    Plain,
}

/// What a 404 of Vault's means for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// There is nothing: 404.
    NotFound,
    /// An answer with nothing in it.
    Empty(&'static str),
}

/// One kind of operation: its arguments, its answer, and the way between.
pub trait Describe {
    /// What the caller says.
    type Arguments<'a>: Deserialize<'a> + JsonSchema;
    /// What the caller gets.
    type Answer<'a>: JsonSchema;
    /// The rest.
    const FACTS: Facts;

    /// What it touches and what it asks.
    ///
    /// # Errors
    /// A value that the schema cannot refuse by itself.
    fn plan(arguments: Self::Arguments<'_>) -> Result<Plan, Refusal>;

    /// Writes the answer for a body of Vault's to `out`.
    ///
    /// # Errors
    /// [`Refusal::UpstreamNonsense`] where it is not what Vault answers.
    fn project(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal>;
}

/// What an operation touches (`None` where the gate answers itself) and asks.
pub type Plan = (Option<Resource>, Ask);

/// What is asked for, with everything but the agent in it.
#[derive(Debug)]
pub enum Ask {
    /// A request of Vault's API below a mount.
    Vault {
        /// The method.
        method: Method,
        /// What stands between mount and resource: `data`, `metadata`, `random/32`.
        api: String,
        /// A numeric query parameter.
        query: Option<(&'static str, u64)>,
        /// The JSON body.
        body: Option<Bytes>,
        /// Whether it may be sent again.
        repeatable: bool,
    },
    /// The gate answers itself.
    Own(fn(&Identity, &mut Vec<u8>)),
}

/// One request of a caller's, on whichever surface it came.
#[derive(Debug)]
pub struct Operation {
    /// What kind it is.
    pub kind: &'static Entry,
    /// What it touches; `None` where the gate answers itself.
    pub resource: Option<Resource>,
    pub(crate) ask: Ask,
}

/// A row of the catalog: a [`Describe`] whose types are forgotten.
pub struct Entry {
    /// The facts.
    pub facts: &'static Facts,
    parse: fn(&'static Entry, &[u8]) -> Result<Operation, Refusal>,
    project: fn(&[u8], &mut Vec<u8>) -> Result<(), Refusal>,
    input: fn() -> Schema,
    output: fn() -> Schema,
}

impl Entry {
    /// The row of one description.
    #[must_use]
    pub const fn of<D: Describe>() -> Self {
        Self {
            facts: &D::FACTS,
            parse: parse::<D>,
            project: D::project,
            input: schema::<D::Arguments<'static>>,
            output: schema::<D::Answer<'static>>,
        }
    }

    /// Reads the arguments, a JSON object.
    ///
    /// # Errors
    /// 400 for what is not JSON, 422 for what does not fit.
    pub fn parse(&'static self, arguments: &[u8]) -> Result<Operation, Refusal> {
        (self.parse)(self, arguments)
    }

    /// Writes the answer for Vault's body to `out`; an empty body is `{"ok":true}`.
    ///
    /// # Errors
    /// [`Refusal::UpstreamNonsense`].
    pub fn project(&self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        (self.project)(body, out)
    }

    /// The JSON Schema of the arguments.
    #[must_use]
    pub fn input_schema(&self) -> Schema {
        (self.input)()
    }

    /// The JSON Schema of the answer.
    #[must_use]
    pub fn output_schema(&self) -> Schema {
        (self.output)()
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.facts.name)
    }
}

fn schema<T: JsonSchema>() -> Schema {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<T>();
    schema.remove("title");
    schema
}

fn parse<D: Describe>(kind: &'static Entry, arguments: &[u8]) -> Result<Operation, Refusal> {
    let arguments = read::<D::Arguments<'_>>(arguments)?;
    let (resource, ask) = D::plan(arguments)?;
    Ok(Operation { kind, resource, ask })
}

fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(json).map_err(|error| match error.classify() {
        Category::Data => Refusal::Arguments(misfit::<T>(json)),
        Category::Io | Category::Syntax | Category::Eof => Refusal::Malformed("The body is not valid JSON."),
    })
}

/// Reads once more to find the place. Only the slow path pays for it.
fn misfit<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Misfit {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut deserializer) else {
        return Misfit { pointer: String::new(), expected: "one JSON object".into() };
    };
    let text = error.inner().to_string();
    let mut pointer = String::new();
    // The name of an unknown field is the caller's text: the pointer stops above it.
    if !text.starts_with("unknown field") {
        for segment in error.path() {
            use serde_path_to_error::Segment;
            match segment {
                Segment::Map { key } | Segment::Enum { variant: key } => pointer.extend(["/", key]),
                Segment::Seq { index } => pointer.extend(["/", &index.to_string()]),
                Segment::Unknown => {}
            }
        }
    }
    Misfit { pointer, expected: expected(&text) }
}

/// The part of serde's message that the schema wrote. What the caller wrote
/// stands before the last `, expected `.
fn expected(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(text, _)| text);
    if message.ends_with("`, there are no fields") {
        return "no fields".to_owned();
    }
    if let Some((_, expected)) = message.rsplit_once(", expected ") {
        return expected.to_owned();
    }
    match message.split_once(" field ") {
        Some(("missing", name)) => format!("the field {name}"),
        Some(("duplicate", name)) => format!("the field {name} once"),
        _ => "a value that fits the schema".to_owned(),
    }
}

/// A value that the types allow and the operation does not.
#[must_use]
pub fn unfit(pointer: &'static str, expected: &'static str) -> Refusal {
    Refusal::Arguments(Misfit { pointer: pointer.into(), expected: expected.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_expected_is_told_without_what_came() {
        for (message, told) in [
            ("invalid type: string \"CANARY, expected CANARY\", expected u64 at line 1 column 9", "u64"),
            ("unknown field `CANARY, expected CANARY`, expected `a` or `b` at line 1 column 9", "`a` or `b`"),
            ("unknown field `CANARY, expected CANARY`, there are no fields at line 1 column 9", "no fields"),
            ("missing field `path` at line 1 column 2", "the field `path`"),
            ("duplicate field `path` at line 1 column 20", "the field `path` once"),
            ("CANARY", "a value that fits the schema"),
        ] {
            assert_eq!(expected(message), told, "{message}");
        }
    }
}
