//! The limit on failed authentications of one source (invariant 10): beyond it no credential that could
//! be guessed is judged.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use filters::quota::{Cell, Exceeded, Rate};
use moka::sync::Cache;

/// Most source addresses whose failures are remembered.
const MAX_SOURCES: u64 = 65_536;

/// Failed authentications by source address.
pub struct Failures {
    cells: Cache<IpAddr, Arc<Cell>>,
    /// True once there was any failure.
    any: AtomicBool,
}

impl Default for Failures {
    fn default() -> Self {
        let cells = Cache::builder().max_capacity(MAX_SOURCES).time_to_idle(Duration::from_secs(900)).build();
        Self { cells, any: AtomicBool::new(false) }
    }
}

impl Failures {
    /// Checks that a credential of this source may be judged; charges nothing.
    ///
    /// # Errors
    /// [`Exceeded`] where the source has failed too often.
    pub fn check(&self, source: IpAddr, rate: &Rate, now: u64) -> Result<(), Exceeded> {
        if !self.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.cells.get(&network(source)).map_or(Ok(()), |cell| cell.check(rate, now))
    }

    /// Charges one failure.
    pub fn charge(&self, source: IpAddr, rate: &Rate, now: u64) {
        self.any.store(true, Ordering::Relaxed);
        let cell = self.cells.get_with(network(source), Arc::default);
        // Over the limit there is nothing more to charge.
        let _ = cell.charge(rate, now);
    }
}

/// An IPv4 address, or the /64 that one IPv6 host has for itself.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_network() {
        let failures = Failures::default();
        let rate = Rate::new(1, Duration::from_secs(60), 2).unwrap();
        let (a, b): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        failures.charge(a, &rate, 1);
        failures.charge(b, &rate, 1);
        assert!(failures.check(a, &rate, 1).is_err());
        assert!(failures.check("2001:db8:1::1".parse().unwrap(), &rate, 1).is_ok());
        assert!(failures.check("192.0.2.1".parse().unwrap(), &rate, 1).is_ok());
    }
}
