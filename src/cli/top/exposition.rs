//! Metrics as a gate tells them, in Prometheus' text format.
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::collections::{BTreeMap, HashMap};

/// The series of one scrape, by name.
#[derive(Debug, Default)]
pub(super) struct Exposition(HashMap<String, Vec<Series>>);

#[derive(Debug)]
struct Series {
    labels: Vec<(String, String)>,
    value: f64,
}

impl Series {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

impl Exposition {
    /// Reads a scrape. Lines that are no series, comments among them, are passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut all = HashMap::<String, Vec<Series>>::new();
        for (name, series) in text.lines().filter_map(line) {
            match all.get_mut(name) {
                Some(others) => others.push(series),
                None => _ = all.insert(name.to_owned(), vec![series]),
            }
        }
        Self(all)
    }

    fn series(&self, name: &str) -> &[Series] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The sum of all series of that name; 0 where there is none.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.series(name).iter().fold(0.0, |sum, series| sum + series.value)
    }

    /// The first value of that label.
    pub(super) fn label(&self, name: &str, label: &str) -> Option<&str> {
        self.series(name).first()?.label(label)
    }

    /// The sum of the series with each value of that label.
    pub(super) fn by(&self, name: &str, label: &str) -> BTreeMap<&str, f64> {
        let mut sums = BTreeMap::new();
        for series in self.series(name) {
            *sums.entry(series.label(label).unwrap_or_default()).or_default() += series.value;
        }
        sums
    }

    /// The histogram of that name, over the series whose value of `label` counts.
    pub(super) fn histogram(&self, name: &str, label: &str, counts: impl Fn(&str) -> bool) -> Histogram {
        let mut histogram = Histogram::default();
        for series in self.series(&format!("{name}_bucket")) {
            let bound = series.label("le").and_then(|bound| bound.parse::<f64>().ok());
            if let Some(bound) = bound.filter(|_| counts(series.label(label).unwrap_or_default())) {
                match histogram.0.iter_mut().find(|(other, _)| *other == bound) {
                    Some((_, sum)) => *sum += series.value,
                    None => histogram.0.push((bound, series.value)),
                }
            }
        }
        histogram.0.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        histogram
    }
}

/// Upper bounds of buckets, in seconds, and how many observations are not above each.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    /// What was observed since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let of = |bound: f64| before.0.iter().find(|(other, _)| *other == bound).map_or(0.0, |(_, count)| *count);
        Self(self.0.iter().map(|(bound, count)| (*bound, (count - of(*bound)).max(0.0))).collect())
    }

    /// The number of observations.
    pub(super) fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// The value below which this share of the observations is, in seconds, as Prometheus' `histogram_quantile`
    /// finds it; infinite above the last bound, `None` without observations.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let rank = share * self.count();
        let place = self.0.iter().position(|(_, count)| *count >= rank).filter(|_| rank > 0.0)?;
        let (bound, count) = self.0.get(place)?;
        let (below, before) = place.checked_sub(1).and_then(|place| self.0.get(place)).unwrap_or(&(0.0, 0.0));
        if bound.is_infinite() {
            return Some(f64::INFINITY);
        }
        Some(below + (bound - below) * (rank - before) / (count - before))
    }
}

/// Name, labels and value of a line.
fn line(line: &str) -> Option<(&str, Series)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at_checked(end).filter(|(name, _)| !name.starts_with('#'))?;
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.trim_start_matches(',').to_owned(), value));
            rest = after;
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some((name, Series { labels, value }))
}

/// A value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, c)) = characters.next() {
        match c {
            '"' => return Some((value, text.get(place + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = r#"# HELP a_total Some "text" {a="b"} 7
# TYPE a_total counter
a_total{route="/secrets/{path}",status="200"} 3
a_total{route="/x\"},\\y",status="404"} 4
b 1.5 1700000000
broken{route="x
c_seconds_bucket{op="r",le="0.1"} 10
c_seconds_bucket{op="r",le="+Inf"} 20
c_seconds_bucket{op="r",le="1"} 20
c_seconds_bucket{op="w",le="0.1"} 100
"#;

    #[test]
    fn series_are_read_by_name_and_label() {
        let scrape = Exposition::parse(SCRAPE);
        assert_eq!((scrape.sum("a_total"), scrape.sum("b"), scrape.sum("none")), (7.0, 1.5, 0.0));
        let by: Vec<_> = scrape.by("a_total", "route").into_iter().collect();
        assert_eq!(by, [("/secrets/{path}", 3.0), ("/x\"},\\y", 4.0)]);
        assert_eq!((scrape.label("a_total", "status"), scrape.label("b", "status")), (Some("200"), None));
    }

    #[test]
    fn quantiles_are_those_of_what_came_since() {
        let scrape = Exposition::parse(SCRAPE);
        let reads = scrape.histogram("c_seconds", "op", |op| op == "r");
        assert_eq!(reads, Histogram(vec![(0.1, 10.0), (1.0, 20.0), (f64::INFINITY, 20.0)]));
        assert_eq!((reads.count(), reads.quantile(0.25), reads.quantile(0.75)), (20.0, Some(0.05), Some(0.55)));
        assert_eq!((Histogram::default().quantile(0.5), reads.since(&reads).quantile(0.5)), (None, None));
        let later = Histogram(vec![(0.1, 10.0), (1.0, 20.0), (f64::INFINITY, 21.0)]);
        assert_eq!(later.since(&reads).quantile(0.5), Some(f64::INFINITY));
    }
}
