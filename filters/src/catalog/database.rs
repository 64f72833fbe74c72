//! Logins of databases, made on demand and leased.
//! API: <https://developer.hashicorp.com/vault/api-docs/secret/databases>

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Handle, Segment, Text};
use super::{named, post};
use crate::grants::{Engine, EngineSpec, GrantNames, Holds, Service};
use crate::handle::{Purpose, StandsFor};
use crate::lifetime::{Lifetime, WrapTtl};
use crate::operation::{
    About, Annotations, Ask, Call, Capability, Describe, Entry, IssuedKind, OperationSpec, Plan, Reach, Redeem,
    Redemption, Touched,
};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::{Member, Shape, Type};
use crate::vault::Method;

/// The engine.
pub const DATABASE: Engine = Engine::of(&EngineSpec {
    name: "database",
    title: "database",
    about: "Logins of databases.",
    holds: Holds::Names(GrantNames { example: "readonly", ..GrantNames::PLAIN }),
    service: Service::Vault("database"),
    ..EngineSpec::VAULT
});

/// The rest of a login's life.
const LASTS: Member = Member::given("lease_duration", Type::Count, "Seconds the login lasts, unless it is renewed.");

/// Its operations.
pub(super) static OPERATIONS: [Entry; 4] =
    [Entry::of::<IssueCreds>(), Entry::of::<LookUp>(), Entry::of::<Renew>(), Entry::of::<Revoke>()];

/// A database role.
fn role(about: About<'_>) -> Result<Touched, Refusal> {
    named(DATABASE, about.name)
}

/// Redeems the handle of a lease.
const fn of_lease(redeem: Redeem, call: fn(Redeem, &StandsFor) -> Result<Call, Refusal>) -> Redemption {
    Redemption { redeem, purpose: Purpose::Lease, engine: None, call }
}

fn renewal(redeem: Redeem, held: &StandsFor) -> Result<Call, Refusal> {
    #[derive(Serialize)]
    struct Renewal<'a> {
        lease_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        increment: Option<u32>,
    }
    let (Redeem::RenewLease(increment), StandsFor::Lease { id, .. }) = (redeem, held) else {
        return Err(Refusal::Forbidden);
    };
    post("leases/renew", &Renewal { lease_id: id, increment }, true)
}

fn look_up(_: Redeem, held: &StandsFor) -> Result<Call, Refusal> {
    #[derive(Serialize)]
    struct LookUp<'a> {
        lease_id: &'a str,
    }
    let StandsFor::Lease { id, .. } = held else { return Err(Refusal::Forbidden) };
    post("leases/lookup", &LookUp { lease_id: id }, true)
}

fn revocation(_: Redeem, held: &StandsFor) -> Result<Call, Refusal> {
    #[derive(Serialize)]
    struct Revocation<'a> {
        lease_id: &'a str,
        sync: bool,
    }
    let StandsFor::Lease { id, .. } = held else { return Err(Refusal::Forbidden) };
    // Not by its token alone: that ends a lease some time later.
    post("leases/revoke", &Revocation { lease_id: id, sync: true }, true)
}

/// `db.issue_creds`.
pub(super) struct IssueCreds;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IssueArguments<'a> {
    /// The database role.
    #[serde(borrow)]
    role: Text<'a, Segment>,
    /// Answer with a handle that is redeemed once, within this time.
    #[serde(default)]
    #[schemars(title = "Wrap the answer for, say, 5m")]
    wrap_ttl: Option<WrapTtl>,
}

impl Describe for IssueCreds {
    type Arguments<'a> = IssueArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "db.issue_creds",
        title: "Issue a database login",
        summary: "Makes a new database login that ends with its lease; renew or revoke it by its lease_id.",
        scope: Some(Scope::Write),
        engine: Some(DATABASE),
        touch: Some(role),
        annotations: Annotations { read_only: false, destructive: false, idempotent: false },
        template: "/db/creds/{role}",
        reach: Reach { method: Method::Get, apis: &["creds"], may: &[Capability::Read], ..Reach::NOWHERE },
        secret: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "A login, and the lease it ends with.",
        members: &[
            Member::given("lease_id", Type::Text, "The lease's handle: only this agent can renew or revoke it."),
            LASTS,
            Member::new("renewable", &["renewable"], Type::Flag, "True if the lease can be renewed."),
            Member::new("username", &["data", "username"], Type::Text, "The user's name.").or_absent().told("user"),
            Member::new("password", &["data", "password"], Type::Text, "The password.").or_absent(),
            Member::new(
                "rsa_private_key",
                &["data", "rsa_private_key"],
                Type::Text,
                "The RSA private key, for roles that issue one.",
            )
            .or_absent(),
            Member::new(
                "client_certificate",
                &["data", "client_certificate"],
                Type::Text,
                "The client certificate, for roles that issue one.",
            )
            .or_absent(),
            Member::new("private_key", &["data", "private_key"], Type::Text, "The key of the client certificate.")
                .or_absent(),
        ],
    };

    fn plan(arguments: IssueArguments<'_>) -> Result<Plan, Refusal> {
        let call = Call { api: "creds".into(), query: None, body: None, repeatable: false };
        Ok(Plan::about(role(About::named(&arguments.role))?, Ask::Issue(IssuedKind::Lease, call))
            .wrapped(arguments.wrap_ttl))
    }
}

/// A lease, and nothing more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaseArguments<'a> {
    /// The lease_id from the answer of db.issue_creds.
    #[serde(borrow)]
    #[schemars(title = "From db.issue_creds")]
    lease_id: Text<'a, Handle>,
}

impl LeaseArguments<'_> {
    pub(super) fn looked_up(&self) -> Plan {
        Plan::held(&self.lease_id, of_lease(Redeem::LookUpLease, look_up))
    }

    pub(super) fn revoked(&self) -> Plan {
        Plan::held(&self.lease_id, of_lease(Redeem::RevokeLease, revocation))
    }
}

/// `db.lookup`.
pub(super) struct LookUp;

impl Describe for LookUp {
    type Arguments<'a> = LeaseArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "db.lookup",
        title: "Look up a database login",
        summary: "Tells how long a database login lasts that this agent was issued.",
        scope: Some(Scope::Write),
        engine: Some(DATABASE),
        touch: Some(role),
        annotations: Annotations { read_only: true, destructive: false, idempotent: true },
        template: "/db/lookup",
        rest_only: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "The times of the login.",
        members: &[
            LASTS,
            Member::new("renewable", &["data", "renewable"], Type::Flag, "True if the lease can be renewed."),
            Member::new(
                "issue_time",
                &["data", "issue_time"],
                Type::Text,
                "The time at which it was issued (RFC 3339).",
            ),
            Member::new(
                "last_renewal",
                &["data", "last_renewal"],
                Type::Text,
                "The time at which it was renewed last (RFC 3339); absent where it was not.",
            )
            .or_absent(),
        ],
    };

    fn plan(arguments: LeaseArguments<'_>) -> Result<Plan, Refusal> {
        Ok(arguments.looked_up())
    }
}

/// `db.renew`.
pub(super) struct Renew;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RenewArguments<'a> {
    /// The lease_id from the answer of db.issue_creds.
    #[serde(borrow)]
    #[schemars(title = "From db.issue_creds")]
    lease_id: Text<'a, Handle>,
    /// Lifetime from now on; the database role's default where it is absent.
    #[serde(default)]
    #[schemars(title = "Such as 1h")]
    increment: Option<Lifetime>,
}

impl RenewArguments<'_> {
    pub(super) fn renewed(&self) -> Plan {
        let redeem = Redeem::RenewLease(self.increment.map(Lifetime::seconds));
        Plan::held(&self.lease_id, of_lease(redeem, renewal))
    }
}

impl Describe for Renew {
    type Arguments<'a> = RenewArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "db.renew",
        title: "Renew a database login",
        summary: "Renews the lease of a database login that this agent was issued.",
        scope: Some(Scope::Write),
        engine: Some(DATABASE),
        touch: Some(role),
        annotations: Annotations { read_only: false, destructive: false, idempotent: true },
        template: "/db/renew",
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "The new lifetime of the login.",
        members: &[
            LASTS,
            Member::new("renewable", &["renewable"], Type::Flag, "True if the lease can be renewed again."),
        ],
    };

    fn plan(arguments: RenewArguments<'_>) -> Result<Plan, Refusal> {
        Ok(arguments.renewed())
    }
}

/// `db.revoke`.
pub(super) struct Revoke;

impl Describe for Revoke {
    type Arguments<'a> = LeaseArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "db.revoke",
        title: "Revoke a database login",
        summary: "Revokes a database login that this agent was issued, at once.",
        scope: Some(Scope::Write),
        engine: Some(DATABASE),
        touch: Some(role),
        annotations: Annotations { read_only: false, destructive: true, idempotent: true },
        template: "/db/revoke",
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape::DONE;

    fn plan(arguments: LeaseArguments<'_>) -> Result<Plan, Refusal> {
        Ok(arguments.revoked())
    }
}
