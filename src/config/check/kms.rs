//! AWS KMS.

use filters::kms::is_key_name;
use http::Uri;

use super::super::fields::Fields;
use super::super::settings::{AwsKeys, Kms};
use super::upstream::is_local;
use super::values::url;

/// The settings of AWS KMS; `None` where it is not enabled. All that is given is
/// checked in either case, so that enabling it is no surprise.
pub(super) fn kms(top: &Fields<'_>) -> Option<Kms> {
    let enabled = top.flag("aws_kms_enabled").unwrap_or(false);
    if enabled && !top.given("aws_region") {
        let text = "AWS KMS is enabled without `aws_region`: it must come of the machine's own AWS profile";
        top.source.findings.warning(&top.place_of("aws_kms_enabled"), text);
    }
    let kms = Kms { region: region(top), endpoint: endpoint(top, enabled), keys: keys(top) };
    enabled.then_some(kms)
}

/// The key of calls that name none.
pub(super) fn default_key(top: &Fields<'_>) -> Option<Box<str>> {
    let name = "aws_kms_default_key_id";
    let key = top.text(name)?;
    if !is_key_name(&key.value) {
        top.problem(name, &key.place, "is not the name of a key", "write its id, its ARN or `alias/NAME`");
    }
    Some(key.value.into())
}

/// The region, which becomes a part of the host's name.
fn region(top: &Fields<'_>) -> Option<String> {
    let region = top.text("aws_region")?;
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !region.value.bytes().all(fits) || region.value.len() > 63 {
        top.problem("aws_region", &region.place, "is not a region", "write its name, such as `eu-west-1`");
    }
    Some(region.value)
}

fn endpoint(top: &Fields<'_>, enabled: bool) -> Option<String> {
    let name = "aws_kms_endpoint";
    url(top, name);
    let endpoint = top.text(name)?;
    let uri = endpoint.value.parse::<Uri>().ok();
    let host = uri.as_ref().filter(|uri| uri.scheme_str() == Some("http")).and_then(Uri::host);
    if enabled && host.is_some_and(|host| !is_local(host.trim_start_matches('[').trim_end_matches(']'))) {
        let text = "AWS KMS is reached by plain HTTP on another machine: what is encrypted travels in the clear";
        top.source.findings.warning(&endpoint.place, text);
    }
    Some(endpoint.value)
}

fn keys(top: &Fields<'_>) -> Option<AwsKeys> {
    let (id, secret) = ("aws_access_key_id", "aws_secret_access_key");
    for (given, missing) in [(id, secret), (secret, id)] {
        if top.given(given) && !top.given(missing) {
            top.problem(missing, &top.place_of(given), "is missing", "give both halves of the AWS key, or neither");
        }
    }
    let session = top.secret("aws_session_token").map(|session| session.value);
    Some(AwsKeys { id: top.secret(id)?.value, secret: top.secret(secret)?.value, session })
}
