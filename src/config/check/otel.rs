//! Traces and collectors, by OpenTelemetry's variables.
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

/// A kind of telemetry: the word before its own options, and the path below a collector's base URL that takes it (OTLP,
/// section OTLP/HTTP Request).
struct Signal {
    word: &'static str,
    path: &'static str,
}

const TRACES: Signal = Signal { word: "traces", path: "/v1/traces" };
const LOGS: Signal = Signal { word: "logs", path: "/v1/logs" };

/// The settings of traces, `None` where there are none; and true where traces are taken over from callers, and told
/// to Vault.
pub(super) fn otel(top: &Fields<'_>) -> (Option<Traces>, bool) {
    let fields = top.table("otel", &section::OTEL);
    (traces(&fields), trace_context(&fields))
}

fn traces(fields: &Fields<'_>) -> Option<Traces> {
    let url = TRACES.endpoint(fields);
    let sampler = sampler(fields);
    let (queue, batch) = sizes(fields);
    if TRACES.is_off(fields) || !TRACES.has_endpoint(fields) {
        return None;
    }
    Some(Traces {
        otlp: TRACES.otlp(fields, url),
        sampler: sampler?,
        schedule_delay: milliseconds(fields, "bsp_schedule_delay"),
        export_timeout: milliseconds(fields, "bsp_export_timeout"),
        queue,
        batch,
    })
}

/// The collector that records of the audit go to, once they are to; `None` where there is none.
pub(super) fn logs(top: &Fields<'_>, audit: &Fields<'_>) -> Option<Otlp> {
    let fields = top.table("otel", &section::OTEL);
    let place = audit.place_of("otlp");
    if LOGS.is_off(&fields) {
        let text = "`audit.otlp` sends nothing: `[otel]` says that no logs are sent";
        audit.source.findings.warning(&place, text);
        return None;
    }
    if !LOGS.has_endpoint(&fields) {
        audit.problem("otlp", &place, "needs a collector", "give `otel.endpoint` or `otel.logs_endpoint`");
        return None;
    }
    let url = LOGS.endpoint(&fields);
    Some(LOGS.otlp(&fields, url))
}

impl Signal {
    /// Its own option where that is given, else the one of all signals.
    fn option(&self, fields: &Fields<'_>, name: &str) -> String {
        let own = self.own(name);
        if fields.given(&own) { own } else { name.to_owned() }
    }

    fn own(&self, name: &str) -> String {
        format!("{}_{name}", self.word)
    }

    fn is_off(&self, fields: &Fields<'_>) -> bool {
        fields.flag("disabled") == Some(true) || word(fields, &self.own("exporter")).as_deref() == Some("none")
    }

    fn has_endpoint(&self, fields: &Fields<'_>) -> bool {
        fields.given("endpoint") || fields.given(&self.own("endpoint"))
    }

    /// The URL that it is posted to. Of a base URL the path of a signal is left out, which older deployments have there.
    fn endpoint(&self, fields: &Fields<'_>) -> Option<String> {
        let name = self.own("endpoint");
        let base = url(fields, "endpoint").then(|| word(fields, "endpoint"))?;
        let own = url(fields, &name).then(|| word(fields, &name))?;
        own.or_else(|| {
            let base = base?;
            let base = base.trim_end_matches('/');
            let bare = [TRACES, LOGS].iter().find_map(|signal| base.strip_suffix(signal.path));
            Some(format!("{}{}", bare.unwrap_or(base), self.path))
        })
    }

    fn otlp(&self, fields: &Fields<'_>, url: Option<String>) -> Otlp {
        self.protocol(fields);
        Otlp {
            url: url.unwrap_or_default(),
            headers: self.headers(fields),
            timeout: milliseconds(fields, &self.option(fields, "timeout")),
            authorities: authorities(fields, &self.option(fields, "certificate")),
            identity: self.identity(fields),
            gzip: word(fields, &self.option(fields, "compression")).as_deref() == Some("gzip"),
            resource: resource(fields),
        }
    }

    fn protocol(&self, fields: &Fields<'_>) {
        let name = self.option(fields, "protocol");
        if let Some(Sited { place, value }) = fields.text(&name)
            && value != "http/protobuf"
        {
            let mend = "write `http/protobuf`, and an endpoint that takes it: collectors have port 4318 for it";
            fields.problem(&name, &place, "is a protocol that the gate does not speak", mend);
        }
    }

    /// The headers of each request. Their values may be credentials.
    fn headers(&self, fields: &Fields<'_>) -> HeaderMap {
        let name = self.option(fields, "headers");
        let Some(Sited { place, value }) = fields.secret(&name) else { return HeaderMap::new() };
        read_headers(&value).unwrap_or_else(|| {
            let mend = "write `name=value`, percent-encoded, with commas between them";
            fields.problem(&name, &place, "is no list of headers", mend);
            HeaderMap::new()
        })
    }

    fn identity(&self, fields: &Fields<'_>) -> Option<(PathBuf, PathBuf)> {
        let certificate = self.option(fields, "client_certificate");
        let key = self.option(fields, "client_key");
        for (given, missing) in [(&certificate, &key), (&key, &certificate)] {
            if fields.given(given) && !fields.given(missing) {
                let mend = "give the certificate and its key, or neither";
                fields.problem(missing, &fields.place_of(given), "is missing", mend);
            }
        }
        let file = |name: &str| {
            fields.text(name).map(|text| fields.source.file(&text.place, &fields.label(name), &text.value))
        };
        Some((file(&certificate)?, file(&key)?))
    }
}

fn word(fields: &Fields<'_>, name: &str) -> Option<String> {
    fields.text(name).map(|text| text.value)
}

fn milliseconds(fields: &Fields<'_>, name: &str) -> Duration {
    Duration::from_millis(fields.number(name).unwrap_or(1))
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
