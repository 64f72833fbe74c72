//! Options of features that this version does not have: they are checked, so
//! that a configuration that is accepted today stays one.

use http::Uri;

use super::super::fields::Fields;

/// Checks the options of OpenTelemetry.
pub(super) fn check(top: &Fields<'_>) {
    url(top, "otel_exporter_otlp_endpoint");
    for name in ["otel_exporter_otlp_endpoint", "otel_service_name"] {
        unused(top, name, "traces are not exported yet");
    }
}

fn unused(top: &Fields<'_>, name: &str, text: &str) {
    if top.given(name) {
        top.source.findings.warning(&top.place_of(name), format!("{} has no effect: {text}", top.label(name)));
    }
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
