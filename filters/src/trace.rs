//! Traces: the span that a request says it belongs to (W3C Trace Context, section 3.2), and which traces are recorded.

use std::fmt;

/// Length of a `traceparent` of version 00, in bytes.
const LENGTH: usize = 55;

/// The id of a trace: 16 bytes, not all of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The id of a span: 8 bytes, not all of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

/// A span in its trace, as a `traceparent` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// True where its trace is recorded.
    pub sampled: bool,
}

/// The span that a request says it belongs to, and what tracing systems say of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The span.
    pub parent: TraceParent,
    /// Its `tracestate`; empty for none.
    pub state: Box<str>,
}

impl TraceId {
    /// An id of random numbers.
    #[must_use]
    pub fn of(random: [u64; 2]) -> Self {
        let [high, low] = random;
        // Zero is no id; samplers look at the lower half alone.
        Self((u128::from(high.max(1)) << 64 | u128::from(low)).to_be_bytes())
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Its text: 32 hexadecimal digits.
    #[must_use]
    pub fn render(&self) -> [u8; 32] {
        let mut text = [0; 32];
        write(&self.0, &mut text);
        text
    }
}

impl SpanId {
    /// An id of a random number.
    #[must_use]
    pub const fn of(random: u64) -> Self {
        Self(if random == 0 { 1_u64 } else { random }.to_be_bytes())
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl TraceParent {
    /// Reads a `traceparent`; `None` for one that is not valid.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let [version] = digits::<1>(parts.next()?)?;
        let trace = digits(parts.next()?).filter(|id| *id != [0; 16])?;
        let span = digits(parts.next()?).filter(|id| *id != [0; 8])?;
        let [flags] = digits::<1>(parts.next()?)?;
        // Later versions may have more.
        let valid = version != 0xff && (version != 0 || parts.next().is_none());
        valid.then_some(Self { trace: TraceId(trace), span: SpanId(span), sampled: flags & 1 == 1 })
    }

    /// Its text, of version 00.
    #[must_use]
    pub fn render(&self) -> [u8; LENGTH] {
        let mut text = *b"00-................................-................-0.";
        let ([_, _, _, rest @ ..], sampled) = (&mut text, b'0' + u8::from(self.sampled));
        let (trace, rest) = rest.split_at_mut(32);
        write(&self.trace.0, trace);
        let (span, rest) = rest.split_at_mut(17);
        write(&self.span.0, span.get_mut(1..).unwrap_or_default());
        if let Some(flags) = rest.last_mut() {
            *flags = sampled;
        }
        text
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.render()).unwrap_or_default())
    }
}

/// Writes bytes as digits: two for each.
fn write(bytes: &[u8], out: &mut [u8]) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    for (byte, digits) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        digits.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
}

/// Reads exactly as many bytes, in lower-case hexadecimal digits.
fn digits<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; BYTES];
    if text.len() != 2 * BYTES {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = digits else { return None };
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

/// The `tracestate` of these lines, which are one list (W3C Trace Context, section 3.3); empty for one that is not
/// passed on: more than 512 bytes, or anything but printable ASCII.
#[must_use]
pub fn trace_state<'a>(lines: impl IntoIterator<Item = &'a str>) -> Box<str> {
    let lines: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    let state = lines.join(",");
    let passes = state.len() <= 512 && state.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if passes { state.into() } else { Box::default() }
}

/// Tells which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// Traces are recorded of which the lower 63 bits of the id are below it.
    bound: u64,
    /// True where a caller that says whether its trace is recorded has its way.
    parent_based: bool,
}

/// One more than the largest number that is compared with the bound of a sampler.
const ALL: u64 = 1 << 63;

impl Sampler {
    /// The names of samplers: the values of `OTEL_TRACES_SAMPLER`.
    pub const NAMES: &'static [&'static str] = &[
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ];

    /// The sampler of this name; `ratio`, from 0 to 1, counts for those that have one. `None` for another name.
    #[must_use]
    pub fn named(name: &str, ratio: f64) -> Option<Self> {
        let root = name.strip_prefix("parentbased_");
        let bound = match root.unwrap_or(name) {
            "always_on" => ALL,
            "always_off" => 0,
            "traceidratio" => of_all(ratio),
            _ => return None,
        };
        Some(Self { bound, parent_based: root.is_some() })
    }

    /// True where the trace is recorded; `parent` is the caller's span.
    #[must_use]
    pub fn samples(self, parent: Option<&TraceParent>, trace: &TraceId) -> bool {
        match parent {
            Some(parent) if self.parent_based => parent.sampled,
            Some(_) | None => {
                let [.., a, b, c, d, e, f, g, h] = trace.0;
                u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.bound
            }
        }
    }
}

/// A share of [`ALL`].
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn of_all(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * ALL as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_span_is_named_by_a_valid_traceparent_only() {
        for (text, valid) in [
            ("00-ID-00f067aa0ba902b7-01", true),
            ("cc-ID-00f067aa0ba902b7-01-more", true),
            ("00-ID-00f067aa0ba902b7-01-more", false),
            ("ff-ID-00f067aa0ba902b7-01", false),
            ("00-ID-0000000000000000-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("00-ID-00f067aa0ba902b7", false),
            ("00-ID0-00f067aa0ba902b7-01", false),
            ("00-ID-00f067aa0ba902b7-0g", false),
            ("ID", false),
            ("", false),
        ] {
            let parsed = TraceParent::parse(&text.replace("ID", ID));
            assert_eq!(parsed.map(|parent| parent.trace.to_string()).as_deref(), valid.then_some(ID), "{text}");
        }
    }

    #[test]
    fn a_span_is_rendered_as_it_was_read() {
        for flags in ["00", "01"] {
            let text = format!("00-{ID}-00f067aa0ba902b7-{flags}");
            let parent = TraceParent::parse(&text).unwrap();
            assert_eq!((parent.render().as_slice(), parent.sampled), (text.as_bytes(), flags == "01"));
        }
        // Flags that are not known yet are not passed on.
        let later = TraceParent::parse(&format!("00-{ID}-00f067aa0ba902b7-ff")).unwrap();
        assert!(later.render().ends_with(b"-01"));
    }

    #[test]
    fn a_state_is_passed_on_unchanged_where_it_is_short_and_printable() {
        let longest = "a".repeat(512);
        for (lines, state) in [
            (&["a=1,b@c=2"][..], "a=1,b@c=2"),
            (&["a=1 ", "", "b=2"], "a=1 ,b=2"),
            (&[&longest], &longest),
            (&[&longest, "b"], ""),
            (&["a=\n"], ""),
            (&["a=ü"], ""),
            (&[], ""),
        ] {
            assert_eq!(&*trace_state(lines.iter().copied()), state, "{lines:?}");
        }
    }

    #[test]
    fn a_parent_has_its_way_only_with_samplers_that_ask_it() {
        let trace = TraceId::of([1, 7]);
        let parent = |sampled| Some(TraceParent { trace, span: SpanId::of(1), sampled });
        for (name, alone, with_sampled, with_unsampled) in [
            ("always_on", true, true, true),
            ("always_off", false, false, false),
            ("parentbased_always_on", true, true, false),
            ("parentbased_always_off", false, true, false),
        ] {
            let sampler = Sampler::named(name, 0.5).unwrap();
            let sampled = [None, parent(true), parent(false)].map(|parent| sampler.samples(parent.as_ref(), &trace));
            assert_eq!(sampled, [alone, with_sampled, with_unsampled], "{name}");
        }
        assert!(Sampler::NAMES.iter().all(|name| Sampler::named(name, 1.0).is_some()));
        assert_eq!(Sampler::named("jaeger_remote", 1.0), None);
    }

    #[test]
    fn a_share_of_all_traces_is_sampled_by_their_ids() {
        let sampled = |ratio: f64| {
            let sampler = Sampler::named("traceidratio", ratio).unwrap();
            // Spread over all numbers.
            let ids = (0..1000_u64).map(|number| TraceId::of([1, number.wrapping_mul(u64::MAX / 1000)]));
            ids.filter(|id| sampler.samples(None, id)).count()
        };
        assert_eq!([0.0, 0.01, 0.5, 1.0].map(sampled), [0, 11, 501, 1000]);
    }
}
