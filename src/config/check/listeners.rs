//! Where callers and operators connect.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use filters::spiffe::TrustDomain;

use super::super::fields::{Fields, Sited};
use super::super::kind::Word;
use super::super::report::Place;
use super::super::sections as section;
use super::super::settings::{AcceptedDomain, Admin, ClientCertificates, ExpiredCrls, Listener, Tls};
use super::upstream::is_host;

/// Most bytes of a Unix socket's path.
pub(super) const SOCKET_PATH: usize = 107;

/// The mend of a plain listener that others could reach.
const USE_TLS: &str = "listen on 127.0.0.1 or ::1, or configure a TLS listener: `[[listeners]]` with `tls`";

/// The listeners, the plain one of HOST and PORT last.
pub(super) fn listeners(top: &Fields<'_>) -> Vec<Sited<Listener>> {
    let mut found: Vec<_> = top.tables("listeners", &section::LISTENER).iter().filter_map(listener).collect();
    set_tls_port(top, &mut found);
    found.extend(plain(top));
    if found.is_empty() && top.source.findings.is_clean() {
        top.problem(
            "listeners",
            &top.place_of("plain"),
            "is empty: there is nothing to listen on",
            "configure `[[listeners]]`, or set `plain = true`",
        );
    }
    for (index, listener) in found.iter().enumerate() {
        let same = |other: &&Sited<Listener>| meet(other.value.address, listener.value.address);
        if let Some(other) = found.iter().take(index).find(same) {
            let mend = format!("give each listener an address of its own; the other is at {}", other.place);
            top.problem("listeners", &listener.place, "uses an address twice", &mend);
        }
    }
    found
}

fn listener(fields: &Fields<'_>) -> Option<Sited<Listener>> {
    fields.require("address");
    let tls = tls(fields);
    let address = fields.text("address")?;
    let Ok(socket) = address.value.parse::<SocketAddr>() else {
        let mend = "write an IP address and a port, such as `0.0.0.0:8443` or `[::]:8443`";
        fields.problem("address", &address.place, "is not an IP address and a port", mend);
        return None;
    };
    if tls.is_none() && !fields.given("tls") && !socket.ip().is_loopback() {
        fields.problem("address", &address.place, "is plain HTTP on an address that others can reach", USE_TLS);
    }
    let flag = |name| fields.flag(name).unwrap_or(false);
    let (metrics, proxy_protocol) = (flag("metrics"), flag("proxy_protocol"));
    let vault_api = fields.flag("vault_api").unwrap_or(true);
    let value = Listener { address: socket, tls, metrics, vault_api, proxy_protocol };
    Some(Sited { place: fields.place.clone(), value })
}

fn tls(fields: &Fields<'_>) -> Option<Tls> {
    let clients = client_certificates(fields);
    if !fields.given("tls") {
        if clients != ClientCertificates::Off {
            let place = fields.place_of("client_certificates");
            fields.problem("client_certificates", &place, "needs TLS", "give the listener `tls`, or set it to `off`");
        }
        return None;
    }
    let pair = fields.table("tls", &section::TLS);
    let files = ["certificate", "key"].map(|name| {
        pair.require(name);
        let path = pair.text(name)?;
        Some(pair.source.file(&path.place, &pair.label(name), &path.value))
    });
    let (client_authorities, client_crls) = (files_of(fields, "client_ca"), files_of(fields, "client_crl"));
    let trust_domains = trust_domains(fields, !client_authorities.is_empty());
    match (clients, client_authorities.is_empty() && trust_domains.is_empty()) {
        (ClientCertificates::Optional | ClientCertificates::Required, true) => {
            let place = fields.place_of("client_certificates");
            fields.problem("client_certificates", &place, "needs an authority", "name its PEM file in `client_ca`");
        }
        (ClientCertificates::Off, _) => {
            for name in ["client_ca", "trust_domains", "client_crl"] {
                unused(fields, name, "`client_certificates` is `off`");
            }
        }
        _ => {}
    }
    if client_crls.is_empty() {
        unused(fields, "client_crl_expired", "`client_crl` names no file");
    }
    let expired_crls = match fields.text("client_crl_expired").as_ref().map(|text| text.value.as_str()) {
        Some("warn") => ExpiredCrls::Warn,
        _ => ExpiredCrls::Refuse,
    };
    let [Some(certificate), Some(key)] = files else { return None };
    Some(Tls { certificate, key, clients, client_authorities, trust_domains, client_crls, expired_crls })
}

/// The SPIFFE trust domains; `has_common` where the listener has authorities besides theirs.
fn trust_domains(fields: &Fields<'_>, has_common: bool) -> Vec<AcceptedDomain> {
    let mut domains: Vec<AcceptedDomain> = Vec::new();
    let tables = fields.tables("trust_domains", &section::TRUST_DOMAIN);
    if fields.given("trust_domains") && tables.is_empty() {
        let mend = "name those that are accepted; without the option any is";
        fields.problem("trust_domains", &fields.place_of("trust_domains"), "names none", mend);
    }
    for table in tables {
        table.require("name");
        let authorities = files_of(&table, "client_ca");
        if authorities.is_empty() && (table.given("client_ca") || !has_common) {
            let mend = "name its PEM file in `client_ca`, of the trust domain or of the listener";
            table.source.findings.problem(&table.place, "a trust domain needs an authority", mend);
        }
        let Some(Sited { place, value }) = table.text("name") else { continue };
        match TrustDomain::parse(&value) {
            None => {
                let mend = "use lower-case letters, digits, `.`, `-` and `_`, without `spiffe://` and path";
                table.problem("name", &place, "is not a trust domain", mend);
            }
            Some(name) if domains.iter().any(|other| other.name == name) => {
                table.problem("name", &place, "names a trust domain twice", "give each one table");
            }
            Some(name) => domains.push(AcceptedDomain { name, authorities }),
        }
    }
    domains
}

/// The files that the option names, checked and watched.
fn files_of(fields: &Fields<'_>, name: &str) -> Vec<PathBuf> {
    let file = |word: &Word| fields.source.file(&word.place, &fields.label(name), &word.text);
    fields.words(name).iter().map(file).collect()
}

/// Warns where the option is given and not used, because of `why`.
fn unused(fields: &Fields<'_>, name: &str, why: &str) {
    if fields.given(name) {
        fields.source.findings.warning(&fields.place_of(name), format_args!("`{name}` is not used while {why}"));
    }
}

fn client_certificates(fields: &Fields<'_>) -> ClientCertificates {
    match fields.text("client_certificates").as_ref().map(|text| text.value.as_str()) {
        Some("optional") => ClientCertificates::Optional,
        Some("required") => ClientCertificates::Required,
        _ => ClientCertificates::Off,
    }
}

fn set_tls_port(top: &Fields<'_>, listeners: &mut [Sited<Listener>]) {
    let Some(port) = port(top, "tls_port") else { return };
    match listeners.iter_mut().find(|listener| listener.value.tls.is_some()) {
        Some(listener) => listener.value.address.set_port(port),
        None => {
            top.source.findings.warning(&top.place_of("tls_port"), "`tls_port` is not used: there is no TLS listener")
        }
    }
}

fn port(top: &Fields<'_>, name: &str) -> Option<u16> {
    top.number(name).and_then(|port| u16::try_from(port).ok())
}

/// The listener of HOST and PORT.
fn plain(top: &Fields<'_>) -> Option<Sited<Listener>> {
    let asked = top.given("host") || top.given("port") || !top.given("listeners");
    if !top.flag("plain").unwrap_or(asked) {
        return None;
    }
    let host = top.text("host")?;
    let address = match host.value.as_str() {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        text => text.parse(),
    };
    match address {
        Ok(address) if address.is_loopback() => {
            let metrics = top.flag("plain_metrics").unwrap_or(false);
            let address = SocketAddr::new(address, port(top, "port")?);
            let place = if top.given("port") { top.place_of("port") } else { host.place };
            let value = Listener { address, tls: None, metrics, vault_api: true, proxy_protocol: false };
            Some(Sited { place, value })
        }
        Ok(_) => {
            top.problem("host", &host.place, "is plain HTTP on an address that others can reach", USE_TLS);
            None
        }
        Err(_) => {
            top.problem("host", &host.place, "is not an IP address", "write `127.0.0.1`, `::1` or `localhost`");
            None
        }
    }
}

/// The operators' listener.
pub(super) fn admin(top: &Fields<'_>, listeners: &[Sited<Listener>]) -> Admin {
    let fields = top.table("admin", &section::ADMIN);
    let socket = admin_socket(&fields);
    let mut address = admin_address(&fields);
    if let Some(port) = port(top, "admin_port") {
        match &mut address {
            Some(address) => address.value.set_port(port),
            None => top
                .source
                .findings
                .warning(&top.place_of("admin_port"), "`admin_port` is not used: the admin listener is off"),
        }
    }
    if let Some(address) = &address
        && let Some(other) = listeners.iter().find(|other| meet(other.value.address, address.value))
    {
        let place = if address.place == Place::Nowhere { &other.place } else { &address.place };
        fields.problem("address", place, "is a listener's address too", "give each an address of its own");
    }
    Admin { address: address.map(|address| address.value), socket, hosts: admin_hosts(&fields) }
}

fn admin_socket(fields: &Fields<'_>) -> Option<PathBuf> {
    let Sited { place, value } = fields.text("socket")?;
    if value.len() > SOCKET_PATH || value.contains(char::is_control) {
        fields.problem("socket", &place, "is not the path of a Unix socket", "write a path of at most 107 bytes");
    }
    Some(value.into())
}

fn admin_hosts(fields: &Fields<'_>) -> Vec<String> {
    let name = |word: Word| {
        if !is_host(&word.text) {
            fields.problem(
                "hosts",
                &word.place,
                "names what is no host name",
                "write such as `gate.internal`, no port",
            );
        }
        word.text.to_string()
    };
    fields.words("hosts").into_iter().map(name).collect()
}

fn admin_address(fields: &Fields<'_>) -> Option<Sited<SocketAddr>> {
    let Sited { place, value } = fields.text("address")?;
    if value == "off" {
        return None;
    }
    match value.parse::<SocketAddr>() {
        Ok(value) if value.ip().is_loopback() => Some(Sited { place, value }),
        Ok(_) => {
            fields.problem("address", &place, "can be reached by others", "listen on 127.0.0.1 or ::1, or write `off`");
            None
        }
        Err(_) => {
            fields.problem(
                "address",
                &place,
                "is not an IP address and a port",
                "write such as `127.0.0.1:9901`, or `off`",
            );
            None
        }
    }
}

/// True where two sockets could not be bound both; `[::]` covers IPv4 too.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || covers(one, other) || covers(other, one))
}
