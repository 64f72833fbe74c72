//! The kinds of requests below `/v1`, and the paths of those that name no operation.

use filters::catalog::absolute::access;
use filters::gate_token::Way;
use filters::grants::Access;
use filters::path;
use filters::refusal::Refusal;
use filters::vault::Method;
use filters::vault_api::{self, Match};

use crate::snapshot::Snapshot;

use super::namespace;

/// The kinds of requests.
#[derive(Debug)]
pub enum Wanted {
    /// A path, of the agent's own view or of Vault's.
    Path(Asking),
    /// To log in at this mount.
    Login(Box<str>, Way),
    /// Another token for the caller.
    Create,
    /// Something that the gate answers itself, or finds by a handle.
    Own(Own),
}

/// A request at a path. Grants tell if that is one of Vault's own; else it names an operation of the catalog, or none.
#[derive(Debug)]
pub struct Asking {
    /// The access that it wants.
    pub access: Access,
    /// The path, decoded, without a slash at its end.
    pub path: Box<str>,
    /// The operation in the agent's own view, or why there is none.
    pub matched: Result<Match, Refusal>,
}

/// The requests that name no operation.
#[derive(Debug)]
pub enum Own {
    /// Which engines the caller may use: all, or the one at this path.
    Mounts(Option<Box<str>>),
    /// Whose the caller's token is, and how long it lasts.
    LookUpToken,
    /// To make the caller's token last longer, which none does.
    RenewToken,
    /// To end the caller's token.
    RevokeToken,
    /// Something about what a handle stands for, which may be named here.
    Held(Held, Option<Box<str>>),
    /// What the caller may do at some paths; true where the body names the token.
    Capabilities(bool),
}

/// The requests about something that the caller was given a handle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// A lease is to last longer.
    Renew,
    /// A lease or certificate is to end.
    Revoke,
    /// How long a lease lasts.
    LookUp,
    /// A wrapped answer is to be given out.
    Unwrap,
    /// A wrapped answer is to wait anew, under another handle.
    Rewrap,
    /// How long a wrapped answer waits.
    LookUpWrapped,
}

/// The paths about what a handle stands for; some clients still call two of them by an older name.
const HELD: [(&str, Held); 8] = [
    ("sys/leases/renew", Held::Renew),
    ("sys/renew", Held::Renew),
    ("sys/leases/revoke", Held::Revoke),
    ("sys/revoke", Held::Revoke),
    ("sys/leases/lookup", Held::LookUp),
    ("sys/wrapping/unwrap", Held::Unwrap),
    ("sys/wrapping/rewrap", Held::Rewrap),
    ("sys/wrapping/lookup", Held::LookUpWrapped),
];

/// What clients try and can do without: a description of Vault's API, and Vault's own events.
const ABSENT: [&str; 2] = ["sys/internal/specs", "sys/events"];

const READS: &[Method] = &[Method::Get];
const WRITES: &[Method] = &[Method::Post];

impl Wanted {
    /// Finds what a request asks for: by its method, its raw path and its query.
    ///
    /// # Errors
    /// As [`vault_api::route`]; [`Refusal::NotFound`] for what is not there at all.
    pub fn find(method: &str, path: &str, query: &str, snapshot: &Snapshot) -> Result<Self, Refusal> {
        let Some(settings) = &snapshot.surfaces.vault_api else { return Err(Refusal::NotFound) };
        let path = path.strip_prefix(vault_api::PREFIX).ok_or(Refusal::NotFound)?;
        let path = path::decode(path.as_bytes())?;
        let (_, path) = namespace::of_path(&path, snapshot);
        let method = vault_api::method(method, query);
        match own(path, &settings.logins)? {
            Some((wanted, methods)) if method.is_some_and(|method| methods.contains(&method)) => Ok(wanted),
            Some((_, methods)) => {
                let methods: Vec<_> = methods.iter().map(|method| method.name()).collect();
                Err(Refusal::MethodNotAllowed(methods.join(", ")))
            }
            None => {
                let matched = vault_api::route(method, path, &snapshot.vault.layout);
                let Some(method) = method else { return Err(matched.err().unwrap_or(Refusal::Internal)) };
                // Names are listed in a folder, which clients write with or without its slash.
                let folder = path.strip_suffix('/').filter(|_| method == Method::List);
                Ok(Self::Path(Asking { access: access(method), path: folder.unwrap_or(path).into(), matched }))
            }
        }
    }
}

/// What is no operation, and its methods.
fn own(path: &str, logins: &[(Box<str>, Way)]) -> Result<Option<(Wanted, &'static [Method])>, Refusal> {
    if !(path.starts_with("sys/") || path.starts_with("auth/")) {
        return Ok(None);
    }
    if ABSENT.iter().any(|absent| below(path, absent).is_some()) {
        return Err(Refusal::NotFound);
    }
    if let Some(rest) = below(path, "sys/internal/ui/mounts") {
        return Ok(Some((Wanted::Own(Own::Mounts(rest.map(Box::from))), READS)));
    }
    let way = path.strip_prefix("auth/").and_then(|rest| rest.strip_suffix("/login"));
    if let Some((mount, way)) = way.and_then(|mount| logins.iter().find(|(known, _)| **known == *mount)) {
        return Ok(Some((Wanted::Login(mount.clone(), *way), WRITES)));
    }
    if let Some((held, handle)) = HELD.iter().find_map(|(known, held)| Some((*held, below(path, known)?))) {
        return Ok(Some((Wanted::Own(Own::Held(held, handle.map(Box::from))), WRITES)));
    }
    Ok(match path {
        "auth/token/lookup-self" => Some((Wanted::Own(Own::LookUpToken), &[Method::Get, Method::Post])),
        "auth/token/renew-self" => Some((Wanted::Own(Own::RenewToken), WRITES)),
        "auth/token/revoke-self" => Some((Wanted::Own(Own::RevokeToken), WRITES)),
        "auth/token/create" | "auth/token/create-orphan" => Some((Wanted::Create, WRITES)),
        "sys/capabilities-self" => Some((Wanted::Own(Own::Capabilities(false)), WRITES)),
        "sys/capabilities" => Some((Wanted::Own(Own::Capabilities(true)), WRITES)),
        _ => None,
    })
}

/// The part of a path below another; `None` within for that itself.
fn below<'p>(path: &'p str, above: &str) -> Option<Option<&'p str>> {
    path::below(path, above).map(|rest| Some(rest).filter(|rest| !rest.is_empty()))
}
