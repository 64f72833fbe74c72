//! Fetches an issuer's keys: before they are old, and at once for a token of an unknown key.

use std::error::Error as _;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use filters::json;
use filters::jwt::{KeySet, KeySetProblem};
use reqwest::redirect::Policy;
use reqwest::tls::Certificate;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Fetched, KeyPlace};
use crate::telemetry::Metrics;

use super::keys::LiveKeys;

/// Shortest time between two fetches that tokens of unknown keys ask for.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time that a request waits for keys.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest time for one document.
const TIMEOUT: Duration = Duration::from_secs(5);
/// First and longest time between failed fetches.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Most bytes of a document.
const LARGEST: usize = 1 << 20;

/// The source of an issuer's keys, and the times of its fetches.
pub(super) struct Feed {
    settings: Fetched,
    client: Client,
    asked: Notify,
    /// The number of fetches that have ended.
    ended: watch::Sender<u64>,
    clock: Mutex<Clock>,
}

/// The times of past fetches and of the next.
struct Clock {
    due: Instant,
    /// The end of the last fetch.
    last: Option<Instant>,
    /// The end of the last fetch that gave keys.
    fresh: Option<Instant>,
    failures: u32,
}

/// The reason why there are no new keys.
enum NotFetched {
    Unreachable(reqwest::Error),
    Status(StatusCode),
    TooLarge,
    Discovery(&'static str),
    Keys(KeySetProblem),
}

/// The part of an OpenID provider's configuration that is used
/// (OpenID Connect Discovery 1.0, section 3).
#[derive(Deserialize)]
struct Provider {
    issuer: String,
    jwks_uri: String,
}

impl Feed {
    pub(super) fn new(settings: Fetched) -> Result<Self, String> {
        let mut builder = Client::builder()
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .user_agent("portcullis")
            .https_only(settings.place.url().starts_with("https:"));
        if let Some(authorities) = &settings.authorities {
            let certificates = authorities.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>();
            builder = builder.tls_certs_only(certificates.map_err(|error| error.to_string())?);
        }
        let client = builder.build().map_err(|error| error.to_string())?;
        let clock = Clock { due: Instant::now(), last: None, fresh: None, failures: 0 };
        Ok(Self { settings, client, asked: Notify::new(), ended: watch::Sender::new(0), clock: Mutex::new(clock) })
    }

    /// The number of fetches that have ended.
    pub(super) fn generation(&self) -> u64 {
        *self.ended.borrow()
    }

    /// Waits for the end of a fetch after `generation`, unless the last fetch was a moment ago. Gives
    /// true where the last fetch gave keys. A server that is away is asked but not waited for, so that
    /// it holds nobody up.
    pub(super) async fn newer_than(&self, generation: u64) -> bool {
        let mut ended = self.ended.subscribe();
        let gives_keys = || self.with_clock(|clock| clock.failures == 0);
        if *ended.borrow_and_update() != generation || self.is_resting() {
            return gives_keys();
        }
        self.asked.notify_one();
        gives_keys() && matches!(timeout(PATIENCE, ended.changed()).await, Ok(Ok(()))) && gives_keys()
    }

    /// Fetches whenever that is due or asked for, for ever.
    pub(super) async fn run(&self, issuer: &str, keys: &LiveKeys, metrics: &Metrics) {
        loop {
            let due = self.with_clock(|clock| clock.due);
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.asked.notified() => if self.is_resting() { continue },
            }
            let outcome = self.fetch().await;
            match outcome {
                Ok(set) => {
                    // Keys are published before the clock says that all are known.
                    keys.publish(Some(set));
                    self.with_clock(|clock| clock.succeeded(self.settings.refresh));
                    metrics.jwks.fetched.inc();
                }
                Err(failed) => {
                    let too_old = self.with_clock(|clock| clock.failed(self.settings.keep));
                    metrics.jwks.failed.inc();
                    tracing::error!(issuer, %failed, "the issuer's keys cannot be fetched; those known stay");
                    if too_old && keys.current().is_some() {
                        tracing::error!(issuer, "the issuer's keys are too old and no longer used");
                        keys.publish(None);
                    }
                }
            }
            self.ended.send_modify(|count| *count += 1);
        }
    }

    fn is_resting(&self) -> bool {
        self.with_clock(|clock| clock.last.is_some_and(|last| last.elapsed() < PAUSE))
    }

    fn with_clock<T>(&self, look: impl FnOnce(&mut Clock) -> T) -> T {
        look(&mut self.clock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn fetch(&self) -> Result<KeySet, NotFetched> {
        let jwks = match &self.settings.place {
            KeyPlace::Jwks(url) => self.get(url).await?,
            KeyPlace::Discovery { url, issuer } => {
                let provider: Provider =
                    serde_json::from_slice(json::unmarked(&self.get(url).await?)).map_err(|_| {
                        NotFetched::Discovery("the provider's configuration has no `issuer` and `jwks_uri`")
                    })?;
                if provider.issuer != *issuer {
                    return Err(NotFetched::Discovery("the provider's configuration is another issuer's"));
                }
                let place =
                    Url::parse(&provider.jwks_uri).map_err(|_| NotFetched::Discovery("`jwks_uri` is no URL"))?;
                self.get(place.as_str()).await?
            }
        };
        self.settings.shared.clone().with_jwks(&jwks).map_err(NotFetched::Keys)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, NotFetched> {
        let mut answer = self.client.get(url).send().await.map_err(NotFetched::Unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(NotFetched::Status(answer.status()));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(NotFetched::Unreachable)? {
            if body.len() + part.len() > LARGEST {
                return Err(NotFetched::TooLarge);
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }
}

impl Clock {
    fn succeeded(&mut self, refresh: Duration) {
        let now = Instant::now();
        (self.last, self.fresh, self.failures) = (Some(now), Some(now), 0);
        self.due = now + refresh;
    }

    /// Notes a failed fetch; gives true where the keys are older than `keep`.
    fn failed(&mut self, keep: Duration) -> bool {
        let now = Instant::now();
        self.last = Some(now);
        let (first, longest) = BACK_OFF;
        self.due = now + first.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures += 1;
        self.fresh.is_some_and(|fresh| fresh.elapsed() >= keep)
    }
}

impl fmt::Display for NotFetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => {
                write!(f, "{error}")?;
                let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
                causes.try_for_each(|cause| write!(f, ": {cause}"))
            }
            Self::Status(status) => write!(f, "answered {status}"),
            Self::TooLarge => f.write_str("answered more than 1 MiB"),
            Self::Discovery(wrong) => f.write_str(wrong),
            Self::Keys(problem) => write!(f, "what was answered {problem}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A feed that nobody runs: waiting for it ends with the patience.
    fn feed() -> Feed {
        Feed::new(Fetched {
            place: KeyPlace::Jwks("http://127.0.0.1:1/keys".to_owned()),
            shared: KeySet::default(),
            authorities: None,
            refresh: Duration::from_secs(300),
            keep: Duration::from_secs(300),
        })
        .unwrap()
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_not_waited_for() {
        const LONG_AGO: Duration = Duration::from_secs(10);
        let soon = |feed| async move { timeout(PATIENCE / 2, Feed::newer_than(feed, 0)).await };
        let feed = feed();
        assert!(soon(&feed).await.is_err(), "one that was never asked is");
        feed.with_clock(|clock| clock.failed(LONG_AGO));
        assert_eq!(soon(&feed).await, Ok(false), "it was asked a moment ago");
        feed.with_clock(|clock| clock.last = clock.last.and_then(|last| last.checked_sub(LONG_AGO)));
        assert_eq!(soon(&feed).await, Ok(false));
        feed.with_clock(|clock| clock.succeeded(LONG_AGO));
        assert_eq!(soon(&feed).await, Ok(true), "all keys of a moment ago are known");
        feed.with_clock(|clock| clock.last = clock.last.and_then(|last| last.checked_sub(LONG_AGO)));
        assert!(soon(&feed).await.is_err(), "there may be newer ones");
    }
}
