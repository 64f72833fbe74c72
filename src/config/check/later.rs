//! Options of features that this version does not have: they are checked, so
//! that a configuration that is accepted today stays one.

use http::Uri;

use super::super::fields::Fields;

/// Checks JWT, AWS KMS and OpenTelemetry options.
pub(super) fn check(top: &Fields<'_>) {
    jwt(top);
    kms(top);
    url(top, "otel_exporter_otlp_endpoint");
    unused(top, "otel_exporter_otlp_endpoint", "traces are not exported yet");
}

fn jwt(top: &Fields<'_>) {
    url(top, "jwt_jwks_url");
    if top.given("jwt_jwks_url") && top.given("jwt_jwks_file") {
        let mend = format!("keep one; the URL is at {}", top.place_of("jwt_jwks_url"));
        top.problem("jwt_jwks_file", &top.place_of("jwt_jwks_file"), "and `jwt_jwks_url` are both given", &mend);
    }
    if let Some(path) = top.text("jwt_jwks_file") {
        top.source.file(&path.place, &top.label("jwt_jwks_file"), &path.value);
    }
    for name in ["jwt_hs256_secret", "jwt_jwks_url", "jwt_jwks_file"] {
        if top.given(name) {
            return unused(top, name, "JWTs are not accepted yet");
        }
    }
}

fn kms(top: &Fields<'_>) {
    url(top, "aws_kms_endpoint");
    let enabled = top.flag("aws_kms_enabled").unwrap_or(false);
    if enabled && !top.given("aws_region") {
        let text = "AWS KMS is enabled without `aws_region`: it must come of the machine's own AWS profile";
        top.source.findings.warning(&top.place_of("aws_kms_enabled"), text);
    }
    let (id, secret) = ("aws_access_key_id", "aws_secret_access_key");
    for (given, missing) in [(id, secret), (secret, id)] {
        if top.given(given) && !top.given(missing) {
            top.problem(missing, &top.place_of(given), "is missing", "give both halves of the AWS key, or neither");
        }
    }
    if enabled {
        unused(top, "aws_kms_enabled", "AWS KMS is not offered yet");
    }
}

fn unused(top: &Fields<'_>, name: &str, text: &str) {
    if top.given(name) {
        top.source.findings.warning(&top.place_of(name), format!("{} has no effect: {text}", top.label(name)));
    }
}

fn url(top: &Fields<'_>, name: &str) {
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
