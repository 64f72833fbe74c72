//! Bounds log lines that anybody could cause: each is written seldom, with the number that was left
//! out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shortest time between two of the same line.
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
    /// The number of lines left out since the last one, where a line is due now; counts the line as left
    /// out where none is.
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
