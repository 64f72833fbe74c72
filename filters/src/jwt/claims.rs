//! The claims of a signed token, with the types that RFC 7519 gives them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{Bound, Refused, RoleRules};
use crate::scope::{Scope, Scopes};
use crate::secret::Digest;

/// The claims that name scopes.
const SCOPES: [&str; 3] = ["scope", "scopes", "scp"];

/// Claims that a token may have or not, of which some issuers write `null`.
const OPTIONAL: [&str; 6] = ["scope", "scopes", "scp", "iat", "nbf", "cnf"];

/// Seconds since the epoch that no arithmetic here overflows.
const LATEST: f64 = 9e15;

/// The claims of a token, none of which has been judged yet.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// Where `null` says no more than absence would, it is read as that.
    ///
    /// # Errors
    /// [`Refused::Claim`] where a claim is not of its type, whether or not
    /// anybody asks for it.
    pub(super) fn read(mut members: Map<String, Value>) -> Result<Self, Refused> {
        members.retain(|name, value| !(value.is_null() && OPTIONAL.contains(&name.as_str())));
        let claims = Self(members);
        claims.time("iat")?;
        claims.time("nbf")?;
        claims.time("exp")?;
        claims.text("iss")?;
        claims.text("sub")?;
        claims.names("aud")?;
        Ok(claims)
    }

    /// A text; [`None`] where absent.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, Refused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(Refused::Claim(name)),
        }
    }

    /// The text of a claim whose name is configured.
    pub(super) fn subject(&self, name: &str) -> Result<&str, Refused> {
        let text = self.0.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).ok_or(Refused::Claim("sub"))
    }

    /// Seconds since the epoch, fractions cut off.
    pub(super) fn time(&self, name: &'static str) -> Result<Option<i64>, Refused> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|_| value.is_number());
        match seconds.filter(|seconds| (0.0..=LATEST).contains(seconds)) {
            #[allow(clippy::cast_possible_truncation)]
            Some(seconds) => Ok(Some(seconds as i64)),
            None => Err(Refused::Claim(name)),
        }
    }

    /// A text or a list of texts; none where absent.
    pub(super) fn names(&self, name: &'static str) -> Result<Vec<&str>, Refused> {
        match self.0.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(list)) => list.iter().map(|item| item.as_str().ok_or(Refused::Claim(name))).collect(),
            Some(_) => Err(Refused::Claim(name)),
        }
    }

    /// The scopes in `scope` (RFC 8693), `scopes` or `scp`: a text, separated by
    /// spaces or commas, or a list of such texts. Words that are no scope of
    /// ours count for nothing. `None` where all three are absent.
    ///
    /// # Errors
    /// [`Refused::Claim`] where two of them name different scopes.
    pub(super) fn scopes(&self) -> Result<Option<Scopes>, Refused> {
        let known = |word: &str| Scope::ALL.into_iter().find(|scope| scope.name() == word);
        let mut found = None;
        for name in SCOPES {
            if !self.0.contains_key(name) {
                continue;
            }
            let texts = self.names(name)?.into_iter();
            let words = texts.flat_map(|text| text.split(|c: char| c == ',' || c.is_ascii_whitespace()));
            let scopes: Scopes = words.filter_map(known).collect();
            if found.is_some_and(|other| other != scopes) {
                return Err(Refused::Claim(name));
            }
            found = Some(scopes);
        }
        Ok(found)
    }

    /// The first rule of which the token has the value: in a list, or alone.
    /// A claim of another type has none.
    pub(super) fn first_of(&self, rules: &RoleRules) -> Option<usize> {
        let claim = match rules.claim.strip_prefix('/') {
            None => self.0.get(&*rules.claim)?,
            Some(pointer) => {
                let (name, rest) = pointer.split_once('/').map_or((pointer, None), |(name, rest)| (name, Some(rest)));
                let member = self.0.get(&name.replace("~1", "/").replace("~0", "~"))?;
                rest.map_or(Some(member), |rest| member.pointer(&format!("/{rest}")))?
            }
        };
        let has = |value: &str| match claim.as_array() {
            Some(list) => list.iter().any(|item| item == value),
            None => claim == value,
        };
        rules.values.iter().position(|value| has(value))
    }

    /// `cnf`. A token that is bound to anything else is refused, since that is not checked.
    pub(super) fn bound(&self) -> Result<Bound, Refused> {
        let Some(binding) = self.0.get("cnf") else { return Ok(Bound::default()) };
        let members = binding.as_object().ok_or(Refused::Claim("cnf"))?;
        let mut bound = Bound::default();
        for (name, value) in members {
            let of = match name.as_str() {
                "x5t#S256" => &mut bound.certificate,
                "jkt" => &mut bound.key,
                _ => return Err(Refused::Claim("cnf")),
            };
            *of = Some(value.as_str().and_then(digest).ok_or(Refused::Claim("cnf"))?);
        }
        if members.is_empty() { Err(Refused::Claim("cnf")) } else { Ok(bound) }
    }

    /// A SHA-256 in base64url.
    pub(super) fn digest(&self, name: &'static str) -> Result<Digest, Refused> {
        self.text(name)?.and_then(digest).ok_or(Refused::Claim(name))
    }
}

fn digest(text: &str) -> Option<Digest> {
    let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    Some(bytes.into())
}
