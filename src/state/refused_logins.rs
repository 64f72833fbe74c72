//! The credentials of nobody that were refused last.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::telemetry::Record;

/// Most credentials that are kept.
const MOST: usize = 16;

/// The credentials of nobody that were refused last, a few of them.
#[derive(Debug, Default)]
pub struct RefusedLogins(Mutex<VecDeque<RefusedCredential>>);

/// A credential that was refused, as the request log names it: nothing in it is part of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCredential {
    /// The kind of credential; empty where none was judged.
    pub judged: &'static str,
    /// The reason of its last refusal.
    pub why: String,
    /// The principal, where it was proved: at most 256 characters.
    pub principal: String,
    /// First digits of the SHA-256 of its API key.
    pub key: String,
    /// SHA-256 of its certificate.
    pub certificate: String,
    /// Configured name of its token's issuer.
    pub issuer: String,
    /// Refusals since it stands here.
    pub count: u64,
    /// The moment of the last one.
    pub last: SystemTime,
}

impl RefusedLogins {
    /// Notes a refused login. One that names nobody and shows nothing is passed over; the credential that was refused
    /// longest ago makes room.
    pub fn note(&self, record: &Record<'_>, last: SystemTime) {
        let names = [record.principal, record.key, record.certificate, record.issuer];
        if names.iter().all(|name| name.is_empty()) {
            return;
        }
        let mut refused = self.lock();
        let same = |other: &RefusedCredential| {
            other.judged == record.judged && [&other.principal, &other.key, &other.certificate, &other.issuer] == names
        };
        let before = refused.iter().position(same).and_then(|place| refused.remove(place));
        let count = before.map_or(0, |before| before.count) + 1;
        refused.truncate(MOST - 1);
        let [principal, key, certificate, issuer] = names.map(str::to_owned);
        let why = record.why.to_owned();
        refused.push_front(RefusedCredential {
            judged: record.judged,
            why,
            principal,
            key,
            certificate,
            issuer,
            count,
            last,
        });
    }

    /// The credentials, the last refused first.
    #[must_use]
    pub fn all(&self) -> Vec<RefusedCredential> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<RefusedCredential>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_few_are_kept_and_each_once() {
        let logins = RefusedLogins::default();
        let note = |key: &str| logins.note(&Record { key, why: "x", ..Record::default() }, SystemTime::now());
        note("");
        assert!(logins.all().is_empty(), "it shows nothing");
        for number in 0..100 {
            note(&format!("{number:08x}"));
            note("the same");
        }
        let all = logins.all();
        assert_eq!((all.len(), all[0].key.as_str(), all[0].count), (MOST, "the same", 100));
        assert_eq!((all[1].key.as_str(), all[1].count), ("00000063", 1));
    }
}
