use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use local_vault::{Error, Guarded, Provisioned};

/// Its configuration.
pub(crate) const CONFIGURATION: &str = "config/dev.toml";

/// The time that the gate has to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The time that the gate may drain.
const DRAINED_WITHIN: Duration = Duration::from_secs(40);

/// The gate, as a process of its own.
#[derive(Debug)]
pub(crate) struct Gate {
    program: PathBuf,
    process: Guarded,
}

impl Gate {
    /// Starts the gate in the working directory, in front of this Vault.
    pub(crate) fn start(program: &Path, vault: &str, login: &Provisioned) -> Result<Gate, Error> {
        let mut command = Command::new(program);
        command
            .env("APP_CONFIG_FILE", CONFIGURATION)
            .env("VAULT_ADDR", vault)
            .env("VAULT_ROLE_ID", &login.role_id)
            .env("VAULT_SECRET_ID", &login.secret_id)
            .env_remove("VAULT_TOKEN")
            .stdin(Stdio::null());
        let process = Guarded::spawn(&mut command, None)?;
        Ok(Gate { program: program.to_owned(), process })
    }

    /// Fails when the gate has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), &'static str> {
        match self.process.has_ended() {
            true => Err("the gate has ended; what it said is above"),
            false => Ok(()),
        }
    }

    /// Waits until the gate says that it is ready, or until `ended`.
    pub(crate) fn wait_until_ready(&mut self, ended: &AtomicBool) -> Result<(), &'static str> {
        let deadline = Instant::now() + READY_WITHIN;
        while !self.is_ready() && !ended.load(Ordering::Relaxed) {
            self.check()?;
            if Instant::now() >= deadline {
                return Err("the gate is not ready after 30 s; `portcullis ready --config config/dev.toml` says why");
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let mut command = Command::new(&self.program);
        command.args(["ready", "--config", CONFIGURATION]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Lets the gate drain and waits for its end.
    pub(crate) fn stop(self) {
        self.process.stop(DRAINED_WITHIN);
    }
}
