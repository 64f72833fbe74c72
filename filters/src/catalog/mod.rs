//! Everything that may be asked, each described once. Adding an engine is one
//! file here and its rows in [`CATALOG`].

mod database;
mod gate;
mod kms;
mod kv;
mod pki;
mod ssh;
mod text;
mod transit;
mod wrap;

use serde::Serialize;

use crate::grants::{Engine, Resource};
use crate::operation::{Call, Entry};
use crate::path;
use crate::refusal::Refusal;
use crate::vault::Method;

use text::{Segment, Text};

/// Every operation, in the order in which surfaces show them.
pub static CATALOG: [Entry; 32] = [
    Entry::of::<kv::Read>(),
    Entry::of::<kv::Write>(),
    Entry::of::<kv::Patch>(),
    Entry::of::<kv::List>(),
    Entry::of::<kv::Metadata>(),
    Entry::of::<kv::Delete>(),
    Entry::of::<kv::Undelete>(),
    Entry::of::<kv::Destroy>(),
    Entry::of::<transit::Encrypt>(),
    Entry::of::<transit::Decrypt>(),
    Entry::of::<transit::Rewrap>(),
    Entry::of::<transit::DataKey>(),
    Entry::of::<transit::Sign>(),
    Entry::of::<transit::Verify>(),
    Entry::of::<transit::Hmac>(),
    Entry::of::<transit::Random>(),
    Entry::of::<database::IssueCreds>(),
    Entry::of::<database::Renew>(),
    Entry::of::<database::Revoke>(),
    Entry::of::<ssh::Sign>(),
    Entry::of::<ssh::Otp>(),
    Entry::of::<pki::Issue>(),
    Entry::of::<pki::Sign>(),
    Entry::of::<pki::Revoke>(),
    Entry::of::<kms::Encrypt>(),
    Entry::of::<kms::Decrypt>(),
    Entry::of::<kms::DataKey>(),
    Entry::of::<kms::Sign>(),
    Entry::of::<kms::Verify>(),
    Entry::of::<wrap::Unwrap>(),
    Entry::of::<wrap::LookUp>(),
    Entry::of::<gate::WhoAmI>(),
];

/// The operation of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    CATALOG.iter().find(|entry| entry.facts.name == name)
}

/// Something of an engine's that has a name.
fn named(engine: Engine, name: &Text<'_, Segment>) -> Result<Resource, Refusal> {
    path::judge(name)?;
    Ok(Resource::Key(engine, (&**name).into()))
}

/// Something asked of Vault with a JSON body.
fn post(api: &'static str, body: &impl Serialize, repeatable: bool) -> Result<Call, Refusal> {
    let body = serde_json::to_vec(body).map_err(|_| Refusal::Internal)?;
    Ok(Call { method: Method::Post, api: api.into(), query: None, body: Some(body.into()), repeatable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_described_whole() {
        let mut seen = std::collections::HashSet::new();
        for entry in &CATALOG {
            let facts = entry.facts;
            assert!(seen.insert(facts.name) && seen.insert(facts.title));
            assert!(facts.summary.ends_with('.'), "{}", facts.name);
            for schema in [entry.input_schema().to_value(), entry.output_schema()] {
                assert_eq!(schema.get("type").and_then(|t| t.as_str()), Some("object"), "{}", facts.name);
            }
            assert_eq!(facts.engine.is_some(), facts.scope.is_some(), "{}", facts.name);
            assert_eq!(facts.reach.apis.is_empty(), facts.reach.may.is_empty(), "{}", facts.name);
            assert!(std::ptr::eq(find(facts.name).unwrap(), entry));
        }
    }
}
