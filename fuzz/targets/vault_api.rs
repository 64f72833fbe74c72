//! Requests of Vault's own API: a line with method and target, one with the wrap header's value, and the body.

#![no_main]
#![allow(missing_docs)]

use std::sync::LazyLock;

use filters::catalog::CATALOG;
use filters::catalog::absolute::access;
use filters::path::decode;
use filters::rest::Carried;
use filters::vault::Layout;
use filters::vault_api::{is_absolute, method, operation, passed, route};
use fuzz::IDENTITY;
use libfuzzer_sys::fuzz_target;

static LAYOUT: LazyLock<Layout> = LazyLock::new(|| CATALOG.layout());

fuzz_target!(|input: &str| {
    let (line, rest) = input.split_once('\n').unwrap_or((input, ""));
    let (wrap_ttl, body) = rest.split_once('\n').unwrap_or((rest, ""));
    let (name, target) = line.split_once(' ').unwrap_or(("GET", line));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let method = method(name, query);
    let wrap_ttl = Some(wrap_ttl).filter(|text| !text.is_empty());
    let carried = || Carried { query, body: body.as_bytes(), wrap_ttl, ..Carried::default() };
    let Ok(path) = decode(path.as_bytes()) else { return };
    if let Some(access) = method.map(access)
        && is_absolute(&IDENTITY.agent, &path, access)
        && let Ok(operation) = passed(access, &path, carried(), Vec::new())
    {
        fuzz::judge(operation);
    }
    let Ok(matched) = route(method, &path, &LAYOUT) else { return };
    if let Ok(operation) = operation(&matched, carried()) {
        fuzz::judge(operation);
    }
});
