//! Duties of the background, which run beside the requests. Each duty is a task of its own: a panic ends that duty alone, is
//! counted and told, and the duty is begun again.

use std::sync::Arc;
use std::time::Duration;

use filters::audit::Occurrence;
use filters::event::{Event, EventKind};
use futures_util::future::BoxFuture;
use tokio::task::JoinError;
use tokio::time::{sleep, timeout};

use crate::events;
use crate::limits::SharedLimits;
use crate::reload::Reload;
use crate::state::{DutiesDown, State};
use crate::telemetry::Metrics;

/// First pause before a duty is begun again; doubled up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(100);
/// Longest pause before a duty is begun again.
const LONGEST: Duration = Duration::from_secs(30);

/// A name, and what is done for ever.
type Duty = (&'static str, fn(Arc<Background>) -> BoxFuture<'static, ()>);

/// The state that the duties work on.
struct Background {
    state: Arc<State>,
    reload: Reload,
}

const DUTIES: [Duty; 14] = [
    ("health", |all| Box::pin(async move { all.state.vault.monitor.run().await })),
    ("login", |all| Box::pin(async move { all.state.vault.login.run().await })),
    ("handles", |all| Box::pin(async move { all.watch_handles().await })),
    ("audit keys", |all| Box::pin(async move { all.watch_audit_keys().await })),
    ("provision", |all| Box::pin(async move { all.watch_provision().await })),
    ("kms", |all| Box::pin(async move { all.watch_kms().await })),
    ("tokens", |all| Box::pin(async move { all.state.vault.tokens.run().await })),
    ("suspensions", |all| Box::pin(async move { all.watch_suspensions().await })),
    ("returns", |all| Box::pin(async move { all.give_back().await })),
    ("reload", |all| Box::pin(async move { all.reload.run().await })),
    ("issuers", |all| Box::pin(async move { all.fetch_keys().await })),
    ("shared limits", |all| Box::pin(async move { all.share_limits().await })),
    ("suspension events", |all| Box::pin(async move { all.tell_of_suspensions().await })),
    ("events", |all| Box::pin(async move { all.share_events().await })),
];

/// Begins every duty on the runtime of the caller.
pub(super) fn begin(state: &Arc<State>, reload: Reload) {
    let all = Arc::new(Background { state: Arc::clone(state), reload });
    for (name, run) in DUTIES {
        let all = Arc::clone(&all);
        let state = Arc::clone(state);
        tokio::spawn(
            async move { supervise(&state.duties_down, &state.metrics, name, || run(Arc::clone(&all))).await },
        );
    }
}

/// Keeps a duty running.
async fn supervise(
    down: &DutiesDown,
    metrics: &Metrics,
    name: &'static str,
    begin: impl Fn() -> BoxFuture<'static, ()>,
) {
    let mut pause = SHORTEST;
    loop {
        let mut task = tokio::spawn(begin());
        // One that ends again at once does not run.
        let ended = match timeout(pause, &mut task).await {
            Ok(ended) => ended,
            Err(_) => {
                metrics.duties_down.set(down.note(name, true));
                pause = SHORTEST;
                task.await
            }
        };
        metrics.duties_down.set(down.note(name, false));
        tell(metrics, name, &ended, pause);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

fn tell(metrics: &Metrics, duty: &str, ended: &Result<(), JoinError>, pause: Duration) {
    if ended.is_err() {
        metrics.panics.inc();
    }
    let how = if ended.is_err() { "has panicked" } else { "has ended" };
    tracing::error!(duty, ?pause, "a duty of the background {how}; it is begun again");
}

impl Background {
    async fn watch_handles(&self) {
        self.state.vault.handles.run(|| self.state.snapshot().vault.layout.clone()).await;
    }

    async fn watch_audit_keys(&self) {
        self.state.vault.audit_keys.run(|| self.state.snapshot().vault.layout.clone()).await;
    }

    async fn watch_provision(&self) {
        self.state.vault.provision.run(|| self.state.snapshot().vault.makings.clone()).await;
    }

    async fn watch_kms(&self) {
        let Some(kms) = &self.state.kms else { return std::future::pending().await };
        kms.watch(|| self.state.snapshot().vault.layout.kms_default_key.clone()).await;
    }

    async fn watch_suspensions(&self) {
        let vault = &self.state.vault;
        vault.suspensions.run(&vault.tokens, &vault.leases, || self.state.snapshot().vault.layout.clone()).await;
    }

    /// Tells agents that they are suspended, and that they are no longer.
    async fn tell_of_suspensions(&self) {
        let suspensions = &self.state.vault.suspensions;
        let mut changes = suspensions.changes();
        let mut known = suspensions.all();
        while changes.changed().await.is_ok() {
            let now = suspensions.all();
            let begun = now.difference(&known).map(|agent| (agent, EventKind::Suspended));
            for (agent, kind) in begun.chain(known.difference(&now).map(|agent| (agent, EventKind::Resumed))) {
                self.state.sinks.note(&match kind {
                    EventKind::Resumed => Occurrence::Resumed(agent),
                    _ => Occurrence::Suspended(agent),
                });
                if let Some(agent) = self.state.snapshot().agents.find(agent) {
                    self.state.events.publish_here(Event::of_operator(kind, &agent));
                }
            }
            known = now;
        }
    }

    async fn give_back(&self) {
        let vault = &self.state.vault;
        vault.returns.run(&vault.leases, || self.state.snapshot().vault.layout.clone()).await;
    }

    /// Keeps the issuers' keys fresh: those of the snapshot of the moment.
    async fn fetch_keys(&self) {
        loop {
            let issuers = Arc::clone(&self.state.snapshot().credentials.issuers);
            let replaced = self.state.snapshot_where(|snapshot| !Arc::ptr_eq(&snapshot.credentials.issuers, &issuers));
            tokio::select! {
                () = issuers.run(&self.state.metrics) => {}
                () = replaced => {}
            }
        }
    }

    /// Keeps the connection to where limits are shared.
    async fn share_limits(&self) {
        self.with_shared(|state, shared| {
            Box::pin(async move {
                state.metrics.limits.shared.set(0);
                match shared {
                    Some(shared) => shared.run(&state.metrics).await,
                    None => std::future::pending().await,
                }
            })
        })
        .await;
    }

    /// Keeps the connection to where events are shared, which is where limits are.
    async fn share_events(&self) {
        self.with_shared(|state, shared| {
            Box::pin(events::share(&state.events, shared.map(SharedLimits::server), &state.metrics))
        })
        .await;
    }

    /// Does something with what gates share, by the snapshot of the moment.
    async fn with_shared(&self, run: for<'s> fn(&'s State, Option<&'s SharedLimits>) -> BoxFuture<'s, ()>) {
        let same = |one: &Option<Arc<SharedLimits>>, other: &Option<Arc<SharedLimits>>| {
            one.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr)
        };
        loop {
            let shared = self.state.snapshot().limits.shared.clone();
            tokio::select! {
                () = run(&self.state, shared.as_deref()) => {}
                () = self.state.snapshot_where(|snapshot| !same(&snapshot.limits.shared, &shared)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_duty_that_panics_is_told_counted_and_begun_again() {
        let (down, metrics) = (DutiesDown::default(), Metrics::new(Vec::new()).unwrap());
        let begun = Arc::new(AtomicUsize::new(0));
        let supervised = supervise(&down, &metrics, "look", || {
            let before = begun.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                assert!(before >= 2, "the first two panic");
                std::future::pending().await
            })
        });
        let back = async {
            while down.is_empty() {
                tokio::task::yield_now().await;
            }
            assert_eq!((down.names(), metrics.duties_down.get()), (vec!["look"], 1));
            while !down.is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let back = timeout(Duration::from_secs(20), back);
        tokio::select! {
            () = supervised => unreachable!("a duty is supervised for ever"),
            back = back => back.expect("it runs again"),
        }
        assert_eq!((begun.load(Ordering::Relaxed), metrics.panics.get(), metrics.duties_down.get()), (3, 2, 0));
    }
}
