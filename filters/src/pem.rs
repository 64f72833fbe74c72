//! PEM (RFC 7468): certificates, revocation lists and private keys in a text.
//!
//! A list or an authority that a reader passes over in silence is one that does
//! not count, so nothing is: what is beyond doubt is read (a byte order mark,
//! either line ending, indentation, blocks and lines that were joined), and
//! everything else that looks like a block has the whole text refused.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const DASHES: &[u8] = b"-----";
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Characters of a line of base64 (RFC 7468, section 2).
const LINE: usize = 64;

/// The content of a block, by its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An X.509 certificate.
    Certificate,
    /// A certificate with settings of OpenSSL's beside it.
    TrustedCertificate,
    /// An X.509 revocation list.
    RevocationList,
    /// A private key of any algorithm (PKCS #8).
    Pkcs8Key,
    /// A private RSA key (PKCS #1).
    Pkcs1Key,
    /// A private key over an elliptic curve (SEC 1).
    Sec1Key,
    /// A private key behind a passphrase (PKCS #8).
    EncryptedKey,
    /// Parameters that tools write before a key.
    Parameters,
}

const LABELS: [(&str, Kind); 11] = [
    ("CERTIFICATE", Kind::Certificate),
    ("X509 CERTIFICATE", Kind::Certificate),
    ("TRUSTED CERTIFICATE", Kind::TrustedCertificate),
    ("X509 CRL", Kind::RevocationList),
    ("CRL", Kind::RevocationList),
    ("PRIVATE KEY", Kind::Pkcs8Key),
    ("RSA PRIVATE KEY", Kind::Pkcs1Key),
    ("EC PRIVATE KEY", Kind::Sec1Key),
    ("ENCRYPTED PRIVATE KEY", Kind::EncryptedKey),
    ("EC PARAMETERS", Kind::Parameters),
    ("DH PARAMETERS", Kind::Parameters),
];

/// The content of a block, which may be a private key.
pub struct Content {
    /// Its kind.
    pub kind: Kind,
    /// The content itself, in DER.
    pub der: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[redacted {:?}]", self.kind)
    }
}

/// Why a text is refused; says nothing of what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1; none where the text as a whole is at fault.
    pub line: Option<usize>,
    /// The fault of the text or the line: `holds no certificate in PEM`.
    pub what: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "in line {line} {}", self.what),
            None => f.write_str(self.what),
        }
    }
}

impl std::error::Error for Fault {}

/// The certificates of a text that holds nothing else, in DER.
///
/// # Errors
/// [`Fault`], also where there is none.
pub fn certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let found = taken(text, |kind| kind == Kind::Certificate, |_| false)?;
    ders(found, "holds no certificate in PEM")
}

/// The same, where private keys may stand beside the certificates.
///
/// # Errors
/// [`Fault`], also where there is none.
pub fn chain(text: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let found = taken(text, |kind| kind == Kind::Certificate, |kind| is_of_a_key(kind) || kind == Kind::EncryptedKey)?;
    ders(found, "holds no certificate in PEM")
}

/// The revocation lists of a text that holds nothing else, in DER.
///
/// # Errors
/// [`Fault`], also where there is none.
pub fn revocation_lists(text: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let found = taken(text, |kind| kind == Kind::RevocationList, |_| false)?;
    ders(found, "holds no revocation list in PEM or DER")
}

/// The one private key of a text: [`Kind::Pkcs8Key`], [`Kind::Pkcs1Key`] or
/// [`Kind::Sec1Key`]; certificates may stand beside it.
///
/// # Errors
/// [`Fault`], also where there is none or more than one.
pub fn private_key(text: &[u8]) -> Result<Content, Fault> {
    let is_key = |kind| is_of_a_key(kind) && kind != Kind::Parameters;
    let mut keys = taken(text, is_key, |kind| matches!(kind, Kind::Certificate | Kind::Parameters))?.into_iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        (None, _) => Err(Fault { line: None, what: "holds no private key in PEM" }),
        (Some(_), Some(_)) => Err(Fault { line: None, what: "holds more than one private key" }),
    }
}

/// One block, as tools write it.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    // Enough for all of it, so that growing leaves no copy of a key behind.
    let mut text = Zeroizing::new(String::with_capacity(body.len() + body.len() / LINE + 2 * label.len() + 40));
    text.extend(["-----BEGIN ", label, "-----\n"]);
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        text.extend([line, "\n"]);
        rest = after;
    }
    text.extend(["-----END ", label, "-----\n"]);
    text
}

/// True for a key in the clear, and for the parameters that tools write beside one.
const fn is_of_a_key(kind: Kind) -> bool {
    matches!(kind, Kind::Pkcs8Key | Kind::Pkcs1Key | Kind::Sec1Key | Kind::Parameters)
}

fn ders(found: Vec<Content>, none: &'static str) -> Result<Vec<Vec<u8>>, Fault> {
    if found.is_empty() {
        return Err(Fault { line: None, what: none });
    }
    Ok(found.into_iter().map(|mut content| std::mem::take(&mut *content.der)).collect())
}

/// The blocks that are `wanted`; those that may stand `beside` them are passed over.
fn taken(text: &[u8], wanted: impl Fn(Kind) -> bool, beside: impl Fn(Kind) -> bool) -> Result<Vec<Content>, Fault> {
    let mut taken = Vec::new();
    for Block { kind, at, body } in blocks(text)? {
        if wanted(kind) {
            let der = decoded(body).map_err(|what| fault(text, at, what))?;
            taken.push(Content { kind, der });
        } else if !beside(kind) {
            return Err(fault(text, at, misplaced(kind)));
        }
    }
    Ok(taken)
}

const fn misplaced(kind: Kind) -> &'static str {
    match kind {
        Kind::Certificate => "holds a certificate, which does not belong in this file",
        Kind::TrustedCertificate => {
            "holds a certificate with settings of OpenSSL's (`TRUSTED CERTIFICATE`), which are not read: \
             `openssl x509` writes it without them"
        }
        Kind::RevocationList => "holds a revocation list, which does not belong in this file",
        Kind::Pkcs8Key | Kind::Pkcs1Key | Kind::Sec1Key => "holds a private key, which does not belong in this file",
        Kind::EncryptedKey => ENCRYPTED,
        Kind::Parameters => "holds parameters, which do not belong in this file",
    }
}

const ENCRYPTED: &str = "holds a private key that is encrypted: no passphrase is asked for, so decrypt it \
    (`openssl pkey`) into a file that only the gate can read";

fn decoded(body: &[u8]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    if body.contains(&b':') {
        let encrypted = body.windows(9).any(|part| part == b"ENCRYPTED");
        return Err(if encrypted { ENCRYPTED } else { "begins a block with headers, which are not read" });
    }
    let mut packed = Zeroizing::new(Vec::with_capacity(body.len()));
    packed.extend(body.iter().filter(|byte| !byte.is_ascii_whitespace()));
    let der = STANDARD.decode(&*packed).map(Zeroizing::new);
    let der = der.map_err(|_| "begins a block that holds something else than base64")?;
    if der.is_empty() { Err("begins a block that holds nothing") } else { Ok(der) }
}

/// A block whose beginning and end are whole.
struct Block<'a> {
    kind: Kind,
    /// Where it begins.
    at: usize,
    body: &'a [u8],
}

/// Every block of a text.
fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, Fault> {
    if let Some(at) = text.iter().position(|byte| *byte == 0) {
        return Err(fault(text, at, "holds a zero byte, as text in UTF-16 and DER do: write it as PEM in ASCII"));
    }
    let (mut blocks, mut from) = (Vec::new(), 0);
    while let Some(begin) = Mark::next(text, from) {
        let whole = begin.whole(text, from).ok_or_else(|| fault(text, begin.at, DAMAGED))?;
        if begin.word == Word::End {
            return Err(fault(text, begin.at, "ends a block that has no beginning"));
        }
        let kind = LABELS.iter().find(|(label, _)| label.as_bytes() == whole.label).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| fault(text, begin.at, "begins a block of a kind that is not read"))?;
        let end = Mark::next(text, whole.end).filter(|end| end.word == Word::End);
        let end = end.ok_or_else(|| fault(text, begin.at, "begins a block that has no end"))?;
        let last = end.whole(text, whole.end).ok_or_else(|| fault(text, end.at, DAMAGED))?;
        if last.label != whole.label {
            return Err(fault(text, end.at, "ends a block of another kind than the one that begins above it"));
        }
        let body = text.get(whole.end..last.start).unwrap_or_default();
        blocks.push(Block { kind, at: begin.at, body });
        from = last.end;
    }
    Ok(blocks)
}

const DAMAGED: &str = "looks like the beginning or end of a PEM block and is none: write it as `-----BEGIN X-----` or \
    `-----END X-----`, on a line of its own";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Begin,
    End,
}

impl Word {
    const fn text(self) -> &'static [u8] {
        match self {
            Self::Begin => b"BEGIN",
            Self::End => b"END",
        }
    }
}

/// A place that looks like the beginning or end of a block: one of the words after dashes.
struct Mark {
    word: Word,
    /// Where the word stands.
    at: usize,
}

/// A mark as RFC 7468 has it.
struct Whole<'a> {
    label: &'a [u8],
    start: usize,
    end: usize,
}

impl Mark {
    /// The first one whose word stands at `from` or after it.
    fn next(text: &[u8], from: usize) -> Option<Self> {
        (from..text.len()).find_map(|at| {
            let (before, rest) = text.split_at_checked(at)?;
            let word = match rest.first()? {
                b'B' => Word::Begin,
                b'E' => Word::End,
                _ => return None,
            };
            (rest.starts_with(word.text()) && follows_dashes(before)).then_some(Self { word, at })
        })
    }

    /// The mark, where it is whole, no part of it stands before `from`, and what stands around it
    /// on its line is beyond doubt.
    fn whole<'a>(&self, text: &'a [u8], from: usize) -> Option<Whole<'a>> {
        let start = self.at.checked_sub(DASHES.len()).filter(|start| *start >= from)?;
        let rest = text.get(start..)?.strip_prefix(DASHES)?.strip_prefix(self.word.text())?.strip_prefix(b" ")?;
        let length = rest.windows(DASHES.len()).position(|part| part == DASHES)?;
        let (label, after) = (rest.get(..length)?, rest.get(length + DASHES.len()..)?);
        let fits = match self.word {
            Word::Begin => !after.starts_with(b"-") && is_blank(text.get(from..start)?),
            Word::End => {
                let apart = after.first().is_none_or(u8::is_ascii_whitespace) || after.starts_with(BYTE_ORDER_MARK);
                apart || after.starts_with(b"-----BEGIN ")
            }
        };
        let plain = label.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        (fits && plain).then(|| Whole { label, start, end: text.len() - after.len() })
    }
}

/// True where two dashes or more stand at the end, or one of those that word processors make of them.
fn follows_dashes(before: &[u8]) -> bool {
    let blanks = before.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let before = before.get(..before.len() - blanks).unwrap_or_default();
    let is_long = |last: &[u8]| matches!(last, [0xE2, 0x80, 0x90..=0x95] | [0xE2, 0x88, 0x92] | [0xEF, 0xBC, 0x8D]);
    before.ends_with(b"--") || before.last_chunk::<3>().is_some_and(|last| is_long(last))
}

/// True where the last line of the text between two blocks is empty.
fn is_blank(between: &[u8]) -> bool {
    let line = between.rsplit(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let line = line.trim_ascii();
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii().is_empty()
}

fn fault(text: &[u8], at: usize, what: &'static str) -> Fault {
    // Each kind of line ending counts once.
    let ends = |(at, byte): &(usize, &u8)| **byte == b'\n' || **byte == b'\r' && text.get(at + 1) != Some(&b'\n');
    Fault { line: Some(1 + text.iter().enumerate().take(at).filter(ends).count()), what }
}

#[cfg(test)]
mod tests;
