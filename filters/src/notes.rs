//! Notes: what records tell of an operation beside its resource, such as the names of a secret's fields.
//! Never a value of a secret.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Most names that are told of one object, and most bytes of a text.
const MOST_NAMES: usize = 64;
const MOST_TEXT: usize = 256;

/// The name of [`Note::lease`].
pub const LEASE: &str = "lease_id_suffix";

/// The name under which the reason of a refusal is noted, or of what would be one.
pub const WHY: &str = "why";

/// The name of a flag: only a role that observes allowed it.
pub const OBSERVED: &str = "observed";

/// The notes of one operation, each under a name, in the order in which they became known.
#[derive(Debug, Default)]
pub struct Notes(Vec<(&'static str, Note)>);

/// One thing that is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Note {
    /// A number.
    Number(u64),
    /// Numbers, such as those of versions.
    Numbers(Box<[u64]>),
    /// True or false.
    Flag(bool),
    /// A text, cut after 256 bytes.
    Text(Box<str>),
    /// A name, or a pattern of names.
    Name(Box<str>),
    /// Names of fields.
    Fields(Fields),
}

/// The names of an object's members: 64 of them at most, each cut after 256 bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The names.
    pub names: Vec<Box<str>>,
    /// The count of those that are left out.
    pub more: u64,
}

impl Fields {
    fn push(&mut self, name: Box<str>) {
        if self.names.len() < MOST_NAMES {
            self.names.push(name);
        } else {
            self.more += 1;
        }
    }
}

impl Notes {
    /// Adds a note under this name.
    pub fn add(&mut self, name: &'static str, note: Note) {
        self.0.push((name, note));
    }

    /// The same with a note more.
    #[must_use]
    pub fn with(mut self, name: &'static str, note: Note) -> Self {
        self.add(name, note);
        self
    }

    /// Takes the number of that name out of them.
    pub(crate) fn take_number(&mut self, name: &str) -> Option<u64> {
        let place = self.0.iter().position(|(its, _)| *its == name)?;
        match self.0.swap_remove(place).1 {
            Note::Number(number) => Some(number),
            Note::Numbers(_) | Note::Flag(_) | Note::Text(_) | Note::Name(_) | Note::Fields(_) => None,
        }
    }

    /// The text of that name.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(its, note)| match note {
            Note::Text(text) if its == name => Some(&**text),
            Note::Text(_) | Note::Number(_) | Note::Numbers(_) | Note::Flag(_) | Note::Name(_) | Note::Fields(_) => {
                None
            }
        })
    }

    /// True where the flag of that name is raised.
    #[must_use]
    pub fn is_raised(&self, name: &str) -> bool {
        self.iter().any(|(its, note)| its == name && *note == Note::Flag(true))
    }

    /// The notes, each under its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Note)> {
        self.0.iter().map(|(name, note)| (*name, note))
    }
}

impl Note {
    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(cut(text))
    }

    /// The end of a lease's id: 8 bytes of it at most, by which it is found in Vault's records and not used there.
    #[must_use]
    pub fn lease(id: &str) -> Self {
        let name = id.rsplit('/').next().unwrap_or_default();
        // Vault adds the id of a namespace behind a point.
        let name = name.split('.').next().unwrap_or_default();
        Self::text(name.get(name.floor_char_boundary(name.len().saturating_sub(8))..).unwrap_or_default())
    }

    /// The names of the members of an object in JSON; none where it is something else.
    #[must_use]
    pub fn fields(object: &str) -> Self {
        Self::Fields(serde_json::from_str(object).unwrap_or_default())
    }
}

fn cut(text: &str) -> Box<str> {
    text.get(..text.floor_char_boundary(MOST_TEXT)).unwrap_or_default().into()
}

impl<'a> FromIterator<&'a str> for Fields {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let mut fields = Self::default();
        names.into_iter().for_each(|name| fields.push(cut(name)));
        fields
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(Name(name)) = map.next_key()? {
                    map.next_value::<IgnoredAny>()?;
                    fields.push(name);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A text of JSON, cut.
pub(crate) struct Name(pub(crate) Box<str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Name, E> {
                Ok(Name(cut(text)))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The length of a list of JSON.
pub(crate) struct Length(pub(crate) u64);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Length, A::Error> {
                let mut length = 0;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    length += 1;
                }
                Ok(Length(length))
            }
        }

        deserializer.deserialize_seq(Items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded() {
        let long = format!("{}é", "x".repeat(MOST_TEXT - 1));
        let object = serde_json::json!({ long: 1 }).to_string();
        let Note::Fields(fields) = Note::fields(&object) else { panic!() };
        assert_eq!(fields.names, [Box::from("x".repeat(MOST_TEXT - 1))]);
        let many: serde_json::Map<_, _> = (0..70).map(|n| (format!("k{n:02}"), n.into())).collect();
        let Note::Fields(fields) = Note::fields(&serde_json::Value::from(many).to_string()) else { panic!() };
        assert_eq!((fields.names.len(), fields.more, &*fields.names[63]), (64, 6, "k63"));
    }

    #[test]
    fn a_value_is_no_name() {
        let told = Note::fields(r#"{"user":"s3cr3t","nested":{"pass":"s3cr3t"},"list":["s3cr3t"]}"#);
        assert!(!format!("{told:?}").contains("s3cr3t") && !format!("{told:?}").contains("pass"), "{told:?}");
        assert_eq!(Note::fields("\"s3cr3t\""), Note::Fields(Fields::default()));
    }
}
