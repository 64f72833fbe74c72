//! Requests to Vault by which an operator's policies are synced.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Method, VaultRequest, errors, post};
use crate::path::{PathProblem, VaultPath};

const POLICIES: &str = "sys/policies/acl";
const TOKEN_ROLES: &str = "auth/token/roles";

/// The description of a token role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRole {
    /// Its name.
    pub name: String,
    /// Policies that its tokens may carry.
    pub allowed: Vec<String>,
    /// The same, by patterns.
    pub allowed_globs: Vec<String>,
    /// True where its tokens carry an entity's alias.
    pub aliased: bool,
    /// True where its tokens are service tokens unless asked otherwise.
    pub service: bool,
}

impl TokenRole {
    fn body(&self) -> Value {
        json!({
            "orphan": true,
            "renewable": true,
            "token_type": if self.service { "service" } else { "default-batch" },
            "token_no_default_policy": true,
            "allowed_policies": self.allowed,
            "allowed_policies_glob": self.allowed_globs,
            "allowed_entity_aliases": if self.aliased { vec!["*"] } else { Vec::new() },
        })
    }

    /// True where `answer`, Vault's to [`read_token_role`], says the same; `None` where it is not
    /// Vault's.
    #[must_use]
    pub fn is_what_stands(&self, answer: &[u8]) -> Option<bool> {
        let answer: serde_json::Map<String, Value> = data(answer)?;
        let same = |(name, wanted): (&String, &Value)| {
            let stands = answer.get(name).unwrap_or(&Value::Null);
            // Vault leaves out, or gives as null, what is empty.
            stands == wanted || stands.is_null() && (wanted == &json!([]) || wanted == &json!(false))
        };
        self.body().as_object().map(|body| body.iter().all(same))
    }
}

/// Lists the names of all policies.
///
/// # Errors
/// Never in practice: the path is fixed.
pub fn list_policies() -> Result<VaultRequest, PathProblem> {
    Ok(VaultRequest::new(Method::List, VaultPath::render(&[POLICIES])?, None, true))
}

/// True where a 404 says that there is no such namespace.
#[must_use]
pub fn is_no_namespace(body: &[u8]) -> bool {
    errors(body).is_some_and(|errors| errors.iter().any(|error| error.contains("namespace not found")))
}

/// Reads a policy.
///
/// # Errors
/// A bad name.
pub fn read_policy(name: &str) -> Result<VaultRequest, PathProblem> {
    Ok(VaultRequest::new(Method::Get, VaultPath::render(&[POLICIES, name])?, None, true))
}

/// Writes a policy.
///
/// # Errors
/// A bad name.
pub fn write_policy(name: &str, hcl: &str) -> Result<VaultRequest, PathProblem> {
    Ok(post(VaultPath::render(&[POLICIES, name])?, &json!({"policy": hcl}), true))
}

/// Removes a policy.
///
/// # Errors
/// A bad name.
pub fn delete_policy(name: &str) -> Result<VaultRequest, PathProblem> {
    Ok(VaultRequest::new(Method::Delete, VaultPath::render(&[POLICIES, name])?, None, true))
}

/// Reads a token role.
///
/// # Errors
/// A bad name.
pub fn read_token_role(name: &str) -> Result<VaultRequest, PathProblem> {
    Ok(VaultRequest::new(Method::Get, VaultPath::render(&[TOKEN_ROLES, name])?, None, true))
}

/// Writes a token role.
///
/// # Errors
/// A bad name.
pub fn write_token_role(role: &TokenRole) -> Result<VaultRequest, PathProblem> {
    Ok(post(VaultPath::render(&[TOKEN_ROLES, &role.name])?, &role.body(), true))
}

/// Asks for the HMAC that an audit device of Vault's writes in place of `text`.
///
/// # Errors
/// A bad name of the device.
pub fn audit_hash(device: &str, text: &str) -> Result<VaultRequest, PathProblem> {
    Ok(post(VaultPath::render(&["sys/audit-hash", device])?, &json!({"input": text}), true))
}

/// Asks for the accessor of the token method, by which entities' aliases are named.
///
/// # Errors
/// Never in practice: the path is fixed.
pub fn token_method() -> Result<VaultRequest, PathProblem> {
    Ok(VaultRequest::new(Method::Get, VaultPath::render(&["sys/auth/token"])?, None, true))
}

/// The names in an answer to [`list_policies`].
#[must_use]
pub fn names(answer: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Names {
        keys: Vec<String>,
    }
    data::<Names>(answer).map(|names| names.keys)
}

/// The policy in an answer to [`read_policy`].
#[must_use]
pub fn policy(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Text {
        policy: String,
    }
    data::<Text>(answer).map(|text| text.policy)
}

/// The accessor in an answer to [`token_method`].
#[must_use]
pub fn accessor(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Method {
        accessor: String,
    }
    data::<Method>(answer).map(|method| method.accessor)
}

fn data<T: for<'a> Deserialize<'a>>(answer: &[u8]) -> Option<T> {
    #[derive(Deserialize)]
    struct DataAnswer<T> {
        data: T,
    }
    serde_json::from_slice::<DataAnswer<T>>(answer).ok().map(|answer| answer.data)
}
