//! JSON of a caller's, judged before Vault is asked: Vault answers what is
//! above its own bounds, or what it reads otherwise than it was meant, with
//! 500, as if it were broken itself.
//! Source: `max_json_*` in <https://developer.hashicorp.com/vault/docs/configuration/listener/tcp>

use std::borrow::Cow;

/// Most of everything in one value; what is above is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Levels of objects and lists.
    pub depth: usize,
    /// Members of one object, or items of one list.
    pub members: usize,
    /// Bytes of one text, name or number, as it is written.
    pub text: usize,
    /// Names, values, brackets, commas and colons, together.
    pub tokens: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { depth: 100, members: 10_000, text: 1 << 20, tokens: 499_000 }
    }
}

/// The fault of a value that is JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonProblem {
    /// An object names a member twice.
    Twice,
    /// An escape is one half of a character.
    Half,
    /// A number is beyond a double.
    Number,
    /// Above [`Bounds::depth`].
    Depth,
    /// Above [`Bounds::members`].
    Members,
    /// Above [`Bounds::text`].
    Text,
    /// Above [`Bounds::tokens`].
    Tokens,
}

/// Where a value is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// The kind of fault.
    pub problem: JsonProblem,
    /// The member of the outermost object that it is in, as its name is written.
    pub member: Option<&'a [u8]>,
    /// Bytes from the beginning of that member's value to the place.
    pub offset: usize,
}

impl Fault<'_> {
    /// The right thing, and the place of the wrong one, without a word of the caller's.
    #[must_use]
    pub fn expected(&self, bounds: &Bounds) -> String {
        let Bounds { depth, members, text, tokens } = bounds;
        let right = match self.problem {
            JsonProblem::Twice => "each name once in its object, characters above U+FFFF not as \\u escapes".to_owned(),
            JsonProblem::Half => "whole characters: no \\u escape of half a surrogate pair".to_owned(),
            JsonProblem::Number => "numbers that a double holds; larger ones as texts".to_owned(),
            JsonProblem::Depth => format!("at most {depth} levels of objects and lists, the outermost included"),
            JsonProblem::Members => format!("at most {members} members of one object or items of one list"),
            JsonProblem::Text => format!("texts, names and numbers of at most {text} bytes"),
            JsonProblem::Tokens => format!("at most {tokens} names, values, brackets, commas and colons"),
        };
        format!("{right} (see byte {} of the value)", self.offset)
    }
}

/// Judges a value in one pass over its bytes. What is no JSON may pass: that
/// is for its reader to say, and so are names that the outermost object has
/// twice.
///
/// # Errors
/// The first [`Fault`], but for names that stand twice: those are told at the
/// end of their object.
pub fn judge<'a>(json: &'a [u8], bounds: &Bounds) -> Result<(), Fault<'a>> {
    let (open, names) = (Vec::with_capacity(8), Vec::new());
    let mut reader = Reader { json, rest: json, bounds, open, names, tokens: 0, member: None, begun: 0 };
    let judged = reader.read();
    judged.map_err(|(problem, at)| Fault { problem, member: reader.member, offset: at.saturating_sub(reader.begun) })
}

/// The number of bytes at the start of `rest` that end no string, begin no escape and are no control
/// characters. Eight are looked at in one.
pub(crate) fn plain(rest: &[u8]) -> usize {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = EACH << 7;
    // The lowest of the high bits that are set tells the first byte that is less than `bound`.
    let less = |word: u64, bound: u8| word.wrapping_sub(EACH * u64::from(bound)) & !word & HIGH;
    let is = |word: u64, byte: u8| less(word ^ (EACH * u64::from(byte)), 1);
    let (words, tail) = rest.as_chunks();
    for (index, &word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(word);
        let ends = less(word, 0x20) | is(word, b'"') | is(word, b'\\');
        if ends != 0 {
            return index * 8 + ends.trailing_zeros() as usize / 8;
        }
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    rest.len() - tail.len() + tail.iter().position(ends).unwrap_or(tail.len())
}

type Judged = Result<(), (JsonProblem, usize)>;

/// An object or list that has not ended.
struct Open {
    is_object: bool,
    /// Of an object: a name comes next.
    awaits_name: bool,
    /// Members or items so far.
    count: usize,
    /// The number of names that were known before it.
    before: usize,
}

struct Reader<'a, 'b> {
    json: &'a [u8],
    rest: &'a [u8],
    bounds: &'b Bounds,
    open: Vec<Open>,
    /// The names of all open objects, and where they stand.
    names: Vec<(Cow<'a, [u8]>, usize)>,
    tokens: usize,
    member: Option<&'a [u8]>,
    /// Where the value of that member begins.
    begun: usize,
}

impl<'a> Reader<'a, '_> {
    fn read(&mut self) -> Judged {
        while let Some((&byte, after)) = self.rest.split_first() {
            let at = self.at();
            if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                self.rest = after;
                continue;
            }
            self.tokens += 1;
            if self.tokens > self.bounds.tokens {
                return Err((JsonProblem::Tokens, at));
            }
            match byte {
                b'"' => self.text(after, at)?,
                b'{' | b'[' => self.enter(byte == b'{', at)?,
                b'}' | b']' => self.leave()?,
                b',' => self.await_name(true),
                b':' => self.await_name(false),
                b'-' | b'0'..=b'9' => self.number(at)?,
                _ => self.word(at)?,
            }
            if matches!(byte, b'{' | b'}' | b'[' | b']' | b',' | b':') {
                self.rest = after;
            }
        }
        Ok(())
    }

    const fn at(&self) -> usize {
        self.json.len() - self.rest.len()
    }

    fn await_name(&mut self, awaits: bool) {
        if let Some(open) = self.open.last_mut() {
            open.awaits_name = awaits && open.is_object;
        }
    }

    /// A value begins.
    fn value(&mut self, at: usize) -> Judged {
        if self.open.len() == 1 {
            self.begun = at;
        }
        match self.open.last_mut() {
            Some(open) if !open.is_object => open.one_more(self.bounds, at),
            _ => Ok(()),
        }
    }

    fn enter(&mut self, is_object: bool, at: usize) -> Judged {
        self.value(at)?;
        self.open.push(Open { is_object, awaits_name: is_object, count: 0, before: self.names.len() });
        if self.open.len() > self.bounds.depth { Err((JsonProblem::Depth, at)) } else { Ok(()) }
    }

    fn leave(&mut self) -> Judged {
        let Some(Open { is_object, before, .. }) = self.open.pop() else { return Ok(()) };
        if !is_object {
            return Ok(());
        }
        let names = self.names.get_mut(before..).unwrap_or_default();
        let twice = if names.len() < 2 || self.open.is_empty() { None } else { twice(names) };
        self.names.truncate(before);
        twice.map_or(Ok(()), |at| Err((JsonProblem::Twice, at)))
    }

    fn number(&mut self, at: usize) -> Judged {
        self.value(at)?;
        let part = |byte: &u8| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let (number, rest) = self.rest.split_at(self.rest.iter().position(part).unwrap_or(self.rest.len()));
        self.rest = rest;
        if number.len() > self.bounds.text {
            return Err((JsonProblem::Text, at));
        }
        if number.len() < 300 && !number.contains(&b'e') && !number.contains(&b'E') {
            return Ok(());
        }
        let read = std::str::from_utf8(number).ok().and_then(|number| number.parse::<f64>().ok());
        if read.is_some_and(f64::is_infinite) { Err((JsonProblem::Number, at)) } else { Ok(()) }
    }

    /// `true`, `false`, `null`, or what is none of JSON's.
    fn word(&mut self, at: usize) -> Judged {
        self.value(at)?;
        let (_, after) = self.rest.split_first().unwrap_or((&0, &[]));
        let part = |byte: &u8| !byte.is_ascii_lowercase();
        self.rest = after.get(after.iter().position(part).unwrap_or(after.len())..).unwrap_or_default();
        Ok(())
    }

    /// A text or a name, whose first quotation mark stands at `at`.
    fn text(&mut self, begin: &'a [u8], at: usize) -> Judged {
        self.rest = begin;
        let mut is_escaped = false;
        loop {
            self.rest = self.rest.get(plain(self.rest)..).unwrap_or_default();
            match self.rest.first() {
                Some(b'"') | None => break,
                Some(b'\\') => {
                    is_escaped = true;
                    self.escape()?;
                }
                Some(_) => self.skip(1),
            }
        }
        let text = begin.get(..begin.len() - self.rest.len()).unwrap_or_default();
        self.skip(1);
        let is_name = self.open.last().is_some_and(|open| open.awaits_name);
        if is_name {
            self.name(text, is_escaped, at)?
        } else {
            self.value(at)?
        }
        if text.len() > self.bounds.text { Err((JsonProblem::Text, at)) } else { Ok(()) }
    }

    fn name(&mut self, text: &'a [u8], is_escaped: bool, at: usize) -> Judged {
        if self.open.len() == 1 {
            (self.member, self.begun) = (Some(text), at);
        }
        self.names.push((if is_escaped { unescaped(text).into() } else { text.into() }, at));
        self.open.last_mut().map_or(Ok(()), |open| open.one_more(self.bounds, at))
    }

    /// An escape: two bytes, six, or twelve of a pair.
    fn escape(&mut self) -> Judged {
        let half = (JsonProblem::Half, self.at());
        let length = match unit(self.rest) {
            Some(0xdc00..=0xdfff) => return Err(half),
            Some(0xd800..=0xdbff) => {
                let second = self.rest.get(6..).and_then(unit);
                second.filter(|unit| matches!(unit, 0xdc00..=0xdfff)).ok_or(half)?;
                12
            }
            Some(_) => 6,
            None => 2,
        };
        self.skip(length);
        Ok(())
    }

    fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }
}

impl Open {
    const fn one_more(&mut self, bounds: &Bounds, at: usize) -> Judged {
        self.count += 1;
        if self.count > bounds.members { Err((JsonProblem::Members, at)) } else { Ok(()) }
    }
}

/// The unit of UTF-16 that a `\u` escape is, if `rest` begins with one.
fn unit(rest: &[u8]) -> Option<u16> {
    let digits = rest.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// A name as Vault compares it: each half of a surrogate pair by itself, of
/// which it makes the same replacement character.
fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len());
    while let Some((&byte, after)) = text.split_first() {
        text = after;
        let escape = if byte == b'\\' { after.split_first() } else { None };
        let Some((&kind, behind)) = escape else {
            name.push(byte);
            continue;
        };
        text = behind;
        name.push(match kind {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let digits = std::str::from_utf8(behind.get(..4).unwrap_or_default());
                let unit = digits.ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let character = unit.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                text = behind.get(4..).unwrap_or_default();
                continue;
            }
            other => other,
        });
    }
    name
}

/// Where the first name stands that another before it is like.
fn twice(names: &mut [(Cow<'_, [u8]>, usize)]) -> Option<usize> {
    names.sort_unstable();
    let pairs = names.windows(2).filter_map(|pair| match pair {
        [(one, _), (other, at)] if one == other => Some(*at),
        _ => None,
    });
    pairs.min()
}

#[cfg(test)]
mod tests;
