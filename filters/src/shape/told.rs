//! The members of an answer that records tell of.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{Member, Shape, Type};
use crate::notes::{Length, Name, Note, Notes};

impl Shape {
    /// Adds the notes of an answer of this shape, as a caller gets it. Of an object the names of its members are
    /// noted, of a list its length. None is added from what is no such answer, as one that is wrapped.
    pub fn note(&self, answer: &[u8], notes: &mut Notes) {
        if self.members.iter().any(|member| member.told.is_some()) {
            let mut json = serde_json::Deserializer::from_slice(answer);
            let _ = json.deserialize_map(Members { of: self.members, notes });
        }
    }
}

struct Members<'a> {
    of: &'static [Member],
    notes: &'a mut Notes,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(member) = map.next_key_seed(Named(self.of))? {
            match member.and_then(|member| Some((member.told?, member.holds))) {
                Some((told, holds)) => {
                    let note = map.next_value_seed(Told(holds))?;
                    note.into_iter().for_each(|note| self.notes.add(told, note));
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads the name of one of these.
struct Named(&'static [Member]);

impl<'de> DeserializeSeed<'de> for Named {
    type Value = Option<&'static Member>;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Named {
    type Value = Option<&'static Member>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|member| member.name == name))
    }
}

/// Reads a value of this kind.
struct Told(Type);

impl<'de> DeserializeSeed<'de> for Told {
    type Value = Option<Note>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Option<Note>, D::Error> {
        Ok(Some(match self.0 {
            Type::Text => Note::Text(Name::deserialize(value)?.0),
            Type::Count => Note::Number(u64::deserialize(value)?),
            Type::Flag => Note::Flag(bool::deserialize(value)?),
            Type::Object | Type::Labels | Type::Map(_) | Type::Record(_) => {
                Note::Fields(Deserialize::deserialize(value)?)
            }
            Type::List(_) | Type::Texts | Type::Names => Note::Number(Length::deserialize(value)?.0),
            Type::Number => {
                IgnoredAny::deserialize(value)?;
                return Ok(None);
            }
        }))
    }
}
