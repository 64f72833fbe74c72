//! Gives back to Vault what its agent never got, in the background.

use std::sync::atomic::Ordering;
use std::time::Duration;

use filters::refusal::Refusal;
use filters::vault::{Layout, control};

use crate::exchange::Envelope;

use super::handover::{Given, Returns};
use super::lease::{Books, Leases};
use super::own::Undone;

/// Most attempts to give one thing back.
const ATTEMPTS: u32 = 5;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_secs(1);

impl Returns {
    /// Gives back everything in the queue, for ever.
    pub async fn run(&self, leases: &Leases, layout: impl Fn() -> Layout) {
        let mut waiting = self.waiting.lock().await;
        while let Some(given) = waiting.recv().await {
            self.give_back(&given, leases, &layout()).await;
            self.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn give_back(&self, given: &Given, leases: &Leases, layout: &Layout) {
        for attempt in 1..=ATTEMPTS {
            let outcome = match given {
                Given::Lease { agent, accessor } => {
                    leases.end(Books { layout, correlation: None }, agent, accessor).await
                }
                Given::Token { accessor } => self.own.revoke(accessor, Envelope::soon()).await,
                Given::Certificate { serial, namespace } => {
                    let envelope = Envelope { namespace: Some(namespace), ..Envelope::soon() };
                    self.own.succeed(control::revoke_certificate(layout, serial), envelope).await.map(drop)
                }
            };
            match outcome {
                Ok(()) | Err(Undone { refusal: Refusal::NotFound, .. }) => {
                    tracing::info!(what = given.name(), "what its agent did not get was given back to Vault");
                    return;
                }
                Err(_) if attempt < ATTEMPTS => tokio::time::sleep(PAUSE).await,
                Err(undone) => {
                    let (what, code) = (given.name(), undone.refusal.public().code);
                    tracing::error!(
                        what,
                        code,
                        "what its agent did not get cannot be given back; it expires by itself"
                    );
                }
            }
        }
    }
}
