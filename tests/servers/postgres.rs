//! PostgreSQL, as Vault's database engine drives it.

use std::path::Path;
use std::process::{Command, Stdio};

use local_vault::Guarded;
use serde_json::json;
use tempfile::TempDir;

use super::program;
use crate::{World, free_port, wait_for};

const ADMIN: &str = "vault";
const PASSWORD: &str = "of-the-tests";
const DEBIAN: &str = "/usr/lib/postgresql";

/// A running server.
pub struct Postgres {
    port: u16,
    _process: Guarded,
    _folder: TempDir,
}

impl Postgres {
    /// Starts a server whose superuser Vault may be.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let secret = folder.path().join("password");
        std::fs::write(&secret, PASSWORD).expect("a file");
        give_away(folder.path());
        let made = unprivileged("initdb")
            .args(["--auth=scram-sha-256", "--no-sync", "--username", ADMIN])
            .arg("--pwfile")
            .arg(&secret)
            .arg("--pgdata")
            .arg(&data)
            .current_dir(folder.path())
            .output()
            .expect("initdb");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let mut command = unprivileged("postgres");
        command.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "fsync=off"]);
        command.arg("-k").arg(folder.path()).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = Guarded::spawn(&mut command, Some(folder.path())).expect("postgres");
        let server = Self { port, _process: process, _folder: folder };
        wait_for("PostgreSQL answers", 30, || server.can_log_in(ADMIN, PASSWORD));
        server
    }

    /// Tells Vault of it: a role `readonly`, and one whose logins are brief.
    pub fn introduce(&self, world: &World) {
        self.introduce_in(world, "");
    }

    /// The same in a namespace, whose path ends in a slash.
    pub fn introduce_in(&self, world: &World, namespace: &str) {
        let grant = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';";
        let connection = json!({
            "plugin_name": "postgresql-database-plugin",
            "connection_url":
                format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable", self.port),
            "username": ADMIN,
            "password": PASSWORD,
            "allowed_roles": "*",
        });
        let role = |ttl: &str, most: &str| json!({"db_name": "tests", "creation_statements": grant, "default_ttl": ttl, "max_ttl": most});
        for (path, body) in [
            ("database/config/tests", connection),
            ("database/roles/readonly", role("1h", "24h")),
            ("database/roles/brief", role("3s", "1h")),
        ] {
            let (status, answer) = world.ask("POST", &format!("{namespace}{path}"), &body);
            assert!(matches!(status, 200 | 204), "{path}: {status} {answer}");
        }
    }

    /// True where that login is one now.
    pub fn can_log_in(&self, user: &str, password: &str) -> bool {
        let mut psql = Command::new(program("psql", DEBIAN));
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", user, "-d", "postgres", "-c", "SELECT 1"]);
        psql.env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "5");
        psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        psql.status().is_ok_and(|status| status.success())
    }
}

/// PostgreSQL does not run as root: then it is `nobody`.
fn unprivileged(name: &str) -> Command {
    let program = program(name, DEBIAN);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(program);
    command
}

fn give_away(folder: &Path) {
    if is_root() {
        let status = Command::new("chown").args(["-R", "nobody:nogroup"]).arg(folder).status();
        assert!(status.is_ok_and(|status| status.success()), "chown");
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
