//! Health of AWS KMS, as it was found last.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Pause between two questions while KMS is well.
const WELL: Duration = Duration::from_secs(60);
/// Pause between two questions while it is not.
const UNWELL: Duration = Duration::from_secs(5);

/// The reason why KMS cannot be used, as it was found last.
#[derive(Debug)]
pub(super) struct KmsProblem(Mutex<Option<String>>);

impl Default for KmsProblem {
    fn default() -> Self {
        Self(Mutex::new(Some("not asked yet".to_owned())))
    }
}

impl KmsProblem {
    /// The reason; `None` where KMS can be used.
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the reason, and tells the log where it is another than before; gives the pause before KMS is asked again.
    pub(super) fn note(&self, problem: Option<String>) -> Duration {
        let differs = self.get() != problem;
        match &problem {
            Some(problem) if differs => tracing::warn!(problem, "AWS KMS is not usable"),
            None if differs => tracing::info!("AWS KMS is usable"),
            _ => {}
        }
        let pause = if problem.is_some() { UNWELL } else { WELL };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        pause
    }
}
