//! Where rate limits are counted.

use std::net::IpAddr;

use super::super::fields::Fields;
use super::super::sections as section;
use super::super::settings::Redis;
use super::values::{authorities, plain_name};

const URL: &str = "write such as `redis://127.0.0.1:6379` or `rediss://redis.example:6380/0`; user and password have \
                   keys of their own";

/// The server by which gates share their limits, if they do.
pub(super) fn shared(top: &Fields<'_>) -> Option<Redis> {
    let fields = top.table("rate_limit", &section::RATE_LIMIT);
    let backend = fields.text("backend").map(|backend| backend.value);
    let prefix = plain_name(&fields, "prefix");
    if backend.as_deref() != Some("redis") {
        return None;
    }
    if !fields.given("url") {
        fields.problem("url", &fields.place_of("backend"), "is missing", URL);
    }
    let url = fields.text("url")?;
    let Some(address) = parse(&url.value) else {
        fields.problem("url", &url.place, "is not the address of a Redis or Valkey", URL);
        return None;
    };
    if fields.given("ca") && !address.tls {
        fields.source.findings.warning(&fields.place_of("ca"), "`rate_limit.ca` is not used: the URL is not rediss");
    }
    let password = fields.secret("password").map(|password| password.value);
    if password.is_some() && !address.tls && !is_local(&address.host) {
        let text = "the password of Redis travels in the clear to another machine; use `rediss://`";
        fields.source.findings.warning(&url.place, text);
    }
    Some(Redis {
        username: fields.text("username").map(|name| name.value),
        password,
        authorities: authorities(&fields, "ca"),
        prefix: prefix?.value,
        timeout: fields.time("timeout"),
        ..address
    })
}

/// Scheme, host, port and database of a URL; nothing else may be in it.
fn parse(text: &str) -> Option<Redis> {
    let (scheme, rest) = text.split_once("://")?;
    let tls = match scheme {
        "redis" => false,
        "rediss" => true,
        _ => return None,
    };
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = authority.parse::<http::uri::Authority>().ok().filter(|name| !name.as_str().contains('@'))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = if authority.as_str().ends_with(authority.host()) { 6379 } else { authority.port_u16()? };
    let database = if database.is_empty() { 0 } else { database.parse::<u16>().ok()? };
    (!host.is_empty() && port != 0).then(|| Redis {
        tls,
        host: host.to_owned(),
        port,
        database: database.into(),
        username: None,
        password: None,
        authorities: None,
        prefix: String::new(),
        timeout: std::time::Duration::ZERO,
    })
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_a_host_and_perhaps_a_port_and_a_database() {
        for (url, expected) in [
            ("redis://localhost", (false, "localhost", 6379, 0)),
            ("redis://127.0.0.1:7000/3", (false, "127.0.0.1", 7000, 3)),
            ("rediss://redis.example:6380/", (true, "redis.example", 6380, 0)),
            ("redis://[::1]:7000", (false, "::1", 7000, 0)),
            ("redis://[::1]", (false, "::1", 6379, 0)),
        ] {
            let Redis { tls, host, port, database, .. } = parse(url).unwrap();
            assert_eq!((tls, host.as_str(), port, database), expected, "{url}");
        }
        for bad in [
            "localhost:6379",
            "http://localhost",
            "redis://",
            "redis://:secret@localhost",
            "redis://user@localhost",
            "redis://localhost:x",
            "redis://localhost:0",
            "redis://localhost:70000",
            "redis://localhost/x",
            "redis://localhost/0?protocol=3",
            "redis://localhost/-1",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
