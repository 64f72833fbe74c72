//! The machine behind [`Shape`]: a JSON reader that never goes back.

use super::{Member, Shape, Type, told};
use crate::json::plain;
use crate::notes::Notes;
use crate::refusal::Refusal;

mod names;
mod places;
mod text;

use names::Names;
use places::{MAX_NAME, MAX_PLACE, Places};
use text::{Escaped, Utf8};

/// Deepest nesting of Vault's answer.
const MAX_DEPTH: usize = 128;

/// The bytes that may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// A value; or, where it may be empty, the end of the list.
    Value {
        or_end: bool,
    },
    /// A name; or, where it may be empty, the end of the object.
    Name {
        or_end: bool,
    },
    Colon,
    /// A comma, or the end of what is open.
    After,
    /// The rest of a string.
    Text {
        name: bool,
    },
    /// The character after a backslash.
    Escape {
        name: bool,
    },
    /// So many more hexadecimal digits.
    Hex {
        name: bool,
        left: u8,
        value: u16,
    },
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8]),
    Number(Digits),
    /// Nothing but white space.
    End,
}

/// The state of a number that is being read (RFC 8259 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

/// One answer on its way from Vault to a caller.
#[derive(Debug)]
pub struct Projection {
    members: &'static [Member],
    next: Next,
    /// The open objects (`true`) and lists.
    open: Vec<bool>,
    /// The places of the members that are picked, and of those that records tell of.
    picked: Places,
    told: Places,
    notes: Notes,
    /// The name that is being read; too long where it fits no member.
    name: [u8; MAX_NAME],
    length: usize,
    /// The depth at which the value that is copied lies.
    copies: Option<usize>,
    /// The kind of the value that is copied.
    holds: Type,
    /// Of a list of names, those that no path may hold.
    names: Names,
    /// A bit, at each depth, for each member whose place was named there.
    named: [u32; MAX_PLACE],
    /// A bit for each member that was there.
    seen: u32,
    utf8: Utf8,
    escaped: Escaped,
    begun: bool,
}

impl Projection {
    /// Nothing has arrived yet.
    #[must_use]
    pub fn new(shape: &'static Shape) -> Self {
        Self {
            members: shape.members,
            next: Next::Value { or_end: false },
            open: Vec::with_capacity(8),
            picked: Places::of(shape.members, |_| true),
            told: Places::default(),
            notes: Notes::default(),
            name: [0; MAX_NAME],
            length: 0,
            copies: None,
            holds: Type::Object,
            names: Names::default(),
            named: [0; MAX_PLACE],
            seen: 0,
            utf8: Utf8::default(),
            escaped: Escaped::default(),
            begun: false,
        }
    }

    /// The same, where all of Vault's answer is pushed at once: it notes the members of this shape that records tell
    /// of, also where they lie in what is picked.
    #[must_use]
    pub fn telling(mut self, shape: &'static Shape) -> Self {
        self.told = Places::of(shape.members, |member| member.told.is_some());
        self
    }

    /// Adds a member of the gate's own; before the first byte of Vault's.
    pub fn give(&mut self, name: &str, value: &serde_json::Value, out: &mut Vec<u8>) {
        self.begin(name, out);
        out.extend_from_slice(value.to_string().as_bytes());
    }

    /// Adds members of the gate's own that are always the same, as they stand in an object; before the first byte of
    /// Vault's.
    pub fn give_fixed(&mut self, members: &'static str, out: &mut Vec<u8>) {
        self.separate(out);
        out.extend_from_slice(members.as_bytes());
    }

    /// Takes what arrived next; what is to be sent is added to `out`.
    ///
    /// # Errors
    /// [`Refusal::UpstreamNonsense`] where it is not JSON, or a member is not
    /// what it is to be.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut rest = chunk;
        // Where in the chunk the piece begins that is copied.
        let mut from = 0;
        while let Some((&byte, after)) = rest.split_first() {
            let inside = self.copies.is_some();
            let left = self.token(byte, rest, after, out)?;
            match (inside, self.copies.is_some()) {
                (false, true) => from = chunk.len() - rest.len(),
                (true, false) => {
                    out.extend_from_slice(chunk.get(from..chunk.len() - left.len()).unwrap_or_default());
                }
                (true, true) | (false, false) => {}
            }
            rest = left;
        }
        if self.copies.is_some() {
            out.extend_from_slice(chunk.get(from..).unwrap_or_default());
        }
        Ok(())
    }

    /// Reads what begins with `byte`, at the start of `rest`, and gives what is left.
    fn token<'c>(&mut self, byte: u8, rest: &'c [u8], after: &'c [u8], out: &mut Vec<u8>) -> Result<&'c [u8], Refusal> {
        match self.next {
            Next::Text { name } => return self.text(name, rest),
            Next::Number(digits) => match digits.with(byte)? {
                Some(Digits::Point | Digits::Exponent)
                    if self.copies.is_some() && matches!(self.holds, Type::Count) =>
                {
                    return Err(Refusal::UpstreamNonsense);
                }
                Some(digits) => self.next = Next::Number(digits),
                None => {
                    // This byte is no longer of the number.
                    self.close();
                    return Ok(rest);
                }
            },
            // Most often the whole word is there.
            Next::Word(word) if rest.starts_with(word) => {
                self.close();
                return Ok(rest.get(word.len()..).unwrap_or_default());
            }
            Next::Value { .. }
            | Next::Name { .. }
            | Next::Colon
            | Next::After
            | Next::Escape { .. }
            | Next::Hex { .. }
            | Next::Word(_)
            | Next::End => {
                self.step(byte, rest, out)?;
                if self.names.begun {
                    self.names.take(&[byte]);
                }
            }
        }
        Ok(after)
    }

    /// Ends the answer, and gives its notes.
    ///
    /// # Errors
    /// [`Refusal::UpstreamNonsense`] where Vault's broke off or lacks a member.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Notes, Refusal> {
        let there = |(index, member): (usize, &Member)| {
            member.optional || member.from.is_empty() || self.seen & (1 << index) != 0
        };
        if self.next != Next::End || !self.members.iter().enumerate().all(there) {
            return Err(Refusal::UpstreamNonsense);
        }
        if !self.begun {
            self.begun = true;
            out.push(b'{');
        }
        self.names.tell(out);
        out.push(b'}');
        Ok(self.notes)
    }

    fn separate(&mut self, out: &mut Vec<u8>) {
        out.push(if self.begun { b',' } else { b'{' });
        self.begun = true;
    }

    fn begin(&mut self, name: &str, out: &mut Vec<u8>) {
        self.separate(out);
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
    }

    /// One byte outside of strings and numbers, at the start of `rest`.
    fn step(&mut self, byte: u8, rest: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        match (self.next, byte) {
            (Next::Escape { name }, b'u') => self.next = Next::Hex { name, left: 4, value: 0 },
            (Next::Escape { name }, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.escaped.other()?;
                self.next = Next::Text { name };
            }
            (Next::Hex { name, left, value }, _) => self.next = self.hex(name, left, value, byte)?,
            (Next::Word(word), _) => match word.split_first() {
                Some((&first, [])) if first == byte => self.close(),
                Some((&first, word)) if first == byte => self.next = Next::Word(word),
                _ => return Err(Refusal::UpstreamNonsense),
            },
            (Next::Escape { .. }, _) => return Err(Refusal::UpstreamNonsense),
            (_, b' ' | b'\n' | b'\r' | b'\t') => {}
            (Next::Value { or_end: true }, b']') | (Next::Name { or_end: true }, b'}') => self.leave(byte)?,
            (Next::Value { .. }, _) => self.value(byte, rest, out)?,
            (Next::Name { .. }, b'"') => {
                self.length = 0;
                self.next = Next::Text { name: true };
            }
            (Next::Colon, b':') => self.next = Next::Value { or_end: false },
            (Next::After, b',') => {
                let object = self.open.last() == Some(&true);
                self.next = if object { Next::Name { or_end: false } } else { Next::Value { or_end: false } };
            }
            (Next::After, b'}' | b']') => self.leave(byte)?,
            _ => return Err(Refusal::UpstreamNonsense),
        }
        Ok(())
    }

    /// The first byte of a value, at the start of `rest`.
    fn value(&mut self, byte: u8, rest: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        if let Some((_, member)) = self.told.take() {
            told::note(member, rest, &mut self.notes);
        }
        if let Some((index, member)) = self.picked.take()
            && !(member.optional && byte == b'n' && !matches!(member.holds, Type::Any))
        {
            self.copy(index, member, byte, out)?;
        }
        let listed = self.copies.is_some_and(|depth| self.open.len() == depth + 1);
        if listed && matches!(self.holds, Type::Texts | Type::Names) && byte != b'"' {
            return Err(Refusal::UpstreamNonsense);
        }
        self.names.begun = listed && matches!(self.holds, Type::Names);
        self.next = match byte {
            b'{' => self.enter(true)?,
            _ if self.open.is_empty() => return Err(Refusal::UpstreamNonsense),
            b'[' => self.enter(false)?,
            b'"' => Next::Text { name: false },
            b'-' => Next::Number(Digits::Minus),
            b'0' => Next::Number(Digits::Zero),
            b'1'..=b'9' => Next::Number(Digits::Whole),
            b't' => Next::Word(b"rue"),
            b'f' => Next::Word(b"alse"),
            b'n' => Next::Word(b"ull"),
            _ => return Err(Refusal::UpstreamNonsense),
        };
        Ok(())
    }

    fn copy(&mut self, index: usize, member: &Member, byte: u8, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if !member.holds.begins(byte) {
            return Err(Refusal::UpstreamNonsense);
        }
        self.seen |= 1 << index;
        self.copies = Some(self.open.len());
        self.holds = member.holds;
        self.begin(member.name, out);
        Ok(())
    }

    fn enter(&mut self, object: bool) -> Result<Next, Refusal> {
        self.picked.enter(self.open.len(), object && self.copies.is_none());
        self.told.enter(self.open.len(), object);
        if self.open.len() == MAX_DEPTH {
            return Err(Refusal::UpstreamNonsense);
        }
        self.open.push(object);
        Ok(if object { Next::Name { or_end: true } } else { Next::Value { or_end: true } })
    }

    fn leave(&mut self, byte: u8) -> Result<(), Refusal> {
        if self.open.pop() != Some(byte == b'}') {
            return Err(Refusal::UpstreamNonsense);
        }
        self.close();
        Ok(())
    }

    /// A value has ended.
    fn close(&mut self) {
        if self.copies == Some(self.open.len()) {
            self.copies = None;
        }
        self.next = if self.open.is_empty() { Next::End } else { Next::After };
    }

    /// As much of a string as there is; what is left is given back.
    fn text<'c>(&mut self, name: bool, rest: &'c [u8]) -> Result<&'c [u8], Refusal> {
        let (run, after) = rest.split_at(plain(rest));
        self.utf8.take(run)?;
        if !run.is_empty() {
            self.escaped.other()?;
        }
        if name && self.leads() {
            self.read_name(run);
        }
        if self.names.begun {
            self.names.take(rest.get(..=run.len()).unwrap_or(run));
        }
        let Some((&byte, after)) = after.split_first() else { return Ok(after) };
        self.utf8.end()?;
        if byte != b'\\' {
            self.escaped.other()?;
        }
        match byte {
            b'"' if name => self.named()?,
            b'"' => {
                if self.names.begun {
                    self.names.end();
                }
                self.close();
            }
            b'\\' => {
                // No member's name needs one.
                self.length = MAX_NAME + 1;
                self.next = Next::Escape { name };
            }
            _ => return Err(Refusal::UpstreamNonsense),
        }
        Ok(after)
    }

    fn hex(&mut self, name: bool, left: u8, value: u16, byte: u8) -> Result<Next, Refusal> {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
        let value = value << 4 | digit.ok_or(Refusal::UpstreamNonsense)?;
        if left > 1 {
            return Ok(Next::Hex { name, left: left - 1, value });
        }
        self.escaped.unit(value)?;
        Ok(Next::Text { name })
    }

    fn read_name(&mut self, run: &[u8]) {
        match self.name.get_mut(self.length..self.length + run.len()) {
            Some(place) => {
                place.copy_from_slice(run);
                self.length += run.len();
            }
            None => self.length = MAX_NAME + 1,
        }
    }

    /// True where names in the object that is open may lead to a member.
    fn leads(&self) -> bool {
        let depth = self.open.len().saturating_sub(1);
        self.picked.lead_into(depth) || self.told.lead_into(depth)
    }

    /// A name has ended. One on the way to a member that is picked has no one meaning where it stands twice.
    fn named(&mut self) -> Result<(), Refusal> {
        self.next = Next::Colon;
        let (depth, name) = (self.open.len().saturating_sub(1), self.name.get(..self.length));
        self.told.named(depth, name);
        let fits = self.picked.named(depth, name);
        let Some(named) = self.named.get_mut(depth) else { return Ok(()) };
        if *named & fits != 0 {
            return Err(Refusal::UpstreamNonsense);
        }
        *named |= fits;
        Ok(())
    }
}

impl Digits {
    /// The state of the number after `byte`; `None` where the number ended before.
    fn with(self, byte: u8) -> Result<Option<Self>, Refusal> {
        Ok(Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Self::Whole,
            (Self::Zero | Self::Whole, b'.') => Self::Point,
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Exponent, b'+' | b'-') => Self::Sign,
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Self::Power,
            (Self::Zero | Self::Whole | Self::Fraction | Self::Power, _) => return Ok(None),
            _ => return Err(Refusal::UpstreamNonsense),
        }))
    }
}
