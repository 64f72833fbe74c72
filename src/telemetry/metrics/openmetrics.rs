//! The text form of OpenMetrics 1.0, which the crate of metrics has not.
//! Source: <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::fmt::Write as _;

use prometheus::proto::{Histogram, LabelPair, MetricFamily, MetricType};

use super::exemplars::{Exemplar, Exemplars};

/// The end of the names of counters' samples, which their families have not.
const TOTAL: &str = "_total";

/// Every family, with exemplars for the buckets of that named `exemplified`.
pub(super) fn encode(families: &[MetricFamily], exemplified: &str, exemplars: &Exemplars) -> String {
    let mut out = String::new();
    for family in families {
        let exemplars = Some(exemplars).filter(|_| family.name() == exemplified);
        one(family, exemplars, &mut out);
    }
    out.push_str("# EOF\n");
    out
}

fn one(family: &MetricFamily, exemplars: Option<&Exemplars>, out: &mut String) {
    let (kind, name) = match family.get_field_type() {
        MetricType::COUNTER => ("counter", family.name().strip_suffix(TOTAL).unwrap_or(family.name())),
        MetricType::HISTOGRAM => ("histogram", family.name()),
        MetricType::GAUGE => ("gauge", family.name()),
        MetricType::SUMMARY | MetricType::UNTYPED => ("unknown", family.name()),
    };
    let _ = writeln!(out, "# TYPE {name} {kind}");
    let _ = writeln!(out, "# HELP {name} {}", escaped(family.help()));
    for metric in family.get_metric() {
        let labels = metric.get_label();
        match family.get_field_type() {
            MetricType::COUNTER => sample((name, TOTAL), labels, None, metric.get_counter().get_value(), out),
            MetricType::GAUGE => sample((name, ""), labels, None, metric.get_gauge().get_value(), out),
            MetricType::HISTOGRAM => {
                histogram(name, labels, metric.get_histogram(), exemplars.and_then(|all| all.of(labels)), out);
                continue;
            }
            MetricType::SUMMARY | MetricType::UNTYPED => continue,
        }
        out.push('\n');
    }
}

/// Buckets, each with its exemplar, then count and sum.
fn histogram(
    name: &str,
    labels: &[LabelPair],
    histogram: &Histogram,
    exemplars: Option<&[Option<Exemplar>]>,
    out: &mut String,
) {
    let finite = histogram.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    let last = (f64::INFINITY, histogram.get_sample_count());
    let buckets = finite.filter(|(bound, _)| bound.is_finite()).chain([last]);
    for (place, (bound, count)) in buckets.enumerate() {
        sample((name, "_bucket"), labels, Some(bound), count as f64, out);
        if let Some(Some(Exemplar { trace, value, at })) = exemplars.and_then(|exemplars| exemplars.get(place)) {
            let _ = write!(out, " # {{trace_id=\"{trace}\"}} {value} {at:.3}");
        }
        out.push('\n');
    }
    for (suffix, value) in [("_count", histogram.get_sample_count() as f64), ("_sum", histogram.get_sample_sum())] {
        sample((name, suffix), labels, None, value, out);
        out.push('\n');
    }
}

fn sample((name, suffix): (&str, &str), labels: &[LabelPair], bound: Option<f64>, value: f64, out: &mut String) {
    let _ = write!(out, "{name}{suffix}");
    let mut before = '{';
    for label in labels {
        let _ = write!(out, "{before}{}=\"{}\"", label.name(), escaped(label.value()));
        before = ',';
    }
    if let Some(bound) = bound {
        let _ = write!(out, "{before}le=\"{}\"", if bound.is_finite() { format!("{bound:?}") } else { number(bound) });
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
    let _ = write!(out, " {}", number(value));
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use filters::trace::TraceId;
    use prometheus::{HistogramOpts, HistogramVec, IntCounter, Registry};

    use super::super::families::BUCKETS;
    use super::*;

    #[test]
    fn families_are_told_with_exemplars_and_an_end() {
        let registry = Registry::new();
        let counter = IntCounter::new("things_total", "Things \"so\" \\ called.").unwrap();
        let opts = HistogramOpts::new("took_seconds", "x").buckets(BUCKETS.to_vec());
        let took = HistogramVec::new(opts, &["route"]).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        registry.register(Box::new(took.clone())).unwrap();
        counter.inc();
        took.with_label_values(&["a\"b"]).observe(0.002);
        took.with_label_values(&["other"]).observe(99.0);
        let mut exemplars = Exemplars::default();
        let exemplar = Exemplar { trace: TraceId::of([1, 2]), value: 0.002, at: 7.5 };
        exemplars.add(["a\"b"], std::iter::once((4, exemplar)));
        let text = encode(&registry.gather(), "took_seconds", &exemplars);
        for line in [
            "# TYPE things counter",
            "# HELP things Things \\\"so\\\" \\\\ called.",
            "things_total 1",
            "# TYPE took_seconds histogram",
            "took_seconds_bucket{route=\"a\\\"b\",le=\"0.001\"} 0",
            "took_seconds_bucket{route=\"a\\\"b\",le=\"0.0025\"} 1 # \
             {trace_id=\"00000000000000010000000000000002\"} 0.002 7.500",
            "took_seconds_bucket{route=\"a\\\"b\",le=\"10.0\"} 1",
            "took_seconds_bucket{route=\"other\",le=\"+Inf\"} 1",
            "took_seconds_count{route=\"other\"} 1",
            "took_seconds_sum{route=\"other\"} 99",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
        assert!(text.ends_with("\n# EOF\n") && text.matches("trace_id").count() == 1, "{text}");
    }
}
