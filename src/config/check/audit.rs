//! The audit.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::super::fields::{Fields, Sited};
use super::super::sections as section;
use super::super::settings::{Audit, Rotation, Syslog, SyslogTransport};
use super::values::authorities;

/// Ports of syslog servers: UDP (RFC 5426), TCP by custom, TLS (RFC 5425).
const PORTS: [(&str, SyslogTransport, u16); 3] =
    [("udp", SyslogTransport::Udp, 514), ("tcp", SyslogTransport::Tcp, 601), ("tls", SyslogTransport::Tls, 6514)];

/// The settings of the audit; `None` where records go nowhere.
pub(super) fn audit(top: &Fields<'_>) -> Option<Audit> {
    let fields = top.table("audit", &section::AUDIT);
    let file: Option<PathBuf> = fields.text("file").map(|file| file.value.into());
    let (stdout, required) = (flag(&fields, "stdout"), flag(&fields, "required"));
    let syslog = syslog(&fields);
    if required && file.is_none() {
        fields.problem("required", &fields.place_of("required"), "needs a file", "give `audit.file`");
    }
    let is = |name: &str, word: &str| fields.text(name).is_some_and(|text| text.value == word);
    if file.is_none() && !stdout && syslog.is_none() {
        if top.given("audit") {
            fields.problem("file", &fields.place, "is missing", "give it, `audit.stdout` or `audit.syslog`");
        }
        return None;
    }
    let audit = Audit {
        file,
        stdout,
        syslog,
        required,
        sync_each: is("sync", "each"),
        name_key: name_key(&fields, is("names", "clear")),
        checkpoint_key: key_file(&fields, "checkpoint_key"),
        checkpoint_every: fields.time("checkpoint_every"),
        rotation: Rotation {
            size: fields.number("rotate_size").unwrap_or(u64::MAX),
            every: Some(fields.time("rotate_every")).filter(|every| *every > Duration::ZERO),
            keep: fields.number("keep").and_then(|keep| u32::try_from(keep).ok()).unwrap_or(1),
        },
    };
    Some(audit)
}

fn flag(fields: &Fields<'_>, name: &str) -> bool {
    fields.flag(name).unwrap_or(false)
}

fn key_file(fields: &Fields<'_>, name: &str) -> Option<PathBuf> {
    let path = fields.text(name)?;
    Some(fields.source.file(&path.place, &fields.label(name), &path.value))
}

/// The file of the key of names' HMACs, without which names are in clear.
fn name_key(fields: &Fields<'_>, clear: bool) -> Option<PathBuf> {
    let key = key_file(fields, "name_key");
    let mend = "make one with `portcullis audit key --names FILE`, or write `names = \"clear\"`";
    match (clear, fields.given("name_key")) {
        (false, false) => fields.problem("name_key", &fields.place, "is missing", mend),
        (true, true) => {
            let text = "`audit.name_key` is not used while names are in clear";
            fields.source.findings.warning(&fields.place_of("name_key"), text);
        }
        (true, false) | (false, true) => {}
    }
    key.filter(|_| !clear)
}

fn syslog(fields: &Fields<'_>) -> Option<Syslog> {
    let Sited { place, value } = fields.text("syslog")?;
    let uri = value.parse::<Uri>().ok();
    let read = uri.as_ref().and_then(|uri| {
        let (_, transport, port) = PORTS.iter().find(|(scheme, ..)| uri.scheme_str() == Some(*scheme))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let bare = uri.path_and_query().is_none_or(|rest| rest.as_str() == "/");
        (bare && !host.is_empty()).then(|| (*transport, host.to_owned(), authority.port_u16().unwrap_or(*port)))
    });
    let authorities = authorities(fields, "syslog_ca");
    if read.as_ref().is_some_and(|(transport, ..)| *transport == SyslogTransport::Tls) && !fields.given("syslog_ca") {
        fields.problem("syslog_ca", &place, "is missing", "give the authorities of the server's certificate, in PEM");
    }
    let Some((transport, host, port)) = read else {
        let mend = "write `udp://`, `tcp://` or `tls://`, a host and, where it is another than usual, a port";
        fields.problem("syslog", &place, "is no address of a syslog server", mend);
        return None;
    };
    Some(Syslog { transport, host, port, authorities })
}
