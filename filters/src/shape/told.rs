//! The members of an answer that records tell of.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{Member, Shape, Type};
use crate::notes::{Length, Name, Note, Notes};

impl Shape {
    /// Adds the notes of an answer of this shape, as a caller gets it. Of an object the names of its members are
    /// noted, of a list its length. None is added from what is no such answer, as one that is wrapped.
    pub fn note(&self, answer: &[u8], notes: &mut Notes) {
        self.walk(answer, |member| std::slice::from_ref(&member.name), notes);
    }

    /// Adds the same notes from Vault's own answer.
    pub fn note_in(&self, answer: &[u8], notes: &mut Notes) {
        self.walk(answer, |member| member.from, notes);
    }

    fn walk(&self, answer: &[u8], place: Place, notes: &mut Notes) {
        // Judged once, and not text by text.
        let Ok(answer) = std::str::from_utf8(answer) else { return };
        if self.members.iter().any(|member| member.told.is_some()) {
            let mut json = serde_json::Deserializer::from_str(answer);
            let _ = Members { of: self.members, place, depth: 0, live: u32::MAX, notes }.deserialize(&mut json);
        }
    }
}

/// The way to a member, name by name.
type Place = fn(&'static Member) -> &'static [&'static str];

/// Reads an object in which members lie, or lead to.
struct Members<'a> {
    of: &'static [Member],
    place: Place,
    depth: usize,
    /// A bit for each member whose way leads here.
    live: u32,
    notes: &'a mut Notes,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, object: D) -> Result<(), D::Error> {
        object.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { of, place, depth, live, notes } = self;
        while let Some(Named { is, live }) = map.next_key_seed(Naming { of, place, depth, live })? {
            match is.and_then(|member| Some((member.told?, member.holds))) {
                Some((told, holds)) => {
                    let note = map.next_value_seed(Told(holds))?;
                    note.into_iter().for_each(|note| notes.add(told, note));
                }
                None if live != 0 => {
                    map.next_value_seed(Members { of, place, depth: depth + 1, live, notes: &mut *notes })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a name, and finds the members that it leads to.
#[derive(Clone, Copy)]
struct Naming {
    of: &'static [Member],
    place: Place,
    depth: usize,
    live: u32,
}

/// The member that a name is the last of, and a bit for each that it leads to.
struct Named {
    is: Option<&'static Member>,
    live: u32,
}

impl<'de> DeserializeSeed<'de> for Naming {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Named, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Naming {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Named, E> {
        let Self { of, place, depth, live } = self;
        let mut named = Named { is: None, live: 0 };
        for (index, member) in of.iter().enumerate().filter(|(_, member)| member.told.is_some()) {
            let way = place(member);
            if live & (1 << index) != 0 && way.get(depth).is_some_and(|part| *part == name) {
                named.live |= 1 << index;
                if way.len() == depth + 1 {
                    named.is = Some(member);
                }
            }
        }
        Ok(named)
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
