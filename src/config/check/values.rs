//! Values that several sections hold: names, paths, networks, URLs, whole seconds, authorities.

use std::net::IpAddr;

use filters::path::SecretPath;
use http::Uri;
use ipnet::IpNet;

use super::super::fields::{Fields, Sited};

/// A network, or the one address in it.
pub(super) fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// The certificates in the file that `name` names, in DER.
pub(super) fn authorities(fields: &Fields<'_>, name: &str) -> Option<Vec<Vec<u8>>> {
    let path = fields.text(name)?;
    let text = fields.source.text_of(&path.place, &fields.label(name), &path.value)?;
    let read = filters::pem::certificates(text.as_bytes());
    let problem = |fault| {
        let wrong = format!("names a file that {fault}");
        fields.problem(name, &path.place, &wrong, "write the authorities' certificates to it, in PEM");
    };
    read.map_err(problem).ok()
}

/// The text of `name` as one or more plain segments of a Vault path.
pub(super) fn plain_path(fields: &Fields<'_>, name: &str) -> Option<Sited<String>> {
    let text = fields.text(name)?;
    let wild = text.value.contains(['*', '+', '{', '}', '?', '#']);
    if wild || SecretPath::parse(&text.value).is_err() {
        fields.problem(
            name,
            &text.place,
            "is not a plain path",
            "write plain segments joined by `/`, without a slash at either end, `..` or wildcards",
        );
        return None;
    }
    Some(text)
}

/// A duration in whole seconds.
pub(super) fn whole_seconds(fields: &Fields<'_>, name: &str) -> u32 {
    let time = fields.time(name);
    if time.subsec_nanos() != 0 {
        fields.problem(name, &fields.place_of(name), "is not a whole number of seconds", "write such as `90s`");
    }
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// The text of `name` as one plain name.
pub(super) fn plain_name(fields: &Fields<'_>, name: &str) -> Option<Sited<String>> {
    let text = fields.text(name)?;
    if !is_plain_name(&text.value) {
        fields.problem(
            name,
            &text.place,
            "is not a plain name",
            "use letters, digits, `.`, `_` and `-`, at most 63 characters",
        );
        return None;
    }
    Some(text)
}

/// Letters, digits, `.`, `_`, `-`, the first one a letter or digit.
pub(super) fn is_plain_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    begins && text.len() <= 63 && text.bytes().all(fits)
}

/// True where it is a URL, where it is given; notes one that is none.
pub(super) fn url(top: &Fields<'_>, name: &str) -> bool {
    let Some(text) = top.text(name) else { return true };
    let uri = text.value.parse::<Uri>().ok();
    let good = uri.is_some_and(|uri| {
        let web = matches!(uri.scheme_str(), Some("http" | "https"));
        web && uri
            .authority()
            .is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'))
    });
    if !good {
        let mend = "write `http://` or `https://`, a host and a path, without a user or password";
        top.problem(name, &text.place, "is not a URL", mend);
    }
    good
}
