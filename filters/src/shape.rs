//! Shapes: the part of Vault's answer that a caller gets. A table of members, from which the
//! answer's schema is made, and a machine that picks them out of Vault's JSON
//! as it arrives.
//!
//! The machine takes bytes and gives bytes: the same for one-byte chunks as
//! for one chunk. It holds no more than a member's name, however large the
//! answer, and checks the grammar of RFC 8259, so that an answer that breaks
//! off is never a shorter valid one.

use serde_json::{Map, Value, json};

mod machine;
mod told;

pub use machine::Projection;

/// The member, a list of strings, that tells again which of [`Type::Names`] can be put in no path:
/// 64 KiB of them at most; absent where there is none.
pub const UNREADABLE: &str = "unreadable";
/// The member that tells how many more there are; absent where there is none.
pub const UNREADABLE_MORE: &str = "unreadable_more";

/// An answer: one object with these members.
#[derive(Debug)]
pub struct Shape {
    /// A description of the object, in one sentence.
    pub about: &'static str,
    /// Its members.
    pub members: &'static [Member],
}

/// One member of an answer.
#[derive(Debug)]
pub struct Member {
    /// Its name in the answer.
    pub name: &'static str,
    /// Where it lies in Vault's answer, name by name; empty for what the gate
    /// adds itself.
    pub from: &'static [&'static str],
    /// The type of its value.
    pub holds: Type,
    /// The meaning, in one sentence.
    pub about: &'static str,
    /// True where it may be absent, or null in Vault's answer.
    pub optional: bool,
    /// The name under which records tell of it: its value, of an object the names in it, of a list its length;
    /// `None` where they do not.
    pub told: Option<&'static str>,
}

/// The kind of a member's value.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// A string.
    Text,
    /// A whole number from 0.
    Count,
    /// A number from 0.
    Number,
    /// True or false.
    Flag,
    /// An object with members of anybody's.
    Object,
    /// An object whose members are strings.
    Labels,
    /// An object whose members, by any name, are each such an object.
    Map(&'static Shape),
    /// A list of such objects.
    List(&'static Shape),
    /// A list of strings.
    Texts,
    /// A list of names; those that can be put in no path stand in [`UNREADABLE`] too.
    Names,
    /// Such an object.
    Record(&'static Shape),
    /// Any value, `null` too.
    Any,
}

impl Member {
    /// A member that is always there.
    #[must_use]
    pub const fn new(name: &'static str, from: &'static [&'static str], holds: Type, about: &'static str) -> Self {
        Self { name, from, holds, about, optional: false, told: None }
    }

    /// One that the gate adds itself.
    #[must_use]
    pub const fn given(name: &'static str, holds: Type, about: &'static str) -> Self {
        Self::new(name, &[], holds, about)
    }

    /// The same, where it may be absent.
    #[must_use]
    pub const fn or_absent(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The same, told of in records under this name. Not for what may hold a secret's value.
    #[must_use]
    pub const fn told(mut self, name: &'static str) -> Self {
        self.told = Some(name);
        self
    }
}

impl Type {
    /// True where a value of this kind begins with `byte`.
    const fn begins(self, byte: u8) -> bool {
        match self {
            Self::Text => byte == b'"',
            Self::Count | Self::Number => byte.is_ascii_digit(),
            Self::Flag => matches!(byte, b't' | b'f'),
            Self::Object | Self::Labels | Self::Map(_) | Self::Record(_) => byte == b'{',
            Self::List(_) | Self::Texts | Self::Names => byte == b'[',
            Self::Any => true,
        }
    }

    fn schema(self) -> Value {
        match self {
            Self::Text => json!({"type": "string"}),
            Self::Count => json!({"type": "integer", "minimum": 0}),
            Self::Number => json!({"type": "number", "minimum": 0}),
            Self::Flag => json!({"type": "boolean"}),
            Self::Object => json!({"type": "object", "additionalProperties": true}),
            Self::Labels => json!({"type": "object", "additionalProperties": {"type": "string"}}),
            Self::Map(each) => json!({"type": "object", "additionalProperties": each.schema()}),
            Self::Record(shape) => shape.schema(),
            Self::List(each) => json!({"type": "array", "items": each.schema()}),
            Self::Texts | Self::Names => json!({"type": "array", "items": {"type": "string"}}),
            Self::Any => json!({}),
        }
    }
}

impl Shape {
    /// Nothing but that it was done: `{"ok":true}`.
    pub const DONE: Self =
        Self { about: "The operation succeeded.", members: &[Member::given("ok", Type::Flag, "Always true.")] };

    /// An answer of Vault's that is passed on.
    pub const PASSED: Self = Self { about: "Vault's own answer.", members: &[] };

    /// True where nothing is picked: the gate adds every member.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.members.iter().all(|member| member.from.is_empty())
    }

    /// The JSON Schema (draft 2020-12) of the answer.
    #[must_use]
    pub fn schema(&self) -> Value {
        let property = |member: &Member| (member.name.to_owned(), described(member.holds.schema(), member.about));
        let properties: Map<_, _> = self.members.iter().map(property).collect();
        let required: Vec<_> =
            self.members.iter().filter(|member| !member.optional).map(|member| member.name).collect();
        described(json!({"type": "object", "properties": properties, "required": required}), self.about)
    }
}

fn described(mut schema: Value, about: &str) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".into(), about.into());
    }
    schema
}
