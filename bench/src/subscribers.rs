//! Many streams of events: the memory that each holds beside its connection, and the time from a write
//! until the last of them is told of it.

use crate::cpu::Cores;
use crate::idle;
use crate::load::{self, Connection};
use crate::report::{Report, Subscribers, rounded};
use crate::requests;
use crate::servers::Server;
use anyhow::{Context as _, Result, anyhow, bail};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

pub(crate) const NAME: &str = "events-10000";

const STREAMS: usize = 10_000;
const WRITES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);
const OPEN: &[u8] = b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
/// The end of what a stream says first.
const OPENED: &[u8] = b": keepalive\n\n";
const TOLD: &[u8] = b"event: resource.changed";

pub(crate) async fn measure(cores: Option<Cores>, report: &mut Report) {
    match LocalSet::new().run_until(subscribe(cores)).await {
        Ok(subscribers) => report.subscribers = Some(subscribers),
        Err(error) => report.skip(NAME, &error, true),
    }
}

async fn subscribe(cores: Option<Cores>) -> Result<Subscribers> {
    let (_folder, servers) = idle::for_many(cores).await?;
    let gate = servers.gate.as_ref().map_err(|error| anyhow!("{error:#}"))?;
    eprintln!("{NAME}: {STREAMS} streams, {WRITES} writes");
    let mut idle = idle::connect(gate, requests::whoami(), STREAMS).await?;
    let connected = gate.memory()?;
    for connection in &mut idle {
        connection.write_all(OPEN).await?;
        connection.flush().await?;
        hear(connection, OPENED).await?;
    }
    let subscribed = gate.memory()?;
    let mut last = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let (streams, time) = write(gate, idle).await?;
        idle = streams;
        last.push(time);
    }
    last.sort_unstable();
    let median = last.get(WRITES / 2).context("a write")?;
    Ok(Subscribers {
        streams: STREAMS,
        stream_kib: rounded((subscribed - connected) * 1024.0 / STREAMS as f64, 1),
        last_told_ms: rounded(median.as_secs_f64() * 1e3, 0),
    })
}

/// Writes a secret, and waits until every stream is told of it.
async fn write(gate: &Server, streams: Vec<Connection>) -> Result<(Vec<Connection>, Duration)> {
    let mut told = JoinSet::new();
    for mut stream in streams {
        told.spawn_local(async move {
            hear(&mut stream, TOLD).await?;
            Ok::<_, anyhow::Error>((stream, Instant::now()))
        });
    }
    let request = requests::rest_write();
    let mut writer = load::connect(&gate.asked(&std::rc::Rc::new(requests::rest_write())).target).await?;
    // Each stream waits now.
    tokio::task::yield_now().await;
    let started = Instant::now();
    let written = load::exchange(&mut writer, &request, &mut Vec::new()).await?;
    if written.status != 200 {
        bail!("a write with status {}", written.status);
    }
    let (mut streams, mut last) = (Vec::with_capacity(STREAMS), started);
    while let Some(done) = told.join_next().await {
        let (stream, at) = done??;
        streams.push(stream);
        last = last.max(at);
    }
    Ok((streams, last - started))
}

/// Reads until `text` has come.
async fn hear(stream: &mut Connection, text: &[u8]) -> Result<()> {
    let read = async {
        let mut heard = Vec::new();
        while !heard.windows(text.len()).any(|part| part == text) {
            if stream.read_buf(&mut heard).await? == 0 {
                bail!("the stream has ended: {}", String::from_utf8_lossy(&heard));
            }
        }
        Ok(())
    };
    timeout(PATIENCE, read).await.context("nothing is heard")?
}
