//! Rate limits that gates share, counted in Redis or Valkey: one atomic script charges a request to
//! all of its limits. While the server is away or slow, each gate counts for itself, until the server
//! is back. The server remembers used proofs (RFC 9449) too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use filters::quota::{Exceeded, Limit, LimitKind, Rate};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ExistenceCheck, Script, SetExpiry, SetOptions};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::config::Redis;
use crate::random;
use crate::redis::client as redis_client;
use crate::telemetry::Metrics;

/// Longest time to connect, TLS and login included.
const CONNECT: Duration = Duration::from_secs(2);
/// Milliseconds between two attempts to connect, and up to half as many more at random, so that gates
/// do not come back all at once.
const PAUSE: u64 = 400;
/// Pause between two looks whether the server still charges.
const LOOK: Duration = Duration::from_secs(1);
/// Nanoseconds in a second.
const GIGA: u64 = 1_000_000_000;

/// Limits that gates share.
pub struct SharedLimits {
    settings: Redis,
    client: Client,
    script: Script,
    /// A limit that is charged to see whether the server can.
    probe: Option<Limit>,
    /// The connection; `None` while it is away.
    live: ArcSwapOption<MultiplexedConnection>,
    lost: Notify,
    /// True where the log says that the server is away.
    told: AtomicBool,
    /// True where the log names a key of another kind, since the last connection.
    told_of_key: AtomicBool,
}

/// The reason why the server did not count a limit. Its text holds no secret.
#[derive(Debug)]
enum Away {
    Late,
    Failed(redis::RedisError),
    /// The answer is not one of the script.
    Nonsense,
    /// The key of this limit holds something else; other limits can be counted.
    Key(Arc<str>),
}

impl SharedLimits {
    /// Prepares the limits; nothing is connected before [`SharedLimits::run`]. Where `previous` has the
    /// same settings, it is used on.
    ///
    /// # Errors
    /// No client can be made of the settings.
    pub fn new(settings: &Redis, previous: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        if let Some(same) = previous.filter(|previous| previous.settings == *settings) {
            return Ok(Arc::clone(same));
        }
        Ok(Arc::new(Self {
            client: redis_client(settings).map_err(|error| format!("rate_limit: {error}"))?,
            settings: settings.clone(),
            script: Script::new(include_str!("gcra.lua")),
            probe: Rate::new(1_000_000, Duration::from_secs(1), 1_000_000)
                .map(|rate| Limit::new(rate, LimitKind::All, "probe", None)),
            live: ArcSwapOption::empty(),
            lost: Notify::new(),
            told: AtomicBool::new(false),
            told_of_key: AtomicBool::new(false),
        }))
    }

    /// The server, as it is configured.
    #[must_use]
    pub const fn server(&self) -> &Redis {
        &self.settings
    }

    /// Charges one request to every one of the limits, or to none; `None` where the server does not
    /// answer.
    pub async fn charge<'a>(
        &self,
        limits: impl Iterator<Item = &'a Limit> + Clone,
        metrics: &Metrics,
    ) -> Option<Result<(), Exceeded>> {
        self.ask(metrics, async |live| self.charge_by(live, limits, None).await).await
    }

    /// Charges as [`SharedLimits::charge`] does, at `now` (nanoseconds) instead of by the server's clock.
    ///
    /// # Errors
    /// The reason why the server does not answer.
    pub async fn charge_at(&self, limits: &[&Limit], now: u64) -> Result<Result<(), Exceeded>, String> {
        let live = match self.live.load_full() {
            Some(live) => live,
            None => Arc::new(self.connect().await.map_err(|away| away.to_string())?),
        };
        self.live.store(Some(Arc::clone(&live)));
        self.charge_by(&live, limits.iter().copied(), Some(now)).await.map_err(|away| away.to_string())
    }

    /// Notes a proof, by its kind and id, as used for `seconds`. Gives true where nobody has used it before,
    /// and `None` where the server does not answer.
    pub async fn use_up(&self, (kind, id): (&str, &str), seconds: u64, metrics: &Metrics) -> Option<bool> {
        let options = SetOptions::default().conditional_set(ExistenceCheck::NX).with_expiration(SetExpiry::EX(seconds));
        let mut set = redis::cmd("SET");
        set.arg(format!("{{{}}}:{kind}:{id}", self.settings.prefix)).arg(1).arg(options);
        let said = self.ask(metrics, async |live| {
            let said: Option<String> = timeout(self.settings.timeout, set.query_async(&mut live.clone())).await??;
            Ok(said)
        });
        Some(said.await?.is_some())
    }

    /// The server's answer; `None` while it is away.
    async fn ask<T>(
        &self,
        metrics: &Metrics,
        question: impl AsyncFnOnce(&MultiplexedConnection) -> Result<T, Away>,
    ) -> Option<T> {
        let Some(live) = self.live.load_full() else {
            metrics.limits.local.inc();
            return None;
        };
        let lost = |away: &Away| {
            metrics.limits.local.inc();
            match away {
                Away::Key(_) if self.told_of_key.swap(true, Ordering::Relaxed) => {}
                Away::Key(name) => tracing::error!(
                    key = self.key(name),
                    "a key of rate limits holds something else: each gate counts what it limits for itself; delete it"
                ),
                away => self.lose(&live, away, metrics),
            }
        };
        question(&live).await.inspect_err(lost).ok()
    }

    async fn charge_by<'a>(
        &self,
        live: &MultiplexedConnection,
        limits: impl Iterator<Item = &'a Limit> + Clone,
        now: Option<u64>,
    ) -> Result<Result<(), Exceeded>, Away> {
        let mut call = self.script.prepare_invoke();
        match now {
            Some(now) => call.arg(now / GIGA).arg(now % GIGA),
            None => call.arg("").arg(""),
        };
        for limit in limits.clone() {
            call.key(self.key(&limit.name));
            for time in [limit.rate.interval(), limit.rate.tolerance()] {
                call.arg(time / GIGA).arg(time % GIGA);
            }
        }
        let mut live = live.clone();
        let answer: Vec<u64> = timeout(self.settings.timeout, call.invoke_async(&mut live)).await??;
        let limit = |place: u64| limits.clone().nth(usize::try_from(place).ok()?.checked_sub(1)?);
        match *answer.as_slice() {
            [0] => Ok(Ok(())),
            [place] => Err(limit(place).map_or(Away::Nonsense, |limit| Away::Key(limit.name.clone()))),
            [place, retry_after, reset] => {
                let Limit { kind, rate, .. } = limit(place).ok_or(Away::Nonsense)?;
                Ok(Err(Exceeded { kind: *kind, limit: rate.burst(), retry_after, reset }))
            }
            _ => Err(Away::Nonsense),
        }
    }

    /// The key of a limit's cell. The prefix is in braces, so that all cells are on one node of a cluster.
    fn key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.settings.prefix)
    }

    /// Keeps a connection open, for ever.
    pub async fn run(&self, metrics: &Metrics) {
        loop {
            match self.connect().await {
                Ok(connection) => self.keep(Arc::new(connection), metrics).await,
                Err(away) => self.tell(&away),
            }
            sleep(Duration::from_millis(PAUSE + random::u64() % (PAUSE / 2))).await;
        }
    }

    /// Uses the connection until it is lost.
    async fn keep(&self, connection: Arc<MultiplexedConnection>, metrics: &Metrics) {
        self.live.store(Some(Arc::clone(&connection)));
        metrics.limits.shared.set(1);
        self.told.store(false, Ordering::Relaxed);
        self.told_of_key.store(false, Ordering::Relaxed);
        tracing::info!("rate limits are shared");
        while self.live.load().is_some() {
            let look = async {
                sleep(LOOK).await;
                self.look(&connection).await
            };
            tokio::select! {
                () = self.lost.notified() => {}
                looked = look => {
                    if let Err(away) = looked {
                        self.lose(&connection, &away, metrics);
                    }
                }
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Away> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = timeout(CONNECT, connecting).await??;
        timeout(CONNECT, self.script.load_async(&mut connection)).await??;
        self.look(&connection).await?;
        Ok(connection)
    }

    /// Charges the probe. A server that takes no writes, or lets this user run no scripts, counts as
    /// away.
    async fn look(&self, connection: &MultiplexedConnection) -> Result<(), Away> {
        self.charge_by(connection, self.probe.iter(), None).await.map(drop)
    }

    /// Gives up the connection; logged once, however many requests find out.
    fn lose(&self, connection: &Arc<MultiplexedConnection>, away: &Away, metrics: &Metrics) {
        let before = self.live.compare_and_swap(connection, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, connection)) {
            metrics.limits.shared.set(0);
            self.tell(away);
            self.lost.notify_one();
        }
    }

    fn tell(&self, away: &Away) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::error!(%away, "rate limits are not shared now: this gate counts for itself");
        }
    }
}

impl From<tokio::time::error::Elapsed> for Away {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        Self::Late
    }
}

impl From<redis::RedisError> for Away {
    fn from(error: redis::RedisError) -> Self {
        Self::Failed(error)
    }
}

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Late => f.write_str("it does not answer in time"),
            Self::Failed(error) => write!(f, "{error}"),
            Self::Nonsense => f.write_str("it answers something else than the script"),
            Self::Key(name) => write!(f, "the key of {name} holds something else"),
        }
    }
}
