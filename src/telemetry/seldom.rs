//! A line that anybody could cause is written seldom, with how often it was left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two of the same line.
const PAUSE: Duration = Duration::from_secs(10);

/// Tells when a line is due.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Since>);

#[derive(Debug, Default)]
struct Since {
    written: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// How many were left out since the last one, where one is due now.
    pub fn due(&self) -> Option<u64> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if since.written.is_some_and(|at| at.elapsed() < PAUSE) {
            since.left_out += 1;
            return None;
        }
        since.written = Some(Instant::now());
        Some(std::mem::take(&mut since.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let seldom = Seldom::default();
        assert_eq!([seldom.due(), seldom.due(), seldom.due()], [Some(0), None, None]);
        seldom.0.lock().unwrap().written = Instant::now().checked_sub(PAUSE);
        assert_eq!(seldom.due(), Some(2));
    }
}
