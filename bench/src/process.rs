//! The servers under measurement: started on their core, awaited, ended by whoever holds them.

use crate::cpu;
use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const READY_LIMIT: Duration = Duration::from_secs(30);
const END_LIMIT: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(20);

/// A running server. It ends when this value is dropped.
pub(crate) struct Process {
    child: Child,
    name: &'static str,
    output: PathBuf,
}

impl Process {
    /// Starts `command` on `core`, with its output in a file of `folder`.
    ///
    /// Its standard input is a pipe that closes when this process ends, however it ends.
    pub(crate) fn start(name: &'static str, command: &mut Command, core: Option<usize>, folder: &Path) -> Result<Self> {
        let output = folder.join(format!("{name}.output"));
        let file = File::create(&output)?;
        command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file);
        let child = on_core(core, || command.spawn()).with_context(|| format!("start {name}"))?;
        Ok(Self { child, name, output })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `probe` finds what it looks for; an early end or a long silence is an error.
    pub(crate) async fn ready<T>(&mut self, mut probe: impl AsyncFnMut(&str) -> Option<T>) -> Result<T> {
        let started = Instant::now();
        while started.elapsed() < READY_LIMIT {
            if let Some(found) = probe(&self.said()).await {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}: {}", self.name, self.said());
            }
            sleep(POLL).await;
        }
        bail!("{} was not ready within {READY_LIMIT:?}: {}", self.name, self.said())
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }
}

impl Drop for Process {
    /// Asks first, because nginx takes its worker along only then.
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < END_LIMIT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL);
        }
        eprintln!("{} did not end when told to and is killed", self.name);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `start` where children inherit the core, without moving the calling thread.
pub(crate) fn on_core<T: Send, E: Into<anyhow::Error> + Send>(
    core: Option<usize>,
    start: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T> {
    let pinned = || -> Result<T> {
        core.map_or(Ok(()), cpu::pin)?;
        start().map_err(Into::into)
    };
    thread::scope(|scope| scope.spawn(pinned).join()).map_err(|_| anyhow!("the starting thread panicked"))?
}

/// A loopback port that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
