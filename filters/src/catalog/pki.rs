//! X.509 certificates.
//! API: <https://developer.hashicorp.com/vault/api-docs/secret/pki>

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Handle, Name, Segment, Something, Text};
use super::{named, post, posted};
use crate::grants::{Demand, Engine, EngineSpec, Service, Ttl};
use crate::handle::{Purpose, StandsFor};
use crate::lifetime::{Lifetime, WrapTtl};
use crate::notes::Note;
use crate::operation::{
    About, Annotations, Ask, Body, Call, Describe, Entry, IssuedKind, OperationSpec, Plan, Reach, Redeem, Redemption,
    Touched,
};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::{Member, Shape, Type};

/// The engine. The gate itself revokes certificates of it.
pub const PKI: Engine = Engine::of(&EngineSpec {
    name: "pki",
    title: "PKI",
    about: "Certificates.",
    service: Service::Vault("pki"),
    bounds_ttl: true,
    ..EngineSpec::VAULT
});

/// Its operations.
pub(super) static OPERATIONS: [Entry; 3] = [Entry::of::<Issue>(), Entry::of::<Sign>(), Entry::of::<Revoke>()];

const MAKES: Annotations = Annotations { read_only: false, destructive: false, idempotent: false };

const HANDLE: Member = Member::given("handle", Type::Text, "The certificate's handle: only this agent can revoke it.");
const CERTIFICATE: Member = Member::new("certificate", &["data", "certificate"], Type::Text, "The certificate, PEM.");
const ISSUER: Member =
    Member::new("issuing_ca", &["data", "issuing_ca"], Type::Text, "The certificate of its issuer, PEM.");
const CHAIN: Member =
    Member::new("ca_chain", &["data", "ca_chain"], Type::Texts, "The authorities above it, PEM.").or_absent();
const SERIAL: Member =
    Member::new("serial_number", &["data", "serial_number"], Type::Text, "Its serial number.").told("serial_number");
const EXPIRATION: Member = Member::new(
    "expiration",
    &["data", "expiration"],
    Type::Count,
    "The end of its validity, in seconds since the epoch.",
)
.or_absent();

/// `pki.issue`.
pub(super) struct Issue;

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IssueArguments<'a> {
    /// The PKI role.
    #[serde(borrow, skip_serializing)]
    role: Text<'a, Segment>,
    /// The common name.
    #[serde(borrow)]
    common_name: Text<'a, Name>,
    /// Further DNS names and email addresses, joined by commas.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Comma-separated")]
    alt_names: Option<Cow<'a, str>>,
    /// Addresses, joined by commas.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Comma-separated")]
    ip_sans: Option<Cow<'a, str>>,
    /// URIs, joined by commas.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Comma-separated")]
    uri_sans: Option<Cow<'a, str>>,
    /// Lifetime of the certificate; the PKI role's default where it is absent.
    #[serde(default, skip_serializing)]
    #[schemars(title = "Such as 1h")]
    ttl: Option<Lifetime>,
    /// Answer with a handle that is redeemed once, within this time.
    #[serde(default, skip_serializing)]
    #[schemars(title = "Wrap the answer for, say, 5m")]
    wrap_ttl: Option<WrapTtl>,
}

impl Describe for Issue {
    type Arguments<'a> = IssueArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "pki.issue",
        title: "Issue a certificate",
        summary: "Makes a new key and a certificate for it; revoke it by its handle.",
        scope: Some(Scope::Write),
        engine: Some(PKI),
        touch: Some(certificate),
        annotations: MAKES,
        template: "/pki/issue",
        reach: Reach::update(&["issue"]),
        secret: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "A certificate and its key.",
        members: &[
            HANDLE,
            CERTIFICATE,
            Member::new("private_key", &["data", "private_key"], Type::Text, "Its private key, PEM."),
            Member::new("private_key_type", &["data", "private_key_type"], Type::Text, "The key's algorithm."),
            ISSUER,
            CHAIN,
            SERIAL,
            EXPIRATION,
        ],
    };

    fn plan(arguments: IssueArguments<'_>) -> Result<Plan, Refusal> {
        let plan = issue(&arguments.role, "issue", arguments.ttl, &arguments)?.wrapped(arguments.wrap_ttl);
        Ok(plan.noting("common_name", Note::text(&arguments.common_name)))
    }
}

/// `pki.sign`.
pub(super) struct Sign;

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignArguments<'a> {
    /// The PKI role.
    #[serde(borrow, skip_serializing)]
    role: Text<'a, Segment>,
    /// The certificate signing request, PEM.
    #[serde(borrow)]
    #[schemars(title = "PEM")]
    csr: Text<'a, Something>,
    /// The common name, where it is not the request's.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    common_name: Option<Cow<'a, str>>,
    /// Further DNS names and email addresses, joined by commas.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Comma-separated")]
    alt_names: Option<Cow<'a, str>>,
    /// Addresses, joined by commas.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Comma-separated")]
    ip_sans: Option<Cow<'a, str>>,
    /// URIs, joined by commas.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Comma-separated")]
    uri_sans: Option<Cow<'a, str>>,
    /// Lifetime of the certificate; the PKI role's default where it is absent.
    #[serde(default, skip_serializing)]
    #[schemars(title = "Such as 1h")]
    ttl: Option<Lifetime>,
}

impl Describe for Sign {
    type Arguments<'a> = SignArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "pki.sign",
        title: "Sign a certificate request",
        summary: "Makes a certificate for a key that its owner keeps; revoke it by its handle.",
        scope: Some(Scope::Write),
        engine: Some(PKI),
        touch: Some(certificate),
        annotations: MAKES,
        template: "/pki/sign",
        reach: Reach::update(&["sign"]),
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape =
        &Shape { about: "A certificate.", members: &[HANDLE, CERTIFICATE, ISSUER, CHAIN, SERIAL, EXPIRATION] };

    fn plan(arguments: SignArguments<'_>) -> Result<Plan, Refusal> {
        issue(&arguments.role, "sign", arguments.ttl, &arguments)
    }
}

fn issue(
    role: &Text<'_, Segment>,
    api: &'static str,
    ttl: Option<Lifetime>,
    arguments: &impl Serialize,
) -> Result<Plan, Refusal> {
    let touched = certificate(About { ttl: ttl.map(Lifetime::seconds), ..About::named(role) })?;
    let call = posted(api, Body::bounded(arguments, ttl, None)?, false);
    Ok(Plan::about(touched, Ask::Issue(IssuedKind::Certificate, call)))
}

/// A certificate of a PKI role, which is bounded when it is made.
fn certificate(about: About<'_>) -> Result<Touched, Refusal> {
    let demand = Demand { ttl: about.ttl.map_or(Ttl::Unsaid, Ttl::Seconds), ..Demand::default() };
    Ok(Touched { demand, ..issued(about)? })
}

/// A certificate that was issued under a PKI role.
fn issued(about: About<'_>) -> Result<Touched, Refusal> {
    named(PKI, about.name)
}

fn revocation(_: Redeem, held: &StandsFor) -> Result<Call, Refusal> {
    #[derive(Serialize)]
    struct Revocation<'a> {
        serial_number: &'a str,
    }
    let StandsFor::Certificate { serial } = held else { return Err(Refusal::Forbidden) };
    post("revoke", &Revocation { serial_number: serial }, true)
}

/// `pki.revoke`.
pub(super) struct Revoke;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeArguments<'a> {
    /// The handle from the answer of pki.issue or pki.sign.
    #[serde(borrow)]
    #[schemars(title = "From pki.issue or pki.sign")]
    handle: Text<'a, Handle>,
}

impl Describe for Revoke {
    type Arguments<'a> = RevokeArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "pki.revoke",
        title: "Revoke a certificate",
        summary: "Revokes a certificate that was issued to this agent.",
        scope: Some(Scope::Write),
        engine: Some(PKI),
        touch: Some(issued),
        annotations: Annotations { read_only: false, destructive: true, idempotent: true },
        template: "/pki/revoke",
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "The time of the revocation.",
        members: &[Member::new(
            "revocation_time",
            &["data", "revocation_time"],
            Type::Count,
            "Seconds since the epoch.",
        )],
    };

    fn plan(arguments: RevokeArguments<'_>) -> Result<Plan, Refusal> {
        let redemption = Redemption {
            redeem: Redeem::RevokeCertificate,
            purpose: Purpose::Certificate,
            engine: Some(PKI),
            call: revocation,
        };
        Ok(Plan::held(&arguments.handle, redemption))
    }
}
