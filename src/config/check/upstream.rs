//! Where Vault is.

use std::net::IpAddr;
use std::path::PathBuf;

use filters::names::Namespace;
use http::Uri;

use super::super::fields::{Fields, Sited};
use super::super::sections as section;
use super::super::settings::Upstream;

struct Origin {
    tls: bool,
    host: String,
    port: u16,
}

/// Vault's address and how to talk to it.
pub(super) fn upstream(top: &Fields<'_>, namespace: Namespace) -> Upstream {
    let fields = top.table("upstream", &section::UPSTREAM);
    let origin = origin(top);
    let server_name = server_name(&fields, &origin);
    let authority = fields.text("ca_file");
    if !origin.tls && authority.is_some() {
        top.source.findings.warning(&fields.place_of("ca_file"), "the CA file is not used: VAULT_ADDR is not https");
    }
    Upstream {
        server_name,
        authority: authority.map(|path| fields.source.file(&path.place, &fields.label("ca_file"), &path.value)),
        identity: identity(&fields, &origin),
        namespace,
        connect_timeout: fields.time("connect_timeout"),
        timeout: fields.time("timeout"),
        idle: fields.time("idle_timeout"),
        resolve: fields.time("resolve_interval"),
        tls: origin.tls,
        host: origin.host,
        port: origin.port,
    }
}

fn origin(top: &Fields<'_>) -> Origin {
    let nowhere = Origin { tls: false, host: String::new(), port: 0 };
    let Some(address) = top.text("vault_addr") else { return nowhere };
    let Some(origin) = parse(&address.value) else {
        let mend =
            "write `http://` or `https://`, a host and a port, such as `https://vault.example:8200`, and nothing more";
        top.problem("vault_addr", &address.place, "is not the address of a Vault whose name could be verified", mend);
        return nowhere;
    };
    if !origin.tls && !is_local(&origin.host) {
        let text = "Vault is reached by plain HTTP on another machine: tokens and secrets travel in the clear";
        top.source.findings.warning(&address.place, text);
    }
    origin
}

fn parse(text: &str) -> Option<Origin> {
    if text.contains(['#', '@', '?']) {
        return None;
    }
    let uri = text.parse::<Uri>().ok()?;
    let tls = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let authority = uri.authority()?;
    let port = match authority.as_str().strip_prefix(authority.host())? {
        "" if tls => 443,
        "" => 80,
        port => port.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?,
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let plain = matches!(uri.path(), "" | "/") && is_host(&host);
    plain.then_some(Origin { tls, host, port })
}

/// An IP address, or a host name (RFC 1123, and the underscore of containers).
pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(fits) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label))
}

pub(super) fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn server_name(fields: &Fields<'_>, origin: &Origin) -> String {
    let Some(Sited { place, value }) = fields.text("server_name") else { return origin.host.clone() };
    if !is_host(&value) {
        fields.problem(
            "server_name",
            &place,
            "is not a host name",
            "write the DNS name or IP address of Vault's certificate",
        );
    } else if !origin.tls {
        fields.source.findings.warning(&place, "the server name is not used: VAULT_ADDR is not https");
    }
    value
}

/// The certificate and key that the gate presents to Vault.
fn identity(fields: &Fields<'_>, origin: &Origin) -> Option<(PathBuf, PathBuf)> {
    let halves = ["client_certificate", "client_key"];
    for (one, other) in halves.into_iter().zip(halves.into_iter().rev()) {
        if fields.given(one) && !fields.given(other) {
            let mend = "give the certificate and its key, or neither";
            fields.problem(other, &fields.place_of(one), "is missing", mend);
        }
    }
    let (certificate, key) = (fields.text("client_certificate")?, fields.text("client_key")?);
    if !origin.tls {
        let text = "the client certificate is not used: VAULT_ADDR is not https";
        fields.source.findings.warning(&certificate.place, text);
    }
    let file = |name, text: &Sited<String>| fields.source.file(&text.place, &fields.label(name), &text.value);
    Some((file("client_certificate", &certificate), file("client_key", &key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_origin_whose_name_can_be_verified() {
        for (text, host, port, tls) in [
            ("http://localhost:8200", "localhost", 8200, false),
            ("https://vault.example", "vault.example", 443, true),
            ("https://vault.example:8200/", "vault.example", 8200, true),
            ("https://[::1]:8200", "::1", 8200, true),
            ("http://vault_1", "vault_1", 80, false),
        ] {
            let origin = parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((origin.host.as_str(), origin.port, origin.tls), (host, port, tls), "{text}");
        }
        for bad in [
            "",
            "https://",
            "https://:8200",
            "vault:8200",
            "localhost",
            "ftp://vault",
            "https://u:p@vault",
            "https://vault/v1",
            "https://vault?x",
            "https://vault#x",
            "https://vault:0",
            "https://vault:",
            "https://vault:99999",
            "https://-a",
            "https://a..b",
            "https://*.example",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
