//! Checkpoints as signed notes, which other tools verify too.
//!
//! Signed note: <https://github.com/C2SP/C2SP/blob/main/signed-note.md>, with an Ed25519 key; keys are written as Go's
//! `golang.org/x/mod/sumdb/note` writes them.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::chain::{ChainId, Position, digest};
use crate::secret::Digest;

/// The kind of key: Ed25519.
const KIND: u8 = 1;
/// The beginning of a line with a signature.
const SIGNATURE: &str = "\u{2014} ";
/// The beginning of a private key.
const PRIVATE: &str = "PRIVATE+KEY+";

/// A statement about a chain: its last record, and so how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last record that it is about.
    pub last: Position,
}

/// A key that signs notes.
pub struct NoteSigner {
    name: Box<str>,
    key: Ed25519KeyPair,
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A key that verifies notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteVerifier {
    name: Box<str>,
    public: [u8; 32],
}

/// True for a name that a key may have: one word without a plus sign.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

/// The four bytes by which a key is found.
fn id(name: &str, public: &[u8]) -> [u8; 4] {
    let digest = Digest::of(&[name.as_bytes(), b"\n", &[KIND], public].concat());
    let [a, b, c, d, ..] = *digest.bytes();
    [a, b, c, d]
}

/// A kind and 32 bytes, in base64.
fn key(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    match bytes.split_first()? {
        (&KIND, rest) => Some(Zeroizing::new(rest.try_into().ok()?)),
        _ => None,
    }
}

impl NoteSigner {
    /// A key of that name made of 32 random bytes; `None` for a name that is none.
    #[must_use]
    pub fn of_seed(name: &str, seed: &[u8; 32]) -> Option<Self> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        is_name(name).then(|| Self { name: name.into(), key })
    }

    /// The text of a key of that name and seed: `PRIVATE+KEY+name+id+key`.
    #[must_use]
    pub fn text(&self, seed: &[u8; 32]) -> Zeroizing<String> {
        let key = Zeroizing::new([&[KIND], &seed[..]].concat());
        let id = u32::from_be_bytes(id(&self.name, self.key.public_key().as_ref()));
        let mut text = Zeroizing::new(format!("{PRIVATE}{}+{id:08x}+", self.name));
        STANDARD.encode_string(&*key, &mut text);
        text
    }

    /// Reads a private key; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.trim_ascii().strip_prefix(PRIVATE)?.split_once('+')?;
        let (told, encoded) = rest.split_once('+')?;
        let signer = Self::of_seed(name, &*key(encoded)?)?;
        let id = u32::from_be_bytes(id(name, signer.key.public_key().as_ref()));
        (told == format!("{id:08x}")).then_some(signer)
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn verifier(&self) -> Option<NoteVerifier> {
        let public = self.key.public_key().as_ref().try_into().ok()?;
        Some(NoteVerifier { name: self.name.clone(), public })
    }

    /// The checkpoint as a signed note.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = checkpoint.text(&self.name);
        note(&text, &self.name, self.key.public_key().as_ref(), self.key.sign(text.as_bytes()).as_ref())
    }
}

/// A note: a text, and whose signature of it.
fn note(text: &str, name: &str, public: &[u8], signature: &[u8]) -> String {
    let signature = [&id(name, public)[..], signature].concat();
    format!("{text}\n{SIGNATURE}{name} {}\n", STANDARD.encode(signature))
}

impl NoteVerifier {
    /// A public key of that name; `None` for a name that is none.
    #[must_use]
    pub fn new(name: &str, public: [u8; 32]) -> Option<Self> {
        is_name(name).then(|| Self { name: name.into(), public })
    }

    /// The checkpoint as a note with a signature of [`Checkpoint::text`] that was made elsewhere; `None` where that is
    /// not this key's.
    #[must_use]
    pub fn note(&self, checkpoint: &Checkpoint, signature: &[u8]) -> Option<String> {
        let note = note(&checkpoint.text(&self.name), &self.name, &self.public, signature);
        self.open(&note).map(|_| note)
    }

    /// Reads a public key: `name+id+key`; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.trim_ascii().split_once('+')?;
        let (told, encoded) = rest.split_once('+')?;
        let public = *key(encoded)?;
        let id = u32::from_be_bytes(id(name, &public));
        (told == format!("{id:08x}")).then(|| Self::new(name, public)).flatten()
    }

    /// The checkpoint of a note that this key has signed; `None` for any other text.
    #[must_use]
    pub fn open(&self, note: &str) -> Option<Checkpoint> {
        let (text, signatures) = note.split_once("\n\n")?;
        let text = format!("{text}\n");
        let public = UnparsedPublicKey::new(&ED25519, self.public);
        let id = id(&self.name, &self.public);
        let holds = |line: &str| {
            let (name, signature) = line.strip_prefix(SIGNATURE)?.split_once(' ')?;
            let signature = STANDARD.decode(signature).ok()?;
            let signature = signature.strip_prefix(&id).filter(|_| *name == *self.name)?;
            public.verify(text.as_bytes(), signature).ok()
        };
        let checkpoint = Checkpoint::read(note)?;
        signatures.lines().any(|line| holds(line).is_some()).then_some(checkpoint)
    }
}

impl Checkpoint {
    /// The text that a key of that name signs.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        let Position { chain, number, digest } = self.last;
        format!("{name}/{chain}\n{number}\n{}\n", STANDARD.encode(digest.bytes()))
    }

    /// The checkpoint of a note that one of these keys has signed, or where there are none, whoever has; `None` for any
    /// other text.
    #[must_use]
    pub fn read_by(verifiers: &[NoteVerifier], note: &str) -> Option<Self> {
        match verifiers {
            [] => Self::read(note),
            verifiers => verifiers.iter().find_map(|verifier| verifier.open(note)),
        }
    }

    /// The checkpoint of a note, whoever has signed it; `None` for any other text.
    #[must_use]
    pub fn read(note: &str) -> Option<Self> {
        let (text, _) = note.split_once("\n\n")?;
        let mut lines = text.lines();
        let (_, chain) = lines.next()?.rsplit_once('/')?;
        let (chain, number) = (ChainId::parse(chain)?, lines.next()?.parse().ok()?);
        let digest = digest(lines.next()?)?;
        lines.next().is_none().then_some(Self { last: Position { chain, number, digest } })
    }
}

/// `name+id+key`.
impl fmt::Display for NoteVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(id(&self.name, &self.public));
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode([&[KIND], &self.public[..]].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_verifies_its_own_notes_alone() {
        let signer = NoteSigner::of_seed("gate.example/audit", &[7; 32]).unwrap();
        let text = signer.text(&[7; 32]);
        let (signer, verifier) = (NoteSigner::parse(&format!("{}\n", &*text)).unwrap(), signer.verifier().unwrap());
        assert_eq!(NoteVerifier::parse(&verifier.to_string()), Some(verifier.clone()));
        let last = Position { chain: ChainId::new(9), number: 3, digest: Digest::of(b"x") };
        let note = signer.sign(&Checkpoint { last });
        assert_eq!(verifier.open(&note), Some(Checkpoint { last }));
        assert!(note.starts_with("gate.example/audit/0000000000000009\n3\n"), "{note}");
        assert_eq!(verifier.open(&note.replacen("\n3\n", "\n4\n", 1)), None);
        let other = NoteSigner::of_seed("gate.example/audit", &[8; 32]).unwrap();
        assert_eq!(other.verifier().unwrap().open(&note), None);
        let signature = signer.key.sign(Checkpoint { last }.text("gate.example/audit").as_bytes());
        assert_eq!(verifier.note(&Checkpoint { last }, signature.as_ref()), Some(note.clone()));
        assert_eq!(verifier.note(&Checkpoint { last }, &[0; 64]), None);
        let renamed = NoteSigner::of_seed("other", &[7; 32]).unwrap();
        assert_eq!(renamed.verifier().unwrap().open(&note), None);
        for bad in ["", "a b", "a+b"] {
            assert!(NoteSigner::of_seed(bad, &[7; 32]).is_none(), "{bad}");
        }
        assert!(NoteSigner::parse(&text.replace("gate", "gape")).is_none(), "the id is of another name");
    }
}
