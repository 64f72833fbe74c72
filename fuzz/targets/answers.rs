//! Vault's answers: the first byte chooses the operation, the second how the
//! rest arrives.

#![no_main]
#![allow(clippy::panic, missing_docs)]

use filters::catalog::CATALOG;
use filters::shape::Projection;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let [which, size, body @ ..] = input else { return };
    let Some(kind) = CATALOG.iter().nth(usize::from(*which) % CATALOG.iter().count()) else { return };
    let pushed = |size: usize| {
        let (mut machine, mut out) = (Projection::new(kind.shape), Vec::new());
        let held = body.chunks(size.max(1)).all(|chunk| machine.push(chunk, &mut out).is_ok());
        let held = held && machine.finish(&mut out).is_ok();
        (held, out)
    };
    let whole = pushed(body.len());
    let parts = pushed(usize::from(*size));
    assert_eq!(whole.0, parts.0, "chunks decide");
    let told = serde_json::from_slice::<Value>(&whole.1);
    if !whole.0 {
        assert!(told.is_err(), "refused, and yet whole");
        return;
    }
    assert_eq!(whole.1, parts.1, "chunks change the answer");
    let Ok(Value::Object(told)) = told else { panic!("no JSON object") };
    assert!(serde_json::from_slice::<&serde_json::value::RawValue>(body).is_ok(), "what is no JSON passed");
    for name in told.keys() {
        assert!(kind.shape.members.iter().any(|member| member.name == name), "{name} is not in the schema");
    }
});
