//! Traces, by OpenTelemetry's variables.
//! Source: <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use std::path::PathBuf;
use std::time::Duration;

use filters::secret::Secret;
use filters::trace::Sampler;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::super::fields::{Fields, Sited};
use super::super::sections as section;
use super::super::settings::{Otlp, Traces};
use super::values::{authorities, url};

/// The path below a collector's base URL that takes traces (OTLP, section OTLP/HTTP Request).
const PATH: &str = "/v1/traces";

/// The settings of traces, `None` where there are none; and true where traces are taken over from callers, and told
/// to Vault.
pub(super) fn otel(top: &Fields<'_>) -> (Option<Traces>, bool) {
    let fields = top.table("otel", &section::OTEL);
    (traces(&fields), trace_context(&fields))
}

fn traces(fields: &Fields<'_>) -> Option<Traces> {
    let url = endpoint(fields);
    let sampler = sampler(fields);
    let (queue, batch) = sizes(fields);
    let off = fields.flag("disabled") == Some(true) || word(fields, "traces_exporter").as_deref() == Some("none");
    if off || !(fields.given("endpoint") || fields.given("traces_endpoint")) {
        return None;
    }
    protocol(fields);
    let otlp = Otlp {
        url: url.unwrap_or_default(),
        headers: headers(fields),
        timeout: milliseconds(fields, specific(fields, "traces_timeout", "timeout")),
        authorities: authorities(fields, specific(fields, "traces_certificate", "certificate")),
        identity: identity(fields),
        gzip: word(fields, specific(fields, "traces_compression", "compression")).as_deref() == Some("gzip"),
        resource: resource(fields),
    };
    Some(Traces {
        otlp,
        sampler: sampler?,
        schedule_delay: milliseconds(fields, "bsp_schedule_delay"),
        export_timeout: milliseconds(fields, "bsp_export_timeout"),
        queue,
        batch,
    })
}

/// The option of traces where that is given, else the one of all signals.
fn specific(fields: &Fields<'_>, traces: &'static str, all: &'static str) -> &'static str {
    if fields.given(traces) { traces } else { all }
}

fn word(fields: &Fields<'_>, name: &str) -> Option<String> {
    fields.text(name).map(|text| text.value)
}

fn milliseconds(fields: &Fields<'_>, name: &str) -> Duration {
    Duration::from_millis(fields.number(name).unwrap_or(1))
}

/// The URL that traces are posted to. A base URL that ends in the path of traces, as older deployments have it, is
/// taken for that of traces.
fn endpoint(fields: &Fields<'_>) -> Option<String> {
    let base = url(fields, "endpoint").then(|| word(fields, "endpoint"))?;
    let own = url(fields, "traces_endpoint").then(|| word(fields, "traces_endpoint"))?;
    own.or_else(|| {
        let base = base?;
        let base = base.trim_end_matches('/');
        Some(format!("{}{PATH}", base.strip_suffix(PATH).unwrap_or(base)))
    })
}

/// Most spans that wait, and most of one request.
fn sizes(fields: &Fields<'_>) -> (usize, usize) {
    const BATCH: &str = "bsp_max_export_batch_size";
    let [queue, batch] = ["bsp_max_queue_size", BATCH].map(|name| fields.size(name).unwrap_or(1));
    if batch > queue && fields.given(BATCH) {
        fields.problem(BATCH, &fields.place_of(BATCH), "is more than may wait", "write at most `bsp_max_queue_size`");
    }
    (queue, batch.min(queue))
}

/// True where `tracecontext` is among the propagators. What is no propagator of the gate's is told and left out, as the
/// specification wants it; where nothing is left, the default counts.
fn trace_context(fields: &Fields<'_>) -> bool {
    const NAME: &str = "propagators";
    let (known, others): (Vec<_>, Vec<_>) =
        fields.words(NAME).into_iter().partition(|word| section::PROPAGATORS.contains(&word.text.as_str()));
    if let Some(first) = others.first() {
        let (label, known) = (fields.label(NAME), section::PROPAGATORS.join("`, `"));
        let text = format!("{label} names some that the gate does not have, which are left out: it has `{known}`");
        fields.source.findings.warning(&first.place, text);
    }
    let names = |name: &str| known.iter().any(|word| word.text == name);
    known.is_empty() || names("tracecontext") && !names("none")
}

fn sampler(fields: &Fields<'_>) -> Option<Sampler> {
    let name = word(fields, "traces_sampler")?;
    let Sited { place, value } = fields.text("traces_sampler_arg")?;
    let ratio = value.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    if ratio.is_none() && name.ends_with("ratio") {
        fields.problem("traces_sampler_arg", &place, "is not a share", "write a number from 0 to 1, such as `0.01`");
    }
    Sampler::named(&name, ratio.unwrap_or(1.0))
}

fn protocol(fields: &Fields<'_>) {
    let name = specific(fields, "traces_protocol", "protocol");
    if let Some(Sited { place, value }) = fields.text(name)
        && value != "http/protobuf"
    {
        let mend = "write `http/protobuf`, and an endpoint that takes it: collectors have port 4318 for it";
        fields.problem(name, &place, "is a protocol that the gate does not speak", mend);
    }
}

/// The headers of each request. Their values may be credentials.
fn headers(fields: &Fields<'_>) -> HeaderMap {
    let name = specific(fields, "traces_headers", "headers");
    let Some(Sited { place, value }) = fields.secret(name) else { return HeaderMap::new() };
    read_headers(&value).unwrap_or_else(|| {
        let mend = "write `name=value`, percent-encoded, with commas between them";
        fields.problem(name, &place, "is no list of headers", mend);
        HeaderMap::new()
    })
}

fn read_headers(list: &Secret) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in list.expose().split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let name: HeaderName = name.trim().parse().ok()?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let mut value = HeaderValue::try_from(&*value).ok()?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Some(headers)
}

fn identity(fields: &Fields<'_>) -> Option<(PathBuf, PathBuf)> {
    let certificate = specific(fields, "traces_client_certificate", "client_certificate");
    let key = specific(fields, "traces_client_key", "client_key");
    for (given, missing) in [(certificate, key), (key, certificate)] {
        if fields.given(given) && !fields.given(missing) {
            let mend = "give the certificate and its key, or neither";
            fields.problem(missing, &fields.place_of(given), "is missing", mend);
        }
    }
    let file = |name| fields.text(name).map(|text| fields.source.file(&text.place, &fields.label(name), &text.value));
    Some((file(certificate)?, file(key)?))
}

/// Attributes of the gate. The service's name is the one that is given, else one among the attributes.
fn resource(fields: &Fields<'_>) -> Vec<(String, String)> {
    const NAME: &str = "service.name";
    let mut attributes = Vec::new();
    for word in fields.words("resource_attributes") {
        let pair = word.text.split_once('=').and_then(|(name, value)| {
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            Some((name.trim().to_owned(), value.into_owned()))
        });
        match pair.filter(|(name, _)| !name.is_empty()) {
            Some(pair) => attributes.push(pair),
            None => {
                let mend = "write `name=value`, the value percent-encoded";
                fields.problem("resource_attributes", &word.place, "holds what is no attribute", mend);
            }
        }
    }
    if fields.given("service_name") {
        attributes.retain(|(name, _)| name != NAME);
    }
    if attributes.iter().all(|(name, _)| name != NAME) {
        attributes.extend(word(fields, "service_name").map(|value| (NAME.to_owned(), value)));
    }
    attributes
}
