//! Rate limits by GCRA (generic cell rate algorithm, ITU-T I.371): one atomic
//! number per cell, no timer, no lock, no clock: time is an argument.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So many requests per period, with a burst on top of the even flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    requests: u32,
    /// Nanoseconds between two requests of the even flow.
    interval: u64,
    /// Nanoseconds a cell may run ahead of the clock.
    tolerance: u64,
}

impl Rate {
    /// `requests` per `period`, of which `burst` may come at once.
    ///
    /// `None` where a number is zero or the period is longer than 30 days.
    #[must_use]
    pub fn new(requests: u32, period: Duration, burst: u32) -> Option<Self> {
        let period = u64::try_from(period.as_nanos()).ok()?;
        if requests == 0 || burst == 0 || period == 0 || period > 30 * 86_400 * 1_000_000_000 {
            return None;
        }
        let interval = (period / u64::from(requests)).max(1);
        let tolerance = interval.checked_mul(u64::from(burst))?;
        Some(Self { requests: burst, interval, tolerance })
    }

    /// The most requests that can come at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.requests
    }

    /// Nanoseconds between two requests of the even flow.
    #[must_use]
    pub const fn interval(&self) -> u64 {
        self.interval
    }

    /// Nanoseconds that a cell may run ahead of the clock.
    #[must_use]
    pub const fn tolerance(&self) -> u64 {
        self.tolerance
    }

    /// Requests per minute of the even flow, to six decimals.
    #[must_use]
    pub fn per_minute(&self) -> f64 {
        (60e15 / self.interval as f64).round() / 1e6
    }

    /// The arrival time after one more request at `now`, where `seen` was the
    /// one before.
    fn next(&self, seen: u64, now: u64) -> Result<u64, Exceeded> {
        let next = seen.max(now).saturating_add(self.interval);
        let ahead = next.saturating_sub(now);
        if ahead <= self.tolerance {
            return Ok(next);
        }
        Err(Exceeded {
            kind: LimitKind::Source,
            limit: self.requests,
            retry_after: seconds(ahead - self.tolerance).max(1),
            reset: seconds(seen.saturating_sub(now)),
        })
    }

    /// True where this rate lets more through than `other`, in the long run.
    #[must_use]
    pub const fn is_wider_than(&self, other: &Self) -> bool {
        self.interval < other.interval
    }
}

/// As a person reads it.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at once, then one each {:?}", self.requests, Duration::from_nanos(self.interval))
    }
}

/// The state of one limit: the theoretical arrival time, in nanoseconds.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

/// The requests that a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Failed authentications of one source address.
    Source,
    /// Requests of one agent.
    Agent,
    /// Requests of all agents together.
    All,
    /// Requests of one agent that one of its roles allows.
    Role,
    /// One operation of one agent.
    Operation,
}

impl LimitKind {
    /// Every kind, each at the place that it has as a number.
    pub const EVERY: [Self; 5] = [Self::Source, Self::Agent, Self::All, Self::Role, Self::Operation];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Agent => "agent",
            Self::All => "all",
            Self::Role => "role",
            Self::Operation => "operation",
        }
    }
}

/// Why a request may not pass now, and what to tell the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The kind of the limit.
    pub kind: LimitKind,
    /// The most requests that can come at once.
    pub limit: u32,
    /// Seconds until one more request passes, rounded up, at least 1.
    pub retry_after: u64,
    /// Seconds until the whole burst is there again, rounded up.
    pub reset: u64,
}

impl Cell {
    /// Charges one request at `now`, nanoseconds on any clock that never runs
    /// backwards.
    ///
    /// # Errors
    /// [`Exceeded`]; nothing is charged then.
    pub fn charge(&self, rate: &Rate, now: u64) -> Result<(), Exceeded> {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let next = rate.next(seen, now)?;
            match self.0.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(current) => seen = current,
            }
        }
    }

    /// The number of requests that would pass at `now` one after the other; charges nothing.
    #[must_use]
    pub fn left(&self, rate: &Rate, now: u64) -> u64 {
        let ahead = self.0.load(Ordering::Relaxed).saturating_sub(now);
        rate.tolerance.saturating_sub(ahead) / rate.interval
    }

    /// Checks that a request would pass at `now`; charges nothing.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn check(&self, rate: &Rate, now: u64) -> Result<(), Exceeded> {
        rate.next(self.0.load(Ordering::Relaxed), now).map(drop)
    }
}

/// A limit and the state it is counted in.
#[derive(Clone, Debug)]
pub struct Limit {
    /// The rate of requests that may pass.
    pub rate: Rate,
    /// The requests that it counts.
    pub kind: LimitKind,
    /// The requests that have passed; shared by all snapshots, so that a reload forgives nothing.
    pub cell: Arc<Cell>,
    /// The name that tells it from every other limit, on this gate and on others.
    pub name: Arc<str>,
}

impl Limit {
    /// A limit that is counted where it was `before`.
    #[must_use]
    pub fn new(rate: Rate, kind: LimitKind, name: impl Into<Arc<str>>, before: Option<&Self>) -> Self {
        let cell = before.map(|limit| Arc::clone(&limit.cell)).unwrap_or_default();
        Self { rate, kind, cell, name: name.into() }
    }

    fn charge(&self, now: u64) -> Result<(), Exceeded> {
        self.cell.charge(&self.rate, now).map_err(|exceeded| Exceeded { kind: self.kind, ..exceeded })
    }

    fn check(&self, now: u64) -> Result<(), Exceeded> {
        self.cell.check(&self.rate, now).map_err(|exceeded| Exceeded { kind: self.kind, ..exceeded })
    }
}

/// Bounds of an agent beside its rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Most of its requests that are served at once.
    pub concurrent: usize,
    /// Most of its live leases.
    pub leases: usize,
    /// Longest life of a lease, in seconds; `None` where Vault decides.
    pub lease_ttl: Option<u32>,
    /// Life of its token in Vault, in seconds; `None` where Vault decides, or it has none of its own.
    pub token_ttl: Option<u32>,
}

/// Checks that a request would pass all of the limits at `now`; charges nothing.
///
/// # Errors
/// The bounds of the first limit that it would not pass.
pub fn check_all<'a>(limits: impl IntoIterator<Item = &'a Limit>, now: u64) -> Result<(), Exceeded> {
    limits.into_iter().try_for_each(|limit| limit.check(now))
}

/// Charges one request at `now` to every one of the limits, or to none.
///
/// Where two requests race for the last place of one limit, the one that loses
/// may have been charged to those before it: never too much passes.
///
/// # Errors
/// The bounds of the first limit that it does not pass.
pub fn charge_all<'a>(limits: impl IntoIterator<Item = &'a Limit> + Clone, now: u64) -> Result<(), Exceeded> {
    check_all(limits.clone(), now)?;
    limits.into_iter().try_for_each(|limit| limit.charge(now))
}

const fn seconds(nanoseconds: u64) -> u64 {
    nanoseconds.div_ceil(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(requests: u32, seconds: u64, burst: u32) -> Rate {
        Rate::new(requests, Duration::from_secs(seconds), burst).unwrap()
    }

    #[test]
    fn a_burst_passes_at_once_and_then_the_even_flow() {
        let (cell, rate) = (Cell::default(), rate(60, 60, 60));
        let start = 5 * SECOND;
        for left in (0..60).rev() {
            cell.charge(&rate, start).unwrap();
            assert_eq!(cell.left(&rate, start), left);
        }
        assert_eq!([1, 2, 600].map(|later| cell.left(&rate, start + later * SECOND)), [1, 2, 60]);
        let refused = cell.charge(&rate, start).unwrap_err();
        assert_eq!(refused, Exceeded { kind: LimitKind::Source, limit: 60, retry_after: 1, reset: 60 });
        assert!(cell.charge(&rate, start + SECOND).is_ok());
        assert!(cell.charge(&rate, start + SECOND).is_err());
    }

    #[test]
    fn a_refusal_charges_nothing() {
        let (cell, rate) = (Cell::default(), rate(1, 10, 1));
        cell.charge(&rate, SECOND).unwrap();
        for _ in 0..100 {
            assert!(cell.charge(&rate, 2 * SECOND).is_err());
        }
        let refused = cell.check(&rate, 2 * SECOND).unwrap_err();
        assert_eq!((refused.retry_after, refused.reset), (9, 9));
        assert!(cell.check(&rate, 10 * SECOND).is_err());
        assert!(cell.check(&rate, 11 * SECOND).is_ok());
        assert!(cell.charge(&rate, 11 * SECOND).is_ok());
    }

    #[test]
    fn several_limits_are_charged_together_or_not_at_all() {
        let now = SECOND;
        let wide = Limit::new(rate(10, 3600, 10), LimitKind::Agent, "wide", None);
        let narrow = Limit::new(rate(2, 3600, 2), LimitKind::Role, "narrow", None);
        for _ in 0..2 {
            charge_all([&wide, &narrow], now).unwrap();
        }
        for _ in 0..20 {
            let refused = charge_all([&wide, &narrow], now).unwrap_err();
            assert_eq!((refused.kind, refused.limit), (LimitKind::Role, 2));
        }
        for _ in 0..8 {
            charge_all([&wide], now).unwrap();
        }
        let refused = charge_all([&wide, &narrow], now).unwrap_err();
        assert_eq!((refused.kind, refused.limit), (LimitKind::Agent, 10), "the first one says it");
        let after_a_reload = Limit::new(rate(4, 3600, 4), LimitKind::Role, "narrow", Some(&narrow));
        assert!(check_all([&after_a_reload], now).is_err(), "half an hour's flow is used up");
    }

    #[test]
    fn each_kind_stands_at_its_number() {
        assert!(LimitKind::EVERY.iter().enumerate().all(|(place, kind)| *kind as usize == place));
    }

    #[test]
    fn nonsense_is_no_rate() {
        assert!(Rate::new(0, Duration::from_secs(1), 1).is_none());
        assert!(Rate::new(1, Duration::ZERO, 1).is_none());
        assert!(Rate::new(1, Duration::from_secs(1), 0).is_none());
        assert!(Rate::new(1, Duration::MAX, 1).is_none());
        assert!(rate(600, 60, 1).is_wider_than(&rate(60, 60, 60)));
    }

    #[test]
    fn a_rate_is_told_per_minute_whatever_its_period() {
        for (rate, told) in [
            (rate(60, 60, 1), 60.0),
            (rate(7, 60, 7), 7.0),
            (rate(10, 1, 1), 600.0),
            (rate(10, 3600, 10), 0.166_667),
            (rate(10, 30 * 86_400, 1), 0.000_231),
        ] {
            assert_eq!(rate.per_minute().to_string(), told.to_string());
        }
    }
}
