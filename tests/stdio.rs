//! `portcullis stdio` as a client of MCP starts it: a process with pipes.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio as Pipe};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::mcp::{STATELESS, hello, meta};
use crate::process::binary;
use crate::{Response, wait_for};

/// The time that a line may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that serves one client; ended when dropped.
pub struct Stdio {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    folder: TempDir,
}

impl Stdio {
    /// Starts the verb with nothing but these arguments and variables.
    pub fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(binary());
        command.arg("stdio").args(arguments).env_clear().envs(variables.iter().copied());
        let errors = File::create(folder.path().join("stderr")).expect("a file");
        command.stdin(Pipe::piped()).stdout(Pipe::piped()).stderr(errors);
        let mut child = command.spawn().expect("the process");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { input: child.stdin.take(), child, lines, folder }
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("its input");
        input.write_all(bytes).and_then(|()| input.flush()).expect("it reads");
    }

    /// Sends one message.
    pub fn send(&mut self, message: &Value) {
        self.write(format!("{message}\n").as_bytes());
    }

    /// The next message.
    pub fn next(&self) -> Value {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}")),
            Err(error) => panic!("no line: {error}, {}", self.stderr()),
        }
    }

    /// Sends a message, and gives the next answer; notifications are passed over.
    pub fn ask(&mut self, message: &Value) -> Value {
        self.send(message);
        loop {
            let next = self.next();
            if next.get("method").is_none() {
                return next;
            }
        }
    }

    /// The next notification of this kind; whatever else comes is passed over.
    pub fn notified(&self, method: &str) -> Value {
        loop {
            let next = self.next();
            if next["method"] == method {
                return next;
            }
        }
    }

    /// Sends a request as `revision` has it, and gives the answer as HTTP would have it.
    pub fn request(&mut self, revision: &str, method: &str, params: &Value) -> Response {
        let mut params = params.clone();
        if revision == STATELESS {
            params["_meta"] = meta();
        }
        let answer = self.ask(&crate::mcp::request(method, &params));
        Response { status: 200, headers: Vec::new(), body: answer.to_string().into_bytes() }
    }

    /// Calls a tool after a handshake; its result, or the error.
    pub fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let answer = self.request("2025-06-18", "tools/call", &json!({"name": tool, "arguments": arguments})).json();
        answer.get("error").or_else(|| answer["result"].get("structuredContent")).cloned().unwrap_or(answer)
    }

    /// Shakes hands.
    pub fn greet(&mut self, revision: &str) -> Value {
        let welcome = self.ask(&hello(revision));
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        welcome
    }

    /// Sends nothing more.
    pub fn close(&mut self) {
        drop(self.input.take());
    }

    /// Sends the signal of that name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill");
    }

    /// Waits for its end; the exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let mut status: Option<ExitStatus> = None;
        wait_for("the bridge ends", 20, || {
            status = self.child.try_wait().expect("its state");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// Fails where anything more is written before its output ends.
    pub fn says_nothing_more(&self) {
        match self.lines.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Disconnected) => {}
            other => panic!("{other:?}"),
        }
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
