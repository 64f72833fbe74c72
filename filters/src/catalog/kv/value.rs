//! The values of secrets.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{PATH_SHARED, ask, secret};
use crate::catalog::answer::{data_of, write};
use crate::grants::Engine;
use crate::operation::{Absent, Ask, Describe, Facts, Hints, Kind, Plan, unfit};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::vault::Method;

/// `kv.read`.
pub(in crate::catalog) struct Read;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct ReadArguments<'a> {
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
pub(in crate::catalog) struct ReadAnswer<'a> {
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
        named: true,
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
pub(in crate::catalog) struct Write;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct WriteArguments<'a> {
    /// Path of the secret below the agent's namespace, segments joined by '/'.
    #[serde(borrow)]
    path: Cow<'a, str>,
    /// The secret's fields.
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
pub(in crate::catalog) struct WriteAnswer<'a> {
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
        named: true,
        hints: Hints { read_only: false, destructive: false, idempotent: false },
        method: "PUT",
        template: "/secrets/{path}",
        query: PATH_SHARED,
        takes_body: true,
        success: 200,
        absent: Absent::NotFound,
    };

    fn plan(arguments: WriteArguments<'_>) -> Result<Plan, Refusal> {
        plan_write(Method::Post, &arguments)
    }

    fn project(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let VaultVersion { version, created_time } = data_of(body)?;
        write(&WriteAnswer { version, created_time }, out)
    }
}

/// `{"data": …, "options": {"cas": …}}`, which writing and patching share.
fn plan_write(method: Method, arguments: &WriteArguments<'_>) -> Result<Plan, Refusal> {
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
    Ok((secret(&arguments.path, arguments.shared)?, ask(method, "data", Some(body), false)))
}

/// `kv.patch`.
pub(in crate::catalog) struct Patch;

impl Describe for Patch {
    type Arguments<'a> = WriteArguments<'a>;
    type Answer<'a> = WriteAnswer<'a>;
    const FACTS: Facts = Facts {
        name: "kv.patch",
        title: "Patch a secret",
        summary: "Changes the fields given and removes those given as null (RFC 7396); the others stay.",
        scope: Some(Scope::Write),
        engine: Some(Engine::Kv),
        named: true,
        hints: Hints { read_only: false, destructive: false, idempotent: false },
        method: "PATCH",
        template: "/secrets/{path}",
        query: PATH_SHARED,
        takes_body: true,
        success: 200,
        absent: Absent::NotFound,
    };

    fn plan(arguments: WriteArguments<'_>) -> Result<Plan, Refusal> {
        plan_write(Method::Patch, &arguments)
    }

    fn project(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        Write::project(body, out)
    }
}
