//! The end of threads that write or send: a disk or server that does not answer holds up the gate's own end no longer
//! than this.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Longest time for a writer to end: a slow disk may have some megabytes to take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Wakes a thread that is to end, and waits for that, but no longer than `patience`; true where it has ended.
pub(super) fn ended_within(patience: Duration, ending: &JoinHandle<()>) -> bool {
    ending.thread().unpark();
    let begun = Instant::now();
    while !ending.is_finished() && begun.elapsed() < patience {
        thread::sleep(LOOK);
    }
    ending.is_finished()
}
