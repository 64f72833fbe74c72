//! Operations on Vault's own paths, of any engine. A role must grant the path.

use super::database::{LeaseArguments, LookUp as LookUpLogin, RenewArguments};
use super::kv::absent;
use crate::grants::{Access, Demand, Resource, VAULT};
use crate::operation::{About, Annotations, Describe, Entry, OperationSpec, Plan, Reach, Touched};
use crate::path::SecretPath;
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::Shape;
use crate::vault::Method;

/// Its operations.
pub static ABSOLUTE: [Entry; 9] = [
    Entry::passed(&READ),
    Entry::passed(&LIST),
    Entry::passed(&WRITE),
    Entry::passed(&PATCH),
    Entry::passed(&DELETE),
    Entry::passed(&MOUNT),
    Entry::of::<LookUp>(),
    Entry::of::<Renew>(),
    Entry::of::<Revoke>(),
];

/// The operation that has this access to a path.
#[must_use]
pub fn asking(access: Access) -> &'static Entry {
    let [read, list, write, patch, delete, mount, ..] = &ABSOLUTE;
    match access {
        Access::Read => read,
        Access::List => list,
        Access::Write => write,
        Access::Patch => patch,
        Access::Delete => delete,
        Access::Mount => mount,
    }
}

/// The access that a method of Vault's API is.
#[must_use]
pub const fn access(method: Method) -> Access {
    match method {
        Method::Get => Access::Read,
        Method::List => Access::List,
        Method::Post => Access::Write,
        Method::Patch => Access::Patch,
        Method::Delete => Access::Delete,
    }
}

const ASKED: OperationSpec = OperationSpec { engine: Some(VAULT), rest_only: true, ..OperationSpec::POST };
const READ_ONLY: Annotations = Annotations { read_only: true, destructive: false, idempotent: true };
const CHANGES: Annotations = Annotations { read_only: false, destructive: true, idempotent: false };

const fn by(method: Method) -> Reach {
    Reach { method, ..Reach::NOWHERE }
}

static READ: OperationSpec = OperationSpec {
    name: "vault.read",
    title: "Read a path of Vault's",
    summary: "Reads one of Vault's own paths.",
    scope: Some(Scope::Read),
    touch: Some(|about| touched(about, Access::Read)),
    annotations: READ_ONLY,
    reach: by(Method::Get),
    takes_body: false,
    absent: absent("There is nothing at this path, or no such version."),
    secret: true,
    ..ASKED
};

static LIST: OperationSpec = OperationSpec {
    name: "vault.list",
    title: "List a path of Vault's",
    summary: "Lists the names below one of Vault's own paths.",
    scope: Some(Scope::List),
    touch: Some(|about| touched(about, Access::List)),
    annotations: READ_ONLY,
    reach: by(Method::List),
    takes_body: false,
    ..ASKED
};

static WRITE: OperationSpec = OperationSpec {
    name: "vault.write",
    title: "Write a path of Vault's",
    summary: "Writes to one of Vault's own paths.",
    scope: Some(Scope::Write),
    touch: Some(|about| touched(about, Access::Write)),
    annotations: CHANGES,
    reach: by(Method::Post),
    secret: true,
    ..ASKED
};

static PATCH: OperationSpec = OperationSpec {
    name: "vault.patch",
    title: "Patch a path of Vault's",
    summary: "Changes a part of what is at one of Vault's own paths.",
    scope: Some(Scope::Write),
    touch: Some(|about| touched(about, Access::Patch)),
    annotations: CHANGES,
    reach: by(Method::Patch),
    ..ASKED
};

static DELETE: OperationSpec = OperationSpec {
    name: "vault.delete",
    title: "Delete a path of Vault's",
    summary: "Deletes what is at one of Vault's own paths.",
    scope: Some(Scope::Delete),
    touch: Some(|about| touched(about, Access::Delete)),
    annotations: Annotations { idempotent: true, ..CHANGES },
    reach: by(Method::Delete),
    takes_body: false,
    ..ASKED
};

/// Vault itself tells that to whoever may do anything below the mount.
static MOUNT: OperationSpec = OperationSpec {
    name: "vault.mount",
    title: "Ask for a mount of Vault's",
    summary: "Tells which engine is mounted at one of Vault's own paths.",
    touch: Some(|about| touched(about, Access::Mount)),
    annotations: READ_ONLY,
    reach: by(Method::Get),
    takes_body: false,
    ..ASKED
};

fn touched(about: About<'_>, access: Access) -> Result<Touched, Refusal> {
    let path = SecretPath::parse(about.name)?;
    let resource = Resource::Key(VAULT, path.as_str().into());
    Ok(Touched { resource, demand: Demand { access: Some(access), ..Demand::default() } })
}

/// `vault.lookup`.
struct LookUp;

impl Describe for LookUp {
    type Arguments<'a> = LeaseArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "vault.lookup",
        title: "Look up a lease",
        summary: "Tells how long a lease lasts that this agent was given at one of Vault's own paths.",
        annotations: READ_ONLY,
        rest_only: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = LookUpLogin::SHAPE;

    fn plan(arguments: LeaseArguments<'_>) -> Result<Plan, Refusal> {
        Ok(arguments.looked_up())
    }
}

/// `vault.renew`.
struct Renew;

impl Describe for Renew {
    type Arguments<'a> = RenewArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "vault.renew",
        title: "Renew a lease",
        summary: "Renews a lease that this agent was given at one of Vault's own paths.",
        annotations: Annotations { read_only: false, destructive: false, idempotent: true },
        rest_only: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape::DONE;

    fn plan(arguments: RenewArguments<'_>) -> Result<Plan, Refusal> {
        Ok(arguments.renewed())
    }
}

/// `vault.revoke`.
struct Revoke;

impl Describe for Revoke {
    type Arguments<'a> = LeaseArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "vault.revoke",
        title: "Revoke a lease",
        summary: "Revokes a lease that this agent was given at one of Vault's own paths, at once.",
        annotations: Annotations { read_only: false, destructive: true, idempotent: true },
        rest_only: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape::DONE;

    fn plan(arguments: LeaseArguments<'_>) -> Result<Plan, Refusal> {
        Ok(arguments.revoked())
    }
}
