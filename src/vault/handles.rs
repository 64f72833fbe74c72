//! The keys of handles, derived from each version of a transit key: nothing is stored, every gate
//! has the same keys, and a version that is rotated or withdrawn in Vault is rotated or withdrawn
//! here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use filters::handle::Keyring;
use filters::refusal::Refusal;
use filters::vault::Layout;
use filters::vault::transit::TransitKey;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

use super::own::OwnCalls;
use super::transit;

/// Pause between two looks at the versions.
const LOOK: Duration = Duration::from_secs(5);
/// Pause while Vault gives no key or does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Least time between two looks, however often one is wanted.
const LEAST: Duration = Duration::from_millis(250);
/// Oldest answer of Vault's with which the gate is ready.
const CURRENT: Duration = Duration::from_secs(10);
/// Pause before the gate has a login.
const SEEK: Duration = Duration::from_millis(10);
/// Seconds after which a new version seals: every gate has seen it by then.
const SETTLED: u64 = 10;
/// The purpose that keys are derived for.
const PURPOSE: &str = "portcullis handles 1";

/// The keys of handles, kept up to date.
pub struct Handles {
    own: OwnCalls,
    keyring: ArcSwap<Keyring>,
    /// The time of Vault's last answer: the keys, or that there are none for this gate.
    answered: ArcSwapOption<Instant>,
    wanted: Notify,
}

/// A version and the time it was made, in seconds since the epoch.
type Version = (u32, u64);
type Derived = HashMap<Version, Zeroizing<[u8; 32]>>;

impl Handles {
    /// An empty keyring; [`Handles::run`] fills it.
    #[must_use]
    pub fn new(own: OwnCalls) -> Self {
        Self { own, keyring: ArcSwap::default(), answered: ArcSwapOption::empty(), wanted: Notify::new() }
    }

    /// The keys of the moment.
    #[must_use]
    pub fn keyring(&self) -> Guard<Arc<Keyring>> {
        self.keyring.load()
    }

    /// True where Vault has answered within the last ten seconds. Where it has no keys for this gate,
    /// that is an answer too: the gate serves without handles then.
    #[must_use]
    pub fn are_current(&self) -> bool {
        self.answered.load().as_ref().is_some_and(|at| at.elapsed() < CURRENT)
    }

    /// The refusal where there is no key: Vault has none for this gate, or does not answer.
    #[must_use]
    pub fn without(&self) -> Refusal {
        if self.are_current() { Refusal::NotProvisioned } else { Refusal::UpstreamUnavailable }
    }

    /// Wakes [`Handles::run`]: a handle names a version that is not known here.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// Looks at the transit key for ever; where Vault is away, the keys stay.
    pub async fn run(&self, layout: impl Fn() -> Layout) {
        let mut derived = Derived::new();
        let mut told = false;
        loop {
            let outcome = self.look(&layout(), &mut derived).await;
            if matches!(outcome, Ok(()) | Err(Refusal::NotProvisioned)) {
                self.answered.store(Some(Arc::new(Instant::now())));
            }
            let failed = outcome.is_err();
            match outcome {
                Ok(()) => told = false,
                Err(Refusal::UpstreamUnavailable | Refusal::UpstreamTimeout) => {}
                Err(refusal) if !told => {
                    told = true;
                    let code = refusal.public().code;
                    tracing::error!(
                        code,
                        "the transit key of handles cannot be used: no leases, no wrapped answers; `portcullis-gate.hcl` \
                         has what the gate may do with it, and local-vault/provision.sh makes both"
                    );
                }
                Err(_) => {}
            }
            let pause = match (self.own.is_logged_in(), failed || self.keyring.load().is_empty()) {
                (false, _) => SEEK,
                (true, true) => RETRY,
                (true, false) => LOOK,
            };
            sleep(pause.min(LEAST)).await;
            let _ = timeout(pause.saturating_sub(LEAST), self.wanted.notified()).await;
        }
    }

    async fn look(&self, layout: &Layout, derived: &mut Derived) -> Result<(), Refusal> {
        let key = TransitKey::of_handles(layout);
        let live = transit::versions(&self.own, key, "aes256-gcm96").await?;
        let live: Vec<Version> = live.into_iter().map(|version| (version.number, version.made)).collect();
        let known = derived.len() == live.len() && live.iter().all(|version| derived.contains_key(version));
        for version in &live {
            if !derived.contains_key(version) {
                let bytes = transit::derive(&self.own, key, PURPOSE, version.0).await?;
                derived.insert(*version, bytes);
            }
        }
        derived.retain(|version, _| live.contains(version));
        let order = sealing_first(&live, super::epoch_seconds());
        if !known || self.keyring.load().sealing() != order.first().map(|version| version.0) {
            let keys = order.iter().filter_map(|version| Some((version.0, **derived.get(version)?)));
            self.keyring.store(Arc::new(Keyring::new(keys)));
        }
        Ok(())
    }
}

/// Orders the versions with the sealing one first: the latest settled one, or the oldest where none
/// is settled, since other gates are most likely to know that one.
fn sealing_first(latest_first: &[Version], now: u64) -> Vec<Version> {
    let mut order = latest_first.to_vec();
    let settled = order.iter().position(|(_, made)| made.saturating_add(SETTLED) <= now);
    let first = settled.or_else(|| order.len().checked_sub(1));
    if let Some(first) = first {
        order.get_mut(..=first).unwrap_or_default().rotate_right(1);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_version_seals_once_every_gate_has_seen_it() {
        assert_eq!(sealing_first(&[], 100), []);
        assert_eq!(sealing_first(&[(1, 99)], 100), [(1, 99)]);
        assert_eq!(sealing_first(&[(3, 95), (2, 50), (1, 10)], 100), [(2, 50), (3, 95), (1, 10)]);
        assert_eq!(sealing_first(&[(3, 90), (2, 50)], 100), [(3, 90), (2, 50)]);
        assert_eq!(sealing_first(&[(3, 99), (2, 98)], 100), [(2, 98), (3, 99)]);
    }
}
