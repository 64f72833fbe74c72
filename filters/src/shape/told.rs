//! The notes of the members of an answer that records tell of.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny};

use super::{Member, Type};
use crate::notes::{Length, Name, Note, Notes};

/// Adds the note of a member whose value `json` begins with: of an object the names of its members, of a list its
/// length. None is added of a value that is of another kind, or breaks off.
pub(super) fn note(member: &Member, json: &[u8], notes: &mut Notes) {
    let mut json = serde_json::Deserializer::from_slice(json);
    if let (Some(told), Ok(Some(note))) = (member.told, Told(member.holds).deserialize(&mut json)) {
        notes.add(told, note);
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
            Type::Number | Type::Any => {
                IgnoredAny::deserialize(value)?;
                return Ok(None);
            }
        }))
    }
}
