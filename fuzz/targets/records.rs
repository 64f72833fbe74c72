//! Vault's answers about the gate's own records: empty is only what says so. The first byte chooses
//! the status.

#![no_main]
#![allow(missing_docs)]

use filters::vault::record::{self, Record};
use filters::vault::{is_nothing, is_refusal};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let [first, body @ ..] = input else { return };
    let status = if first % 2 == 0 { 200 } else { 404 };
    let Ok(Record { version, data }) = record::read::<Value>(status, body) else { return };
    // What is passed over may be what no value holds, a number beyond all others.
    let Ok(whole) = serde_json::from_slice::<Value>(body) else { return };
    match (status, version, data) {
        (200, 1.., Some(data)) => assert_eq!(Some(&data), whole.pointer("/data/data")),
        (404, 0, None) => assert_eq!(whole.pointer("/errors"), Some(&serde_json::json!([]))),
        (404, 1.., None) => assert!(whole.pointer("/data/data").is_none_or(Value::is_null)),
        unknown => unreachable!("{unknown:?}"),
    }
    assert!(status == 200 || is_nothing(body) && !is_refusal(body), "an empty record that is none");
});
