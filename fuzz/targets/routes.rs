//! REST requests: a line with method and target, one with the wrap header's
//! value, and the body.

#![no_main]
#![allow(missing_docs)]

use filters::rest::{self, Carried};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (line, rest) = input.split_once('\n').unwrap_or((input, ""));
    let (wrap_ttl, body) = rest.split_once('\n').unwrap_or((rest, ""));
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Ok(matched) = rest::route(method, path) else { return };
    let wrap_ttl = Some(wrap_ttl).filter(|text| !text.is_empty());
    if let Ok(operation) =
        rest::operation(&matched, Carried { query, body: body.as_bytes(), wrap_ttl, ..Carried::default() })
    {
        fuzz::judge(operation);
    }
});
