//! Everything that may be asked, each described once. Adding an engine is one
//! file here and its rows in [`CATALOG`].

mod gate;
mod kv;
mod transit;

use crate::operation::Entry;

/// Every operation, in the order in which surfaces show them.
pub static CATALOG: [Entry; 17] = [
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
    Entry::of::<gate::WhoAmI>(),
];

/// The operation of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    CATALOG.iter().find(|entry| entry.facts.name == name)
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
            assert!(std::ptr::eq(find(facts.name).unwrap(), entry));
        }
    }
}
