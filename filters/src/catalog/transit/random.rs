//! Random bytes.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use super::TRANSIT;
use crate::grants::Resource;
use crate::json::Whole;
use crate::lifetime::WrapTtl;
use crate::operation::{About, Annotations, Ask, Body, Call, Describe, Kind, OperationSpec, Plan, Reach, Touched};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::{Member, Shape, Type};

/// Most random bytes in one call; Vault's own limit is 128 KiB.
const MAX_BYTES: u64 = 65_536;
/// The number where none is given.
const BYTES: u64 = 32;

/// `transit.random`.
pub(in crate::catalog) struct Random;

/// The encoding of bytes as text.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// Base64 with padding (RFC 4648 section 4).
    #[default]
    Base64,
    /// Lower-case hexadecimal.
    Hex,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct RandomArguments {
    /// Number of bytes, 1 to 65536; 32 where it is absent.
    #[serde(default)]
    bytes: Option<Whole<1, MAX_BYTES>>,
    /// Form in which they are written; base64 where it is absent.
    #[serde(default)]
    format: Option<Format>,
    /// Answer with a handle that is redeemed once, within this time.
    #[serde(default)]
    #[schemars(title = "Wrap the answer for, say, 5m")]
    wrap_ttl: Option<WrapTtl>,
}

impl Describe for Random {
    type Arguments<'a> = RandomArguments;
    const SPEC: OperationSpec = OperationSpec {
        name: "transit.random",
        title: "Random bytes",
        summary: "Gives random bytes from Vault, as base64 or hexadecimal.",
        scope: Some(Scope::Read),
        engine: Some(TRANSIT),
        touch: Some(nothing),
        named: false,
        annotations: Annotations { read_only: true, destructive: false, idempotent: false },
        method: "GET",
        template: "/transit/random",
        query: &[("bytes", Kind::Plain), ("format", Kind::Text)],
        takes_body: false,
        reach: Reach { behind: Some("bytes"), ..Reach::update(&["random"]) },
        secret: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "Random bytes from Vault's source of entropy.",
        members: &[Member::new(
            "random_bytes",
            &["data", "random_bytes"],
            Type::Text,
            "The bytes, in the format asked for.",
        )],
    };

    fn plan(arguments: RandomArguments) -> Result<Plan, Refusal> {
        let bytes = arguments.bytes.map_or(BYTES, Whole::get);
        let body = match arguments.format.unwrap_or_default() {
            Format::Base64 => "{\"format\":\"base64\"}",
            Format::Hex => "{\"format\":\"hex\"}",
        };
        let call = Call {
            api: format!("random/{bytes}").into(),
            query: None,
            body: Some(Body::Whole(Bytes::from_static(body.as_bytes()))),
            repeatable: true,
        };
        Ok(Plan::about(nothing(About::default())?, Ask::Vault(call)).wrapped(arguments.wrap_ttl))
    }
}

/// Nothing that has a name.
fn nothing(_: About<'_>) -> Result<Touched, Refusal> {
    Ok(Resource::Nameless(TRANSIT).into())
}
