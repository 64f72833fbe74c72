//! The values of secrets.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{KV, NO_SECRET, PATH_SHARED, SECRET, WRITTEN, absent, ask, secret};
use crate::catalog::text::{Path, Text};
use crate::json::Whole;
use crate::lifetime::WrapTtl;
use crate::notes::Note;
use crate::operation::{Annotations, Ask, Call, Capability, Describe, Kind, OperationSpec, Plan, Reach, unfit};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::{Member, Shape, Type};
use crate::vault::Method;

/// `kv.read`.
pub(in crate::catalog) struct Read;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct ReadArguments<'a> {
    /// Path of the secret below the agent's namespace, segments joined by '/'.
    #[serde(borrow)]
    #[schemars(title = "Such as apps/db")]
    path: Text<'a, Path>,
    /// The version to read; the latest where it is absent.
    #[serde(default)]
    version: Option<Whole<1>>,
    /// True for a path below the shared prefix instead of the agent's namespace.
    #[serde(default)]
    #[schemars(title = "Below the shared prefix")]
    shared: Option<bool>,
    /// Answer with a handle that is redeemed once, within this time.
    #[serde(default)]
    #[schemars(title = "Wrap the answer for, say, 5m")]
    wrap_ttl: Option<WrapTtl>,
}

impl Describe for Read {
    type Arguments<'a> = ReadArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kv.read",
        title: "Read a secret",
        summary: "Reads a secret of the agent's, the latest version or the one named.",
        scope: Some(Scope::Read),
        engine: Some(KV),
        touch: Some(SECRET),
        annotations: Annotations { read_only: true, destructive: false, idempotent: true },
        method: "GET",
        template: "/secrets/{path}",
        query: &[("version", Kind::Plain), ("shared", Kind::Plain)],
        takes_body: false,
        absent: NO_SECRET,
        reach: Reach { method: Method::Get, apis: &["data"], may: &[Capability::Read], ..Reach::NOWHERE },
        secret: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "A secret and which version of it this is.",
        members: &[
            Member::new("data", &["data", "data"], Type::Object, "The secret's fields.").told("keys"),
            Member::new("version", &["data", "metadata", "version"], Type::Count, "Its version, from 1.")
                .told("version"),
            Member::new(
                "created_time",
                &["data", "metadata", "created_time"],
                Type::Text,
                "The time at which that version was written (RFC 3339).",
            ),
        ],
    };

    fn plan(arguments: ReadArguments<'_>) -> Result<Plan, Refusal> {
        let query = arguments.version.map(|version| ("version", version.get()));
        let call = Call { api: "data".into(), query, body: None, repeatable: true };
        let resource = secret(&arguments.path, arguments.shared == Some(true))?;
        Ok(Plan::about(resource, Ask::Vault(call)).wrapped(arguments.wrap_ttl))
    }
}

/// `kv.write`.
pub(in crate::catalog) struct Write;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct WriteArguments<'a> {
    /// Path of the secret below the agent's namespace, segments joined by '/'.
    #[serde(borrow)]
    #[schemars(title = "Such as apps/db")]
    path: Text<'a, Path>,
    /// The secret's fields.
    #[serde(borrow)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    data: &'a RawValue,
    /// Write only if this is the current version; 0 for a secret that is not there yet.
    #[serde(default)]
    #[schemars(title = "The version to replace; 0 for none")]
    cas: Option<Whole>,
    /// True for a path below the shared prefix instead of the agent's namespace.
    #[serde(default)]
    #[schemars(title = "Below the shared prefix")]
    shared: Option<bool>,
}

impl Describe for Write {
    type Arguments<'a> = WriteArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kv.write",
        title: "Write a secret",
        summary: "Writes a new version of a secret of the agent's, if wanted only over a given version.",
        scope: Some(Scope::Write),
        engine: Some(KV),
        touch: Some(SECRET),
        annotations: Annotations { read_only: false, destructive: false, idempotent: false },
        method: "PUT",
        template: "/secrets/{path}",
        query: PATH_SHARED,
        reach: Reach {
            apis: &["data"],
            may: &[Capability::Create, Capability::Update],
            aliases: OPTIONS,
            ..Reach::NOWHERE
        },
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = WRITTEN;

    fn plan(arguments: WriteArguments<'_>) -> Result<Plan, Refusal> {
        plan_write(&arguments)
    }
}

/// The object of Vault's body in which `cas` stands.
const OPTIONS: &[(&str, &str)] = &[("options", "")];

/// `{"data": …, "options": {"cas": …}}`, which writing and patching share.
fn plan_write(arguments: &WriteArguments<'_>) -> Result<Plan, Refusal> {
    let data = arguments.data.get();
    if !data.starts_with('{') {
        return Err(unfit("/data", "an object"));
    }
    let mut body = Vec::with_capacity(data.len() + 48);
    body.extend_from_slice(b"{\"data\":");
    body.extend_from_slice(data.as_bytes());
    if let Some(cas) = arguments.cas {
        body.extend_from_slice(b",\"options\":{\"cas\":");
        body.extend_from_slice(itoa::Buffer::new().format(cas.get()).as_bytes());
        body.push(b'}');
    }
    body.push(b'}');
    let touched = secret(&arguments.path, arguments.shared == Some(true))?;
    Ok(Plan::about(touched, ask("data", Some(body), false)).noting("keys", Note::fields(data)))
}

/// `kv.patch`.
pub(in crate::catalog) struct Patch;

impl Describe for Patch {
    type Arguments<'a> = WriteArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kv.patch",
        title: "Patch a secret",
        summary: "Changes the fields given and removes those given as null (RFC 7396); the others stay.",
        scope: Some(Scope::Write),
        engine: Some(KV),
        touch: Some(SECRET),
        annotations: Annotations { read_only: false, destructive: false, idempotent: false },
        method: "PATCH",
        template: "/secrets/{path}",
        query: PATH_SHARED,
        absent: absent("There is no such secret to patch: kv.write writes a new one."),
        reach: Reach {
            method: Method::Patch,
            apis: &["data"],
            may: &[Capability::Patch],
            aliases: OPTIONS,
            ..Reach::NOWHERE
        },
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = WRITTEN;

    fn plan(arguments: WriteArguments<'_>) -> Result<Plan, Refusal> {
        plan_write(&arguments)
    }
}
