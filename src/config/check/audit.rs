//! The audit.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::super::fields::{Fields, Sited};
use super::super::sections as section;
use super::super::settings::{Audit, AuditKey, Rotation, Syslog, SyslogTransport};
use super::otel;
use super::values::{authorities, plain_name};

/// Ports of syslog servers: UDP (RFC 5426), TCP by custom, TLS (RFC 5425).
const PORTS: [(&str, SyslogTransport, u16); 3] =
    [("udp", SyslogTransport::Udp, 514), ("tcp", SyslogTransport::Tcp, 601), ("tls", SyslogTransport::Tls, 6514)];

/// The settings of the audit; `None` where records go nowhere.
pub(super) fn audit(top: &Fields<'_>) -> Option<Audit> {
    let fields = top.table("audit", &section::AUDIT);
    let file: Option<PathBuf> = fields.text("file").map(|file| file.value.into());
    let (stdout, required) = (flag(&fields, "stdout"), flag(&fields, "required"));
    let syslog = syslog(&fields);
    let to_collector = flag(&fields, "otlp");
    let otlp = to_collector.then(|| otel::logs(top, &fields)).flatten();
    if required && file.is_none() {
        fields.problem("required", &fields.place_of("required"), "needs a file", "give `audit.file`");
    }
    let checkpoint_key = CHECKPOINTS.key(&fields);
    let is = |name: &str, word: &str| fields.text(name).is_some_and(|text| text.value == word);
    if file.is_none() && !stdout && syslog.is_none() && otlp.is_none() {
        if top.given("audit") && !to_collector {
            fields.problem(
                "file",
                &fields.place,
                "is missing",
                "give it, `audit.stdout`, `audit.syslog` or `audit.otlp`",
            );
        }
        return None;
    }
    let audit = Audit {
        file,
        stdout,
        syslog,
        otlp,
        required,
        sync_each: is("sync", "each"),
        name_key: name_key(&fields, is("names", "clear")),
        checkpoint_key,
        checkpoint_every: fields.time("checkpoint_every"),
        rotation: Rotation {
            size: fields.number("rotate_size").unwrap_or(u64::MAX),
            every: Some(fields.time("rotate_every")).filter(|every| *every > Duration::ZERO),
            keep: fields.number("keep").and_then(|keep| u32::try_from(keep).ok()).unwrap_or(1),
        },
    };
    Some(audit)
}

/// The key of names' HMACs, also where the audit itself is off.
pub(super) fn name_key_of(top: &Fields<'_>) -> Option<AuditKey> {
    NAMES.key(&top.table("audit", &section::AUDIT))
}

/// The transit keys that are named, also where they are not used.
pub(super) fn transit_keys(top: &Fields<'_>) -> Vec<Box<str>> {
    let fields = top.table("audit", &section::AUDIT);
    let named = |options: KeyOptions| plain_name(&fields, options.transit).map(|name| name.value.into());
    [NAMES, CHECKPOINTS].into_iter().filter_map(named).collect()
}

fn flag(fields: &Fields<'_>, name: &str) -> bool {
    fields.flag(name).unwrap_or(false)
}

/// The options that name a key: its file, or its name in Vault's transit engine.
struct KeyOptions {
    file: &'static str,
    transit: &'static str,
}

const NAMES: KeyOptions = KeyOptions { file: "name_key", transit: "name_transit_key" };
const CHECKPOINTS: KeyOptions = KeyOptions { file: "checkpoint_key", transit: "checkpoint_transit_key" };

impl KeyOptions {
    /// The option that is given; the first one where none is.
    fn given(&self, fields: &Fields<'_>) -> &'static str {
        if fields.given(self.transit) { self.transit } else { self.file }
    }

    fn key(&self, fields: &Fields<'_>) -> Option<AuditKey> {
        let file = fields
            .text(self.file)
            .map(|path| AuditKey::File(fields.source.file(&path.place, &fields.label(self.file), &path.value)));
        if !fields.given(self.transit) {
            return file;
        }
        if file.is_some() {
            let wrong = format!("is given beside `audit.{}`", self.file);
            fields.problem(self.transit, &fields.place_of(self.transit), &wrong, "give one of them");
        }
        plain_name(fields, self.transit).map(|name| AuditKey::Transit(name.value.into()))
    }
}

/// The key of names' HMACs, without which names are in clear.
fn name_key(fields: &Fields<'_>, clear: bool) -> Option<AuditKey> {
    let (key, option) = (NAMES.key(fields), NAMES.given(fields));
    let mend = "make one with `portcullis audit key --names FILE`, give `audit.name_transit_key`, or write `names = \"clear\"`";
    match (clear, fields.given(option)) {
        (false, false) => fields.problem(option, &fields.place, "is missing", mend),
        (true, true) => {
            let text = format!("`audit.{option}` is not used while names are in clear");
            fields.source.findings.warning(&fields.place_of(option), text);
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
