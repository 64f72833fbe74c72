//! Facts that wait to become records. A request only copies them here, side by side. Records are made of all of them at
//! once, which takes less than making each by itself between other work.

use super::activity::{NAMED, Touched};
use super::{Activity, Naming};
use crate::decide::Concern;

/// Facts that wait, in their order.
#[derive(Debug, Default)]
pub struct Backlog {
    facts: Vec<Fact>,
    touched: Vec<Touched<Length>>,
    /// The texts of all facts, one behind the other.
    texts: String,
    /// Bodies that are made already, one behind the other.
    bodies: Vec<u8>,
}

type Length = u32;

#[derive(Clone, Copy, Debug)]
enum Fact {
    /// An operation, and the number of resources that it touched.
    Activity(Activity<Length>, usize),
    /// The length of a body.
    Body(usize),
}

impl Backlog {
    /// Adds an operation; `concerns` are the resources that it was about.
    pub fn add<'c>(&mut self, activity: Activity<&str>, concerns: impl Iterator<Item = &'c Concern>) {
        let Self { facts, touched, texts, .. } = self;
        let mut kept = |text: &str| {
            texts.push_str(text);
            // Names and reasons are short.
            Length::try_from(text.len()).unwrap_or(Length::MAX)
        };
        let (activity, before) = (activity.map(&mut kept), touched.len());
        touched.extend(concerns.filter_map(Touched::by).take(NAMED).map(|resource| resource.map(&mut kept)));
        facts.push(Fact::Activity(activity, touched.len() - before));
    }

    /// Adds a record by its body.
    pub fn add_body(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bodies.len();
        write(&mut self.bodies);
        self.facts.push(Fact::Body(self.bodies.len() - before));
    }

    /// The number of records that wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.facts.len()
    }

    /// True where none does.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// The bytes that they take.
    #[must_use]
    pub const fn size(&self) -> usize {
        size_of_val(self.facts.as_slice()) + size_of_val(self.touched.as_slice()) + self.texts.len() + self.bodies.len()
    }

    /// Gives the body of each record; none waits then.
    pub fn drain(&mut self, naming: &Naming, mut take: impl FnMut(&[u8])) {
        let mut touched = self.touched.drain(..);
        let (mut texts, mut bodies, mut body) = (Texts(&self.texts), self.bodies.as_slice(), Vec::new());
        for fact in self.facts.drain(..) {
            match fact {
                Fact::Activity(activity, count) => {
                    body.clear();
                    let activity = activity.map(|length| texts.next(length));
                    let resources = touched.by_ref().take(count);
                    activity.write_about(
                        resources.map(|resource| resource.map(|length| texts.next(length))),
                        naming,
                        &mut body,
                    );
                    take(&body);
                }
                Fact::Body(length) => {
                    let (body, rest) = bodies.split_at_checked(length).unwrap_or_default();
                    bodies = rest;
                    take(body);
                }
            }
        }
        drop(touched);
        self.texts.clear();
        self.bodies.clear();
    }
}

/// Texts that are read one behind the other.
struct Texts<'a>(&'a str);

impl<'a> Texts<'a> {
    fn next(&mut self, length: Length) -> &'a str {
        let (text, rest) = self.0.split_at_checked(length as usize).unwrap_or_default();
        self.0 = rest;
        text
    }
}
