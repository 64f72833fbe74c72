//! Options of features that this version does not have: they are checked, so
//! that a configuration that is accepted today stays one.

use http::Uri;

use super::super::fields::Fields;

/// Checks the options of fetched keys and of OpenTelemetry.
pub(super) fn check(top: &Fields<'_>) {
    jwks(top);
    url(top, "otel_exporter_otlp_endpoint");
    unused(top, "otel_exporter_otlp_endpoint", "traces are not exported yet");
}

/// Keys that are fetched.
fn jwks(top: &Fields<'_>) {
    url(top, "jwt_jwks_url");
    if top.given("jwt_jwks_url") && top.given("jwt_jwks_file") {
        let mend = format!("keep one; the URL is at {}", top.place_of("jwt_jwks_url"));
        top.problem("jwt_jwks_file", &top.place_of("jwt_jwks_file"), "and `jwt_jwks_url` are both given", &mend);
    }
    unused(top, "jwt_jwks_url", "keys are not fetched yet; give them as `jwt_jwks_file`");
}

fn unused(top: &Fields<'_>, name: &str, text: &str) {
    if top.given(name) {
        top.source.findings.warning(&top.place_of(name), format!("{} has no effect: {text}", top.label(name)));
    }
}

/// Notes a text that is no URL.
pub(super) fn url(top: &Fields<'_>, name: &str) {
    let Some(text) = top.text(name) else { return };
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
}
