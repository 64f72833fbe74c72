//! Why Vault rejects a request: what of it the caller is told, and what the log.

use std::collections::HashSet;

use serde_json::Value;

use super::{VaultRequest, errors};

/// The text where Vault's reason is not known.
pub const REJECTED: &str = "Vault rejected the request as invalid.";

/// Most bytes of Vault's reasons in the log.
const MOST: usize = 400;
/// Longest word of Vault's in the log, in bytes.
const WORD: usize = 24;

const NO_VERSION: &str = "The key has no such version.";
const NO_ROLE: &str = "Vault has no such role.";
const NO_CIPHERTEXT: &str = "The ciphertext is none that transit.encrypt or transit.rewrap has answered.";
const NO_SIGNATURE: &str = "The signature is none that transit.sign has answered.";
const NO_CSR: &str = "The csr is not a certificate request in PEM.";
const OTHER_TYPE: &str = "A key of this type cannot do that.";
const CONTEXT: &str = "The key is derived: a context is required.";
const USER: &str = "The role does not allow this user name.";
const ADDRESS: &str = "The role does not allow this address.";

/// Parts of what Vault and OpenBao say, all of which are there, and what that means. The first that
/// fits counts. The words are ours, since theirs may quote what they were given.
const REASONS: [(&[&str], &str); 48] = [
    // Transit.
    (&["version is too new"], NO_VERSION),
    (&["higher than the latest key version"], NO_VERSION),
    (&["no such key version"], NO_VERSION),
    (&["invalid key version"], NO_VERSION),
    (&["less than the minimum encryption key version"], "The key encrypts and signs with later versions only."),
    (&["disallowed by policy"], "The key takes no versions that old."),
    (&["invalid ciphertext"], NO_CIPHERTEXT),
    (&["message authentication failed"], "The ciphertext was made with another key or context, or was changed."),
    (&["invalid signature"], NO_SIGNATURE),
    (&["supplied signature"], NO_SIGNATURE),
    (&["invalid base64 signature"], NO_SIGNATURE),
    (&["context should be set either in all"], "Either all items have a context, or none has."),
    (&["missing 'context' for key derivation"], CONTEXT),
    (&["so context is required"], CONTEXT),
    (&["key not found"], "Vault has no such key."),
    (&["not supported for key type"], OTHER_TYPE),
    (&["does not support"], OTHER_TYPE),
    (&["unsupported algorithm"], "The key cannot do this algorithm."),
    // PKI.
    (&["common name", "not allowed by this role"], "The role does not allow this common name."),
    (&["subject alternate name", "not allowed by this role"], "The role does not allow one of the alternative names."),
    (&["email address", "not allowed by this role"], "The role does not allow this e-mail address."),
    (&["IP Subject Alternative Names are not allowed"], "The role allows no IP addresses."),
    (&["is not a valid IP address"], "An IP address is not one."),
    (&["URI Subject Alternative Names"], "The role does not allow these URIs."),
    (&["beyond the expiration of the CA certificate"], "It would outlive its authority: ask for a shorter ttl."),
    (&["common_name field is required"], "The role requires a common name."),
    (&["certificate request could not be parsed"], NO_CSR),
    (&["csr contains no data"], NO_CSR),
    (&["role requires keys of type"], "The role requires a key of another type."),
    (&["role requires a minimum of"], "The role requires a longer key."),
    (&["keys < 2048 bits"], "An RSA key has 2048 bits at least."),
    // SSH.
    (&["is not a valid value for valid_principals"], "The role does not allow one of the principals."),
    (&["not configured to allow any principals"], "The role allows no principals."),
    (&["empty valid principals not allowed"], "The role requires principals."),
    (&["failed to parse public_key"], "The public key is not one of SSH's."),
    (&["public_key failed to meet"], "The role does not allow a public key of this type or size."),
    (&["ttl is larger than maximum allowed"], "The role does not allow so long a ttl."),
    (&["extensions", "not on allowed list"], "The role does not allow one of the extensions."),
    (&["critical options not on allowed list"], "The role does not allow one of the critical options."),
    (&["cert_type", "not allowed by role"], "The role does not allow certificates of this type."),
    (&["Username"], USER),
    (&["IP does not belong"], ADDRESS),
    (&["Error validating IP"], ADDRESS),
    // All that have roles or texts.
    (&["refused JSON input", "number of strings"], "The JSON holds more names and texts than Vault takes."),
    (&["refused JSON input"], "The JSON needs more memory than Vault grants it."),
    (&["nknown role"], NO_ROLE),
    (&["Role", "not found"], NO_ROLE),
    (&["illegal base64 data"], "A text is not base64."),
];

/// Why Vault rejects a request, as far as it is one of the known reasons.
#[must_use]
pub fn reason(body: &[u8]) -> Option<&'static str> {
    let told = errors(body)?;
    let fits = |parts: &[&str]| told.iter().any(|error| parts.iter().all(|part| error.contains(part)));
    REASONS.iter().find(|(parts, _)| fits(parts)).map(|(_, meaning)| *meaning)
}

/// The sentences that stand for Vault's reasons, each once.
pub fn meanings() -> impl Iterator<Item = &'static str> {
    let before = |place: usize| REASONS.iter().take(place);
    let first = move |(place, (_, meaning)): (usize, &(_, &'static str))| {
        before(place).all(|(_, other)| other != meaning).then_some(*meaning)
    };
    REASONS.iter().enumerate().filter_map(first)
}

/// Vault's reason for rejecting a request, for the log: its words, with a `*` for each that has
/// anything but letters, or stands in what was asked. `None` where it says nothing.
#[must_use]
pub fn told(request: &VaultRequest, body: &[u8]) -> Option<String> {
    let errors = errors(body).filter(|errors| !errors.is_empty())?;
    let asked = asked(request);
    let mut told = String::new();
    for word in errors.iter().flat_map(|error| error.split_whitespace()) {
        let letters = word.trim_matches(|c: char| c.is_ascii_punctuation());
        let plain = letters.len() <= WORD && letters.bytes().all(|byte| byte.is_ascii_alphabetic());
        let shown = if plain && !asked.contains(letters) { letters } else { "*" };
        // One star for a whole value.
        if shown.is_empty() || shown == "*" && told.ends_with('*') {
            continue;
        }
        if told.len() + shown.len() > MOST {
            break;
        }
        told.extend([if told.is_empty() { "" } else { " " }, shown]);
    }
    Some(told)
}

/// The words of a request: of its path and of what its body holds, but for the names of Vault's own members.
fn asked(request: &VaultRequest) -> HashSet<String> {
    let mut words = HashSet::new();
    add(request.path(), &mut words);
    let body = request.body().and_then(|body| serde_json::from_slice(body).ok());
    if let Some(Value::Object(members)) = body {
        members.values().for_each(|value| add_value(value, &mut words));
    }
    words
}

fn add_value(value: &Value, words: &mut HashSet<String>) {
    match value {
        Value::String(text) => add(text, words),
        Value::Array(items) => items.iter().for_each(|item| add_value(item, words)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            add(name, words);
            add_value(value, words);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn add(text: &str, words: &mut HashSet<String>) {
    words.extend(text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()).map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::path::VaultPath;
    use crate::vault::Method;

    fn body(error: &str) -> Vec<u8> {
        serde_json::json!({"errors": [error]}).to_string().into_bytes()
    }

    #[test]
    fn known_reasons_are_told_in_words_of_ours() {
        for (error, told) in [
            ("illegal base64 data at input byte 0", Some("A text is not base64.")),
            ("common name CANARY not allowed by this role", Some("The role does not allow this common name.")),
            ("1 error occurred:\n\t* unknown role: CANARY\n\n", Some("Vault has no such role.")),
            ("Role \"CANARY\" not found", Some("Vault has no such role.")),
            (
                "cannot satisfy request, as TTL would result in notAfter of 2036-01-01T00:00:00Z that is beyond the \
                 expiration of the CA certificate at 2030-01-01T00:00:00Z",
                Some("It would outlive its authority: ask for a shorter ttl."),
            ),
            ("failed to parse public_key as SSH key: illegal base64 data", Some("The public key is not one of SSH's.")),
            ("CANARY", None),
        ] {
            assert_eq!(reason(&body(error)), told, "{error}");
        }
        assert_eq!(reason(b"<html>unknown role"), None);
        assert!(REASONS.iter().all(|(parts, told)| !parts.is_empty() && told.ends_with('.')));
    }

    #[test]
    fn the_log_has_no_word_of_what_was_asked() {
        let path = VaultPath::render(&["pki", "issue", "web"]).unwrap();
        let asked = r#"{"common_name":"canary horse","alt":["battery.example"],"data":{"staple":{"x":"y"}}}"#;
        let request = VaultRequest::new(Method::Post, path, Some(Bytes::from(asked)), true);
        for (error, shown) in [
            ("common name canary not allowed by role web", "common name * not allowed by role *"),
            ("the value \"canary horse\" is not (good)", "the value * is not good"),
            ("bad \"battery.example\", staple: 4711 hunter2", "bad *"),
        ] {
            assert_eq!(told(&request, &body(error)).as_deref(), Some(shown));
        }
        assert_eq!(told(&request, br#"{"errors":[]}"#), None);
        assert!(told(&request, &body(&"word ".repeat(500))).unwrap().len() <= MOST + 1);
    }
}
