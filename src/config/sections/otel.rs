//! OpenTelemetry, by the variables of its specification.

use crate::config::kind::Kind;
use crate::config::options::{Opt, Section, choice, number, text, words};
use filters::trace::Sampler;

/// Most milliseconds of a time that OpenTelemetry's variables name.
const LONGEST: u64 = 3_600_000;

const fn secret(name: &'static str, about: &'static str) -> Opt {
    Opt::file(name, Kind::Secret, "", about)
}

const COMPRESSION: &[&str] = &["none", "gzip"];

/// Known values of `OTEL_PROPAGATORS`.
pub(in crate::config) const PROPAGATORS: &[&str] = &["tracecontext", "baggage", "none"];

section! {
    OTEL, "otel", "[otel]",
    Opt::file("disabled", Kind::Flag, "false", "Whether nothing is sent, whatever else is said here and at `audit.otlp`.").or_variable("OTEL_SDK_DISABLED"),
    text("service_name", "vault-mcp", "The gate's name in traces: the attribute `service.name`.").or_variable("OTEL_SERVICE_NAME"),
    words("resource_attributes", "Attributes of whatever is sent: `name=value`, the values percent-encoded.").or_variable("OTEL_RESOURCE_ATTRIBUTES"),
    Opt::file("propagators", Kind::Words, "tracecontext,baggage", "With `tracecontext` the gate takes the trace of a request over from its caller and tells Vault of it, without it or with `none` neither; `baggage` has no effect. Others are left out, with a warning.").or_variable("OTEL_PROPAGATORS"),
    choice("traces_exporter", &["otlp", "none"], "otlp", "Whether traces are sent.").or_variable("OTEL_TRACES_EXPORTER"),
    choice("logs_exporter", &["otlp", "none"], "otlp", "Whether records of the audit are sent, where `audit.otlp` says so.").or_variable("OTEL_LOGS_EXPORTER"),
    choice("traces_sampler", Sampler::NAMES, "parentbased_always_on", "Which traces are recorded; with the `parentbased_` ones a caller that says so has its way.").or_variable("OTEL_TRACES_SAMPLER"),
    text("traces_sampler_arg", "1", "The share of all traces, from 0 to 1, with the `traceidratio` ones.").or_variable("OTEL_TRACES_SAMPLER_ARG"),
    text("endpoint", "", "URL of a collector that takes OTLP over HTTP, such as `http://localhost:4318`; `/v1/traces` or `/v1/logs` is added. Without it or `traces_endpoint` there are no traces.").or_variable("OTEL_EXPORTER_OTLP_ENDPOINT"),
    text("traces_endpoint", "", "URL that traces are sent to, as it is.").or_variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    text("logs_endpoint", "", "URL that records of the audit are sent to, as it is.").or_variable("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"),
    secret("headers", "Headers of each request to it: `name=value`, the values percent-encoded, with commas between them.").or_variable("OTEL_EXPORTER_OTLP_HEADERS"),
    secret("traces_headers", "Those of traces, instead.").or_variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
    secret("logs_headers", "Those of logs, instead.").or_variable("OTEL_EXPORTER_OTLP_LOGS_HEADERS"),
    number("timeout", (1, LONGEST), "10000", "Longest time for one request, in milliseconds.").or_variable("OTEL_EXPORTER_OTLP_TIMEOUT"),
    number("traces_timeout", (1, LONGEST), "", "That of traces, instead.").or_variable("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"),
    number("logs_timeout", (1, LONGEST), "", "That of logs, instead.").or_variable("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT"),
    text("protocol", "http/protobuf", "The protocol: `http/protobuf` is the one there is.").or_variable("OTEL_EXPORTER_OTLP_PROTOCOL"),
    text("traces_protocol", "", "That of traces, instead.").or_variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
    text("logs_protocol", "", "That of logs, instead.").or_variable("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL"),
    text("certificate", " the system's authorities", "PEM file of the authorities of the collector's certificate.").or_variable("OTEL_EXPORTER_OTLP_CERTIFICATE"),
    text("traces_certificate", "", "Those for traces, instead.").or_variable("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"),
    text("logs_certificate", "", "Those for logs, instead.").or_variable("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE"),
    text("client_certificate", "", "PEM file of the certificate chain that the gate presents.").or_variable("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
    text("traces_client_certificate", "", "That for traces, instead.").or_variable("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE"),
    text("logs_client_certificate", "", "That for logs, instead.").or_variable("OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE"),
    text("client_key", "", "PEM file of its private key.").or_variable("OTEL_EXPORTER_OTLP_CLIENT_KEY"),
    text("traces_client_key", "", "That for traces, instead.").or_variable("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY"),
    text("logs_client_key", "", "That for logs, instead.").or_variable("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY"),
    choice("compression", COMPRESSION, "none", "How requests are compressed.").or_variable("OTEL_EXPORTER_OTLP_COMPRESSION"),
    choice("traces_compression", COMPRESSION, "", "Those of traces, instead.").or_variable("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"),
    choice("logs_compression", COMPRESSION, "", "Those of logs, instead.").or_variable("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION"),
    number("bsp_schedule_delay", (1, LONGEST), "5000", "Longest time that a span waits for others to be sent with, in milliseconds.").or_variable("OTEL_BSP_SCHEDULE_DELAY"),
    number("bsp_export_timeout", (1, LONGEST), "30000", "Longest time that is tried to send them, in milliseconds; then they are lost.").or_variable("OTEL_BSP_EXPORT_TIMEOUT"),
    number("bsp_max_queue_size", (1, 1_000_000), "2048", "Most spans that wait; what is above is lost.").or_variable("OTEL_BSP_MAX_QUEUE_SIZE"),
    number("bsp_max_export_batch_size", (1, 100_000), "512", "Most spans of one request.").or_variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
}
