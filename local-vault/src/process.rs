use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Error;

/// Ends the process `$1` and removes the folder `$2`, if any, when standard input ends, which happens
/// when whoever holds the other end of the pipe exits, in whatever way.
const WATCH: &str = r#"read -r _; kill -KILL "$1" 2>/dev/null; [ -z "$2" ] || rm -rf "$2""#;

/// A server process that does not outlive the process that started it.
///
/// A `Drop` alone would not do: statics are not dropped, and a killed test drops nothing. So a
/// shell beside it waits for this process to end.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    watch: Child,
}

impl Guarded {
    /// Starts the command in a process group of its own, so that a terminal's Ctrl-C reaches
    /// only this process, which can then end things in order. A `folder` is removed with it if
    /// this process dies.
    pub fn spawn(command: &mut Command, folder: Option<&Path>) -> Result<Guarded, Error> {
        let program = command.get_program().to_owned();
        let start = |cause| Error::Start(program.into(), cause);
        let mut child = command.process_group(0).spawn().map_err(start)?;
        let watch = Command::new("sh")
            .args(["-c", WATCH, "watch", &child.id().to_string()])
            .arg(folder.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        match watch {
            Ok(watch) => Ok(Guarded { child, watch }),
            Err(cause) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(Error::Start("sh".into(), cause))
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True where it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal, without waiting for what comes of it.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        kill(pid(&self.child)?, signal).map_err(|cause| Error::Signal(cause.into()))
    }

    /// Asks it to end, waits, and kills it when it takes longer than
    /// `patience`.
    pub fn stop(mut self, patience: Duration) {
        let _ = self.signal(Signal::SIGCONT);
        let _ = self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + patience;
        while !self.has_ended() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // The watch goes first: once the child is waited for, its pid may be another's.
        let _ = self.watch.kill();
        let _ = self.watch.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid(child: &Child) -> Result<Pid, Error> {
    let id = i32::try_from(child.id());
    id.map(Pid::from_raw).map_err(|_| Error::Signal(io::ErrorKind::InvalidInput.into()))
}
