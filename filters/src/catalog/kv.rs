//! Key/value secrets, version 2.
//! API: <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>

use std::borrow::Cow;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::{Done, data_of, done, write};
use crate::grants::{Engine, Resource, Space};
use crate::operation::{Absent, Ask, Describe, Facts, Hints, Kind, Plan, unfit};
use crate::path::SecretPath;
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::vault::Method;

/// Most versions that one call may undelete or destroy.
const MAX_VERSIONS: usize = 100;

const PATH_SHARED: &[(&str, Kind)] = &[("shared", Kind::Plain)];

fn space(shared: bool) -> Space {
    if shared { Space::Shared } else { Space::Own }
}

fn secret(path: &str, shared: bool) -> Result<Option<Resource>, Refusal> {
    Ok(Some(Resource::Secret(space(shared), SecretPath::parse(path)?)))
}

fn ask(method: Method, api: &str, body: Option<Vec<u8>>, repeatable: bool) -> Ask {
    Ask::Vault { method, api: api.to_owned(), query: None, body: body.map(Bytes::from), repeatable }
}

/// `kv.read`.
pub(super) struct Read;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadArguments<'a> {
    /// Path of the secret below the agent's namespace, segments joined by '/'.
    #[serde(borrow)]
    path: Cow<'a, str>,
    /// The version to read; the latest where it is absent.
    #[serde(default)]
    #[schemars(range(min = 1))]
    version: Option<u64>,
    /// Whether the path is below the shared prefix instead.
    #[serde(default)]
    shared: bool,
}

/// A secret and which version of it this is.
#[derive(Serialize, JsonSchema)]
pub(super) struct ReadAnswer<'a> {
    /// The secret's fields.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    data: &'a RawValue,
    /// Its version, from 1.
    version: u64,
    /// When that version was written (RFC 3339).
    created_time: Cow<'a, str>,
}

#[derive(Deserialize)]
struct VaultSecret<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    metadata: VaultVersion<'a>,
}

#[derive(Deserialize)]
struct VaultVersion<'a> {
    version: u64,
    #[serde(borrow)]
    created_time: Cow<'a, str>,
}

impl Describe for Read {
    type Arguments<'a> = ReadArguments<'a>;
    type Answer<'a> = ReadAnswer<'a>;
    const FACTS: Facts = Facts {
        name: "kv.read",
        title: "Read a secret",
        summary: "Reads a secret of the agent's, the latest version or the one named.",
        scope: Some(Scope::Read),
        engine: Some(Engine::Kv),
        hints: Hints { read_only: true, destructive: false, idempotent: true },
        method: "GET",
        template: "/secrets/{path}",
        query: &[("version", Kind::Plain), ("shared", Kind::Plain)],
        takes_body: false,
        success: 200,
        absent: Absent::NotFound,
    };

    fn plan(arguments: ReadArguments<'_>) -> Result<Plan, Refusal> {
        let query = match arguments.version {
            Some(0) => return Err(unfit("/version", "a version from 1")),
            version => version.map(|version| ("version", version)),
        };
        let ask = Ask::Vault { method: Method::Get, api: "data".into(), query, body: None, repeatable: true };
        Ok((secret(&arguments.path, arguments.shared)?, ask))
    }

    fn project(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let secret: VaultSecret<'_> = data_of(body)?;
        let VaultVersion { version, created_time } = secret.metadata;
        write(&ReadAnswer { data: secret.data, version, created_time }, out)
    }
}

/// `kv.write`.
pub(super) struct Write;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteArguments<'a> {
    /// Path of the secret below the agent's namespace, segments joined by '/'.
    #[serde(borrow)]
    path: Cow<'a, str>,
    /// The secret's fields; they replace all that were there.
    #[serde(borrow)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    data: &'a RawValue,
    /// Write only if this is the current version; 0 for a secret that is not there yet.
    #[serde(default)]
    cas: Option<u64>,
    /// Whether the path is below the shared prefix instead.
    #[serde(default)]
    shared: bool,
}

/// The version that was written.
#[derive(Serialize, JsonSchema)]
pub(super) struct WriteAnswer<'a> {
    /// Its number, from 1.
    version: u64,
    /// When it was written (RFC 3339).
    created_time: Cow<'a, str>,
}

impl Describe for Write {
    type Arguments<'a> = WriteArguments<'a>;
    type Answer<'a> = WriteAnswer<'a>;
    const FACTS: Facts = Facts {
        name: "kv.write",
        title: "Write a secret",
        summary: "Writes a new version of a secret of the agent's, if wanted only over a given version.",
        scope: Some(Scope::Write),
        engine: Some(Engine::Kv),
        hints: Hints { read_only: false, destructive: false, idempotent: false },
        method: "PUT",
        template: "/secrets/{path}",
        query: PATH_SHARED,
        takes_body: true,
        success: 200,
        absent: Absent::NotFound,
    };

    fn plan(arguments: WriteArguments<'_>) -> Result<Plan, Refusal> {
        let data = arguments.data.get();
        if !data.starts_with('{') {
            return Err(unfit("/data", "an object"));
        }
        let mut body = Vec::with_capacity(data.len() + 48);
        body.extend_from_slice(b"{\"data\":");
        body.extend_from_slice(data.as_bytes());
        if let Some(cas) = arguments.cas {
            body.extend_from_slice(b",\"options\":{\"cas\":");
            body.extend_from_slice(itoa::Buffer::new().format(cas).as_bytes());
            body.push(b'}');
        }
        body.push(b'}');
        let ask = ask(Method::Post, "data", Some(body), false);
        Ok((secret(&arguments.path, arguments.shared)?, ask))
    }

    fn project(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let VaultVersion { version, created_time } = data_of(body)?;
        write(&WriteAnswer { version, created_time }, out)
    }
}

/// `kv.list`.
pub(super) struct List;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListArguments<'a> {
    /// Prefix whose direct children are listed; the root where it is absent.
    #[serde(borrow, default)]
    prefix: Cow<'a, str>,
    /// Whether the prefix is below the shared prefix instead.
    #[serde(default)]
    shared: bool,
}

/// Names directly below a prefix.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ListAnswer<'a> {
    /// The names; one that ends in '/' has names below it.
    #[serde(borrow)]
    #[schemars(with = "Vec<String>")]
    keys: &'a RawValue,
}

impl Describe for List {
    type Arguments<'a> = ListArguments<'a>;
    type Answer<'a> = ListAnswer<'a>;
    const FACTS: Facts = Facts {
        name: "kv.list",
        title: "List secrets",
        summary: "Lists the names of the agent's secrets directly below a prefix.",
        scope: Some(Scope::List),
        engine: Some(Engine::Kv),
        hints: Hints { read_only: true, destructive: false, idempotent: true },
        method: "GET",
        template: "/secrets",
        query: &[("prefix", Kind::Text), ("shared", Kind::Plain)],
        takes_body: false,
        success: 200,
        absent: Absent::Empty("{\"keys\":[]}"),
    };

    fn plan(arguments: ListArguments<'_>) -> Result<Plan, Refusal> {
        let prefix = SecretPath::parse_prefix(&arguments.prefix)?;
        let ask =
            Ask::Vault { method: Method::List, api: "metadata".into(), query: None, body: None, repeatable: true };
        Ok((Some(Resource::Names(space(arguments.shared), prefix)), ask))
    }

    fn project(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        write(&data_of::<ListAnswer<'_>>(body)?, out)
    }
}

/// `kv.delete`.
pub(super) struct Delete;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteArguments<'a> {
    /// Path of the secret below the agent's namespace, segments joined by '/'.
    #[serde(borrow)]
    path: Cow<'a, str>,
    /// Whether the path is below the shared prefix instead.
    #[serde(default)]
    shared: bool,
}

impl Describe for Delete {
    type Arguments<'a> = DeleteArguments<'a>;
    type Answer<'a> = Done;
    const FACTS: Facts = Facts {
        name: "kv.delete",
        title: "Delete a secret",
        summary: "Deletes the latest version of a secret of the agent's; it can be undeleted.",
        scope: Some(Scope::Delete),
        engine: Some(Engine::Kv),
        hints: Hints { read_only: false, destructive: true, idempotent: true },
        method: "DELETE",
        template: "/secrets/{path}",
        query: PATH_SHARED,
        takes_body: false,
        success: 204,
        absent: Absent::NotFound,
    };

    fn plan(arguments: DeleteArguments<'_>) -> Result<Plan, Refusal> {
        Ok((secret(&arguments.path, arguments.shared)?, ask(Method::Delete, "data", None, true)))
    }

    fn project(_: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        done(out)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionsArguments<'a> {
    /// Path of the secret below the agent's namespace, segments joined by '/'.
    #[serde(borrow)]
    path: Cow<'a, str>,
    /// The versions, from 1; at most 100.
    #[schemars(length(min = 1, max = 100), inner(range(min = 1)))]
    versions: Vec<u64>,
    /// Whether the path is below the shared prefix instead.
    #[serde(default)]
    shared: bool,
}

fn plan_versions(api: &str, arguments: &VersionsArguments<'_>) -> Result<Plan, Refusal> {
    let versions = &arguments.versions;
    if versions.is_empty() || versions.len() > MAX_VERSIONS || versions.contains(&0) {
        return Err(unfit("/versions", "1 to 100 versions, each from 1"));
    }
    let body = serde_json::to_vec(&serde_json::json!({ "versions": versions })).map_err(|_| Refusal::Internal)?;
    Ok((secret(&arguments.path, arguments.shared)?, ask(Method::Post, api, Some(body), true)))
}

/// `kv.undelete`.
pub(super) struct Undelete;

impl Describe for Undelete {
    type Arguments<'a> = VersionsArguments<'a>;
    type Answer<'a> = Done;
    const FACTS: Facts = Facts {
        name: "kv.undelete",
        title: "Undelete versions of a secret",
        summary: "Brings deleted versions of a secret of the agent's back.",
        scope: Some(Scope::Write),
        engine: Some(Engine::Kv),
        hints: Hints { read_only: false, destructive: false, idempotent: true },
        method: "POST",
        template: "/secrets/{path}:undelete",
        query: PATH_SHARED,
        takes_body: true,
        success: 200,
        absent: Absent::NotFound,
    };

    fn plan(arguments: VersionsArguments<'_>) -> Result<Plan, Refusal> {
        plan_versions("undelete", &arguments)
    }

    fn project(_: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        done(out)
    }
}

/// `kv.destroy`.
pub(super) struct Destroy;

impl Describe for Destroy {
    type Arguments<'a> = VersionsArguments<'a>;
    type Answer<'a> = Done;
    const FACTS: Facts = Facts {
        name: "kv.destroy",
        title: "Destroy versions of a secret",
        summary: "Destroys versions of a secret of the agent's for good.",
        scope: Some(Scope::Write),
        engine: Some(Engine::Kv),
        hints: Hints { read_only: false, destructive: true, idempotent: true },
        method: "POST",
        template: "/secrets/{path}:destroy",
        query: PATH_SHARED,
        takes_body: true,
        success: 200,
        absent: Absent::NotFound,
    };

    fn plan(arguments: VersionsArguments<'_>) -> Result<Plan, Refusal> {
        plan_versions("destroy", &arguments)
    }

    fn project(_: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        done(out)
    }
}
