//! The reasons why a login fails, and the pause before the next.
//!
//! Vault counts refused logins and locks the role for everybody (by default after five within a
//! quarter of an hour, for as long), so that credentials which were refused are not presented again
//! before others are there or much time has passed. A Vault that does not answer is asked again at
//! once: the gate is back within a second of it.

use std::fmt;
use std::time::Duration;

use filters::vault::{control, is_doubtful, is_refusal};

use crate::config::Login;
use crate::exchange::Answer;

use super::file::FileProblem;

/// First pause where Vault did not answer; doubled up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(100);
/// Longest such pause, so that the gate serves within a second of Vault.
pub(super) const LONGEST: Duration = Duration::from_millis(800);
/// First and longest pause after a refusal that Vault does not count.
const UNCOUNTED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(180));
/// First and longest pause while the role is locked; refusals do not prolong the lock.
const LOCKED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(180));
/// First and longest pause after a refusal that Vault counts: longer than it remembers one.
const COUNTED: (Duration, Duration) = (Duration::from_secs(16 * 60), Duration::from_secs(4 * 3600));

/// The reason why there is no login, for the log and `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoginFailure {
    /// Nothing has failed.
    Nothing,
    NoCredentials,
    File(FileProblem),
    Unreachable,
    /// The status, and its meaning where that is known.
    Refused(u16, Option<&'static str>),
    /// The role is most likely locked.
    LockedOut,
    /// An answer of this status that is not Vault's.
    Foreign(u16),
    Nonsense,
}

impl LoginFailure {
    /// The reason in an answer without success.
    pub(super) fn of(method: &Login, answer: &Answer) -> Self {
        let why = control::login_refused(&answer.body);
        match (answer.status, why, method) {
            (400..=499, ..) if !is_refusal(&answer.body) => Self::Foreign(answer.status),
            // OpenBao answers so for a token that it does not know.
            (403, None, Login::Token(_) | Login::TokenFile(_)) if is_doubtful(403, &answer.body) => {
                Self::Refused(403, Some(control::UNKNOWN_TOKEN))
            }
            // A wrong secret id would be a 400 with a reason.
            (403, None, Login::AppRole { .. }) => Self::LockedOut,
            (status, ..) => Self::Refused(status, why),
        }
    }

    /// True where the same credentials would be refused again.
    pub(super) const fn is_final(&self) -> bool {
        matches!(self, Self::Refused(400 | 401 | 403 | 404, _) | Self::LockedOut)
    }
}

impl fmt::Display for LoginFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("a login is under way"),
            Self::NoCredentials => {
                f.write_str("no credentials: set VAULT_ROLE_ID and VAULT_SECRET_ID, or another way to log in")
            }
            Self::File(problem) => problem.fmt(f),
            Self::Unreachable => f.write_str("Vault does not answer"),
            Self::Refused(status, why) => {
                match status {
                    400 => f.write_str("Vault does not accept it (400)")?,
                    403 => f.write_str("Vault denies it (403)")?,
                    404 => f.write_str("Vault has no such auth method (404)")?,
                    _ => write!(f, "Vault answers {status}")?,
                }
                why.map_or(Ok(()), |why| write!(f, ": {why}"))
            }
            Self::LockedOut => f.write_str(
                "Vault denies it (403): most likely the role is locked after logins with a wrong secret id, by this \
                 gate or another; sys/locked-users tells, and unlocks it",
            ),
            Self::Foreign(status) => write!(f, "an answer ({status}) that is not Vault's"),
            Self::Nonsense => f.write_str("Vault's answer cannot be understood"),
        }
    }
}

/// The pauses after failures in a row.
#[derive(Debug)]
pub(super) struct Pauses {
    short: Duration,
    /// The number of refusals of the same credentials.
    refused: u32,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { short: SHORTEST, refused: 0 }
    }
}

impl Pauses {
    /// The pause after this failure, with a random part, so that gates do not come all at once.
    pub(super) fn after(&mut self, failed: &LoginFailure, method: &Login) -> Duration {
        if !failed.is_final() {
            return self.short();
        }
        let (first, longest) = match (failed, method) {
            (LoginFailure::LockedOut, _) => LOCKED,
            (LoginFailure::Refused(400, _), Login::AppRole { .. }) => COUNTED,
            _ => UNCOUNTED,
        };
        let pause = first.saturating_mul(1 << self.refused.min(16)).min(longest);
        self.refused += 1;
        pause.mul_f64(1.0 + noise() / 2.0)
    }

    /// A pause of less than a second.
    pub(super) fn short(&mut self) -> Duration {
        let pause = self.short;
        self.short = (pause * 2).min(LONGEST);
        pause.mul_f64(0.5 + noise() / 2.0)
    }
}

/// A random number from 0 to 1.
fn noise() -> f64 {
    crate::random::u64() as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use filters::secret::Secret;

    fn approle() -> Login {
        Login::AppRole { mount: "approle".into(), role_id: "r".into(), secret_id: Secret::new("s".into()) }
    }

    fn failed(method: &Login, status: u16, body: &'static str) -> LoginFailure {
        LoginFailure::of(method, &Answer { status, media: None, body: Bytes::from_static(body.as_bytes()) })
    }

    /// The pauses after `count` failures of one kind, in seconds.
    fn pauses(method: &Login, failed: &LoginFailure, count: usize) -> Vec<f64> {
        let mut pauses = Pauses::default();
        (0..count).map(|_| pauses.after(failed, method).as_secs_f64()).collect()
    }

    #[test]
    fn refused_credentials_are_not_presented_often_enough_to_lock_a_role() {
        let wrong = failed(&approle(), 400, r#"{"errors":["invalid role or secret ID"]}"#);
        assert_eq!(wrong, LoginFailure::Refused(400, Some("role id or secret id is wrong")));
        let counted = pauses(&approle(), &wrong, 8);
        assert!(counted.iter().all(|pause| *pause > 15.0 * 60.0), "Vault forgets one in between: {counted:?}");
        let locked = failed(&approle(), 403, r#"{"errors":["permission denied"]}"#);
        assert_eq!(locked, LoginFailure::LockedOut);
        assert!(pauses(&approle(), &locked, 8).iter().all(|pause| (60.0..300.0).contains(pause)));
    }

    #[test]
    fn a_token_that_is_unknown_is_told_from_one_that_may_not() {
        let token = Login::Token(Secret::new("t".into()));
        let unknown = LoginFailure::Refused(403, Some(control::UNKNOWN_TOKEN));
        assert_eq!(failed(&token, 403, r#"{"errors":["permission denied"]}"#), unknown);
        assert_eq!(
            failed(&token, 403, r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token"]}"#),
            unknown
        );
        let denied = failed(&token, 403, r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#);
        assert_eq!(denied, LoginFailure::Refused(403, None));
    }

    #[test]
    fn other_refusals_are_minutes_apart_before_long() {
        let token = Login::Token(Secret::new("t".into()));
        for (status, body) in [
            (403, r#"{"errors":["permission denied"]}"#),
            (400, r#"{"errors":["missing role"]}"#),
            (404, r#"{"errors":["no handler for route \"auth/jwt/login\". route entry not found."]}"#),
        ] {
            let pauses = pauses(&token, &failed(&token, status, body), 10);
            assert!(pauses[0] < 2.0 && pauses[9] >= 180.0, "{status}: {pauses:?}");
        }
    }

    #[test]
    fn whoever_does_not_answer_as_vault_is_asked_again_within_a_second() {
        for failed in [
            LoginFailure::Unreachable,
            LoginFailure::Nonsense,
            failed(&approle(), 503, r#"{"errors":["Vault is sealed"]}"#),
            failed(&approle(), 500, r#"{"errors":["internal error"]}"#),
            failed(&approle(), 404, "<html>404</html>"),
            failed(&approle(), 403, "Forbidden"),
            failed(&approle(), 400, r#"{"errors":[]}"#),
            failed(&approle(), 429, r#"{"errors":["request rate limit quota exceeded"]}"#),
        ] {
            assert!(pauses(&approle(), &failed, 20).iter().all(|pause| *pause < 1.0), "{failed}");
        }
    }
}
