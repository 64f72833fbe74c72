//! The servers that `make dev` runs, for commands to be pasted at.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use local_vault::binary as backend;
use tests::process::{binary, root};
use tests::{free_port, wait_for};

/// In a folder of its own; ended when dropped.
pub struct Dev {
    process: Child,
    folder: tempfile::TempDir,
    /// Plain, TLS and operators' port, each beside the one that documents name.
    ports: [(u16, u16); 3],
}

/// The line between one block's answers and the next one's.
const BETWEEN: &str = "--- the next block ---";

impl Dev {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["config", "target"] {
            symlink(root().join(name), folder.path().join(name)).expect("a link");
        }
        let ports = [8089, 8443, 9901].map(|named| (named, free_port()));
        let output = fs::File::create(folder.path().join("said")).expect("a file");
        let [plain, tls, admin] = ports.map(|(_, port)| port.to_string());
        let process = Command::new(binary().with_file_name("dev"))
            .arg("--folder")
            .arg(folder.path())
            .envs([("PORT", plain), ("TLS_PORT", tls), ("ADMIN_PORT", admin)])
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("the file"))
            .stdout(output)
            .spawn()
            .expect("what `make dev` runs");
        let dev = Self { process, folder, ports };
        wait_for("the gate is ready", 60, || dev.said().contains("The gate is ready at"));
        dev
    }

    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// The folder in which commands are pasted.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Pastes it into a shell; each answer must be a success.
    pub fn paste(&self, commands: &str) -> String {
        self.paste_all(&[commands.to_owned()]).concat()
    }

    /// Pastes one after the other into one shell, and tells what each has printed.
    pub fn paste_all(&self, blocks: &[String]) -> Vec<String> {
        let commands = blocks.join(&format!("\necho; echo '{BETWEEN}'\n"));
        let commands = self
            .ports
            .iter()
            .fold(commands, |text, (named, port)| text.replace(&format!(":{named}/"), &format!(":{port}/")));
        let curl = "curl() { command curl --silent --show-error --fail-with-body --write-out '\\n' \"$@\"; }";
        // Whichever of the two it runs.
        let vault = format!("vault() {{ {} \"$@\"; }}", backend(&root()).expect("a Vault").path.display());
        let programs = binary().parent().expect("a folder").display();
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &format!("PATH={programs}:$PATH\n{curl}\n{vault}\n{commands}")]);
        // The command line leaves its token there.
        shell.env("HOME", self.folder.path());
        let output = shell.current_dir(self.folder.path()).output().expect("a shell");
        let [told, wrong] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{commands}{told}{wrong}{}", self.said());
        told.split(&format!("{BETWEEN}\n")).map(str::to_owned).collect()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It ends what it has started.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
