//! Events that gates share through a stream of Redis or Valkey, which is capped: each gate adds its own
//! and reads those of the others, from the last one that it has seen.
//! Source: <https://redis.io/docs/latest/develop/data-types/streams/>

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use crate::config::Redis;
use crate::random;
use crate::redis::client;
use crate::telemetry::Metrics;

use super::Bus;
use super::outbox::{EVENT, SESSION};

/// Longest time to connect, TLS and login included, and for an answer that does not wait for anything.
const PATIENCE: Duration = Duration::from_secs(2);
/// Milliseconds for which the server waits for news.
const WAIT: u64 = 1000;
/// Least milliseconds between two attempts to connect, and up to half as many more at random.
const PAUSE: u64 = 400;
/// Events that are sent or read at once.
const AT_ONCE: usize = 256;
/// Events that the server keeps, about.
const CAP: usize = 10_000;

/// An entry of the stream: its id, and its one field, which is named for its subject.
type Entry = (String, Vec<String>);

/// Shares the events of one bus through one server.
pub(super) struct Relay<'a> {
    bus: &'a Bus,
    settings: &'a Redis,
    key: String,
    metrics: &'a Metrics,
}

/// The reason why the server is away. Its text holds no secret.
#[derive(Debug)]
enum Away {
    Late,
    Failed(RedisError),
}

impl<'a> Relay<'a> {
    pub(super) fn new(bus: &'a Bus, settings: &'a Redis, metrics: &'a Metrics) -> Self {
        Self { bus, settings, key: format!("{{{}}}:events", settings.prefix), metrics }
    }

    /// Shares events, for ever.
    pub(super) async fn run(&self) {
        let (mut last, mut told) = (None, false);
        loop {
            let away = match self.connected(&mut last, &mut told).await {
                Ok(never) => match never {},
                Err(away) => away,
            };
            self.metrics.events.shared.set(0);
            if !told {
                tracing::error!(%away, "events are not shared now: streams are told of this gate's own");
                told = true;
            }
            sleep(Duration::from_millis(PAUSE + random::u64() % (PAUSE / 2))).await;
        }
    }

    /// Shares events until the server is away. `last` is the entry that was read last.
    async fn connected(&self, last: &mut Option<String>, told: &mut bool) -> Result<std::convert::Infallible, Away> {
        // Who waits for news holds up everybody on its connection.
        let (mut reader, mut writer) = tokio::try_join!(self.connect(), self.connect())?;
        let begin = self.catch_up(&mut reader, last.take()).await?;
        let begin = last.insert(begin);
        self.metrics.events.shared.set(1);
        tracing::info!("events are shared");
        *told = false;
        tokio::select! {
            away = self.read(&mut reader, begin) => away,
            away = self.write(&mut writer) => away,
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Away> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(None);
        let client = client(self.settings)?;
        Ok(timeout(PATIENCE, client.get_multiplexed_async_connection_with_config(&config)).await??)
    }

    /// Where to read on: after `last`, where that is known, else after what there is, which is taken in.
    async fn catch_up(&self, reader: &mut MultiplexedConnection, last: Option<String>) -> Result<String, Away> {
        let mut ask = redis::cmd("XREVRANGE");
        match &last {
            Some(last) => ask.arg(&self.key).arg(last).arg(last),
            None => ask.arg(&self.key).arg("+").arg("-"),
        };
        let ask = ask.arg("COUNT").arg(CAP).query_async(reader);
        let mut entries: Vec<Entry> = timeout(PATIENCE, ask).await??;
        match last {
            Some(last) => {
                // What came after it may be gone with it.
                if entries.is_empty() && last != BEGIN {
                    self.bus.tell_gap();
                }
                Ok(last)
            }
            None => {
                entries.reverse();
                let last = entries.last().map_or_else(|| BEGIN.to_owned(), |(id, _)| id.clone());
                entries.iter().for_each(|(_, fields)| self.take(fields));
                Ok(last)
            }
        }
    }

    async fn read(
        &self,
        reader: &mut MultiplexedConnection,
        last: &mut String,
    ) -> Result<std::convert::Infallible, Away> {
        loop {
            let mut ask = redis::cmd("XREAD");
            ask.arg("COUNT").arg(AT_ONCE).arg("BLOCK").arg(WAIT).arg("STREAMS").arg(&self.key).arg(&*last);
            let waited = timeout(PATIENCE + Duration::from_millis(WAIT), ask.query_async(reader)).await??;
            let streams: Option<Vec<(String, Vec<Entry>)>> = waited;
            for (id, fields) in streams.into_iter().flatten().flat_map(|(_, entries)| entries) {
                self.take(&fields);
                *last = id;
            }
        }
    }

    /// Tells of what stands in an entry; what is not understood is left out.
    fn take(&self, fields: &[String]) {
        let [subject, text] = fields else { return };
        match subject.as_str() {
            EVENT => drop(serde_json::from_str(text).map(|told| self.bus.accept(told))),
            SESSION => drop(serde_json::from_str(text).map(|change| self.bus.sessions.apply(&change))),
            _ => {}
        }
    }

    async fn write(&self, writer: &mut MultiplexedConnection) -> Result<std::convert::Infallible, Away> {
        loop {
            let events = self.bus.outbox.wait(AT_ONCE).await;
            let mut pipeline = redis::pipe();
            for post in &events {
                let add = pipeline.cmd("XADD").arg(&self.key).arg("MAXLEN").arg("~").arg(CAP);
                add.arg("*").arg(post.subject).arg(&post.text).ignore();
            }
            timeout(PATIENCE, pipeline.query_async::<()>(writer)).await??;
            self.bus.outbox.sent(&events);
        }
    }
}

/// The place before every entry.
const BEGIN: &str = "0-0";

impl From<Elapsed> for Away {
    fn from(_: Elapsed) -> Self {
        Self::Late
    }
}

impl From<RedisError> for Away {
    fn from(error: RedisError) -> Self {
        Self::Failed(error)
    }
}

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Late => f.write_str("it does not answer in time"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

/// Shares the events of `bus` through that server, for ever; without one they stay on this gate.
pub async fn share(bus: &Arc<Bus>, settings: Option<&Redis>, metrics: &Metrics) {
    metrics.events.shared.set(0);
    bus.outbox.open(settings.is_some());
    match settings {
        Some(settings) => Relay::new(bus, settings, metrics).run().await,
        None => std::future::pending().await,
    }
}
