//! Whose bearer tokens are believed.

use filters::jwt::{Issuer, KeySet, LEAST_SECRET, LEEWAY};
use filters::scope::Scopes;

use super::super::fields::Fields;

/// The issuer; `None` where there are no keys or JWTs are switched off.
pub(super) fn issuer(top: &Fields<'_>) -> Option<Issuer> {
    let keys = public_keys(top, shared_secret(top, KeySet::default()));
    let enabled = top.flag("auth_jwt_enabled").unwrap_or(false) && !keys.is_empty();
    let issuer = Issuer {
        name: top.text("jwt_issuer")?.value.into(),
        audiences: vec![top.text("jwt_audience")?.value.into()],
        keys,
        leeway: LEEWAY,
        require_kid: top.flag("jwt_require_kid")?,
        validate_issuer: top.flag("jwt_validate_issuer")?,
        validate_audience: top.flag("jwt_validate_audience")?,
        default_scopes: Scopes::NONE,
        subject_claim: "sub".into(),
    };
    enabled.then_some(issuer)
}

fn shared_secret(top: &Fields<'_>, keys: KeySet) -> KeySet {
    const NAME: &str = "jwt_hs256_secret";
    let Some(secret) = top.secret(NAME) else { return keys };
    match keys.clone().with_secret(&secret.value) {
        Some(keys) => keys,
        None => {
            let wrong = format!("has fewer than {LEAST_SECRET} bytes");
            top.problem(NAME, &secret.place, &wrong, "use a random one, such as `openssl rand -hex 32` prints");
            keys
        }
    }
}

fn public_keys(top: &Fields<'_>, keys: KeySet) -> KeySet {
    const NAME: &str = "jwt_jwks_file";
    let Some(path) = top.text(NAME) else { return keys };
    let Some(text) = top.source.text_of(&path.place, &top.label(NAME), &path.value) else { return keys };
    match keys.clone().with_jwks(text.as_bytes()) {
        Ok(keys) => keys,
        Err(problem) => {
            let wrong = format!("names a file that {problem}");
            top.problem(NAME, &path.place, &wrong, "write the issuer's public keys to it (RFC 7517)");
            keys
        }
    }
}
