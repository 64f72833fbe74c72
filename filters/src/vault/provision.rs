//! Checks that Vault can make agents' tokens, without making one.

use std::sync::Arc;

use serde_json::json;

use super::{VaultRequest, errors, post};
use crate::names::Namespace;
use crate::path::{PathProblem, VaultPath};

/// The role and policies that tokens are to be made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Making {
    /// The token role.
    pub role: Arc<str>,
    /// Policies that its tokens are to carry; empty where no agent is known.
    pub policies: Vec<Arc<str>>,
    /// True where they are batch tokens.
    pub batch: bool,
    /// Where they are made.
    pub namespace: Namespace,
}

/// The part that is missing where Vault makes no token by a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// There is no such role.
    Role,
    /// The policy of the gate's own login does not allow the role.
    Right,
    /// The role does not allow what its tokens are to carry.
    Leave,
    /// The gate's own login is a token that may make none.
    Maker,
    /// There is no such namespace.
    Namespace,
}

/// Asks for a token that Vault refuses last of all, for its time to live: where it refuses anything
/// else, that is missing.
///
/// # Errors
/// A bad role name.
pub fn try_role(making: &Making) -> Result<VaultRequest, PathProblem> {
    let path = VaultPath::render(&["auth/token/create", &making.role])?;
    let body = json!({
        "policies": making.policies.iter().map(|policy| &**policy).collect::<Vec<_>>(),
        "no_default_policy": true,
        "type": if making.batch { "batch" } else { "service" },
        "ttl": "-1s",
        "renewable": false,
    });
    Ok(post(path, &body, true))
}

/// The words of Vault and OpenBao for a role by which they make no token, and the part that is missing.
const SAID: [(&str, Lack); 8] = [
    ("unknown role", Lack::Role),
    ("must be subset of", Lack::Leave),
    ("is disallowed by this role", Lack::Leave),
    ("invalid 'entity_alias' value", Lack::Leave),
    ("batch tokens cannot create more tokens", Lack::Maker),
    ("restricted use token cannot", Lack::Maker),
    ("privileges required to directly generate a token in a child namespace", Lack::Right),
    ("root or sudo privileges required", Lack::Maker),
];

/// The missing part, by Vault's answer to a wish for a token; `None` where it says nothing of the kind.
#[must_use]
pub fn lack(status: u16, body: &[u8]) -> Option<Lack> {
    let told = errors(body)?;
    let says = |phrase: &str| told.iter().any(|error| error.contains(phrase));
    match status {
        400 => SAID.iter().find(|(phrase, _)| says(phrase)).map(|(_, lack)| *lack),
        403 if says("permission denied") => Some(Lack::Right),
        404 if says("namespace not found") => Some(Lack::Namespace),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_from_a_vault_that_is_away() {
        for (status, error, lacks) in [
            (400, "unknown role portcullis", Some(Lack::Role)),
            (403, "1 error occurred:\n\t* permission denied\n\n", Some(Lack::Right)),
            (400, "token policies ([\"x\"]) must be subset of the role's allowed policies ([])", Some(Lack::Leave)),
            (400, "batch tokens cannot create more tokens", Some(Lack::Maker)),
            (
                400,
                "root or sudo privileges required to directly generate a token in a child namespace",
                Some(Lack::Right),
            ),
            (404, "namespace not found", Some(Lack::Namespace)),
            (400, "ttl must be positive", None),
            (503, "Vault is sealed", None),
            (500, "unknown role portcullis", None),
        ] {
            assert_eq!(lack(status, json!({"errors": [error]}).to_string().as_bytes()), lacks, "{error}");
        }
        assert_eq!(lack(403, b"<html>permission denied</html>"), None, "a balancer's page");
    }
}
