//! A balancer in front of the real Vault that can be told to misbehave: to answer itself, to keep
//! a request to itself for ever, or to hold one up.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::World;

/// The fate of a request.
#[derive(Clone)]
pub enum Verdict {
    /// It goes to Vault, and Vault's answer back.
    Pass,
    /// This is the answer.
    Answer(Vec<u8>),
    /// Nobody answers, on a connection that stays open.
    Swallow,
    /// It goes to Vault once the door is open.
    Behind(Arc<Door>),
}

/// Keeps what stands before it until it is opened.
#[derive(Default)]
pub struct Door {
    /// True where it is open, and how many stand before it.
    state: Mutex<(bool, usize)>,
    opened: Condvar,
}

type Rule = Arc<dyn Fn(&str) -> Verdict + Send + Sync>;

struct Shared {
    vault: String,
    rule: Mutex<Rule>,
    /// Connections whose further requests are swallowed, by their number.
    swallowed: Mutex<HashSet<usize>>,
    /// The number of connections so far.
    connections: Mutex<usize>,
    /// The request lines, in their order.
    asked: Mutex<Vec<String>>,
    ended: AtomicBool,
}

/// A running balancer; it takes no more connections when dropped.
pub struct Front {
    shared: Arc<Shared>,
    /// Where gates find it.
    pub address: String,
}

impl Front {
    /// In front of the world's Vault; everything passes.
    pub fn start(world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let vault = world.vault_address().trim_start_matches("http://").to_owned();
        let rule: Rule = Arc::new(|_| Verdict::Pass);
        let shared = Arc::new(Shared {
            vault,
            rule: Mutex::new(rule),
            swallowed: Mutex::default(),
            connections: Mutex::default(),
            asked: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if theirs.ended.load(Ordering::Relaxed) {
                    return;
                }
                let number = {
                    let mut connections = theirs.connections.lock().expect("a count");
                    *connections += 1;
                    *connections
                };
                let theirs = Arc::clone(&theirs);
                std::thread::spawn(move || theirs.serve(number, stream));
            }
        });
        Self { shared, address }
    }

    /// The environment of a gate that takes it for Vault.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("VAULT_ADDR", self.address.clone())]
    }

    /// From now on a request, by its head, is treated so.
    pub fn rule(&self, rule: impl Fn(&str) -> Verdict + Send + Sync + 'static) {
        *self.shared.rule.lock().expect("a rule") = Arc::new(rule);
    }

    /// From now on whatever names `path` is treated so, and all else passes.
    pub fn treat(&self, path: &'static str, verdict: Verdict) {
        self.rule(move |head| if names(head, path) { verdict.clone() } else { Verdict::Pass });
    }

    /// From now on everything passes.
    pub fn pass(&self) {
        self.rule(|_| Verdict::Pass);
    }

    /// Every connection that is open now swallows what comes on it; new ones are served.
    pub fn swallow_open(&self) {
        let connections = *self.shared.connections.lock().expect("a count");
        self.shared.swallowed.lock().expect("numbers").extend(1..=connections);
    }

    /// The number of requests that began like this.
    pub fn asked(&self, line: &str) -> usize {
        self.shared.asked.lock().expect("lines").iter().filter(|asked| asked.starts_with(line)).count()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // The listener notices when it is asked once more.
        let _ = TcpStream::connect(self.address.trim_start_matches("http://"));
    }
}

impl Shared {
    fn serve(&self, number: usize, mut stream: TcpStream) -> io::Result<()> {
        let mut vault = TcpStream::connect(&self.vault)?;
        vault.set_nodelay(true)?;
        stream.set_nodelay(true)?;
        loop {
            let request = read_message(&mut stream, false)?;
            let head = String::from_utf8_lossy(&request.head).into_owned();
            self.asked.lock().expect("lines").push(head.lines().next().unwrap_or_default().to_owned());
            let rule = Arc::clone(&self.rule.lock().expect("a rule"));
            let swallowed = self.swallowed.lock().expect("numbers").contains(&number);
            match if swallowed { Verdict::Swallow } else { rule(&head) } {
                Verdict::Pass => {}
                Verdict::Answer(answer) => {
                    stream.write_all(&answer)?;
                    continue;
                }
                Verdict::Swallow => {
                    // Until whoever asked has gone.
                    io::copy(&mut stream, &mut io::sink())?;
                    return Ok(());
                }
                Verdict::Behind(door) => door.pass(),
            }
            vault.write_all(&[request.head, request.body].concat())?;
            let answer = read_message(&mut vault, true)?;
            stream.write_all(&[answer.head, answer.body].concat())?;
        }
    }
}

impl Door {
    fn pass(&self) {
        let mut state = self.state.lock().expect("the door");
        state.1 += 1;
        while !state.0 {
            state = self.opened.wait(state).expect("the door");
        }
        state.1 -= 1;
    }

    /// The number of requests that wait before it.
    pub fn waiting(&self) -> usize {
        self.state.lock().expect("the door").1
    }

    /// Lets everybody through from now on.
    pub fn open(&self) {
        self.state.lock().expect("the door").0 = true;
        self.opened.notify_all();
    }
}

/// A whole answer with this status and body.
pub fn answer(status: u16, media: &str, body: &str) -> Verdict {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n");
    Verdict::Answer((head + body).into_bytes())
}

/// A page as a balancer has it where no backend is there.
pub fn page(status: u16) -> Verdict {
    answer(status, "text/html", &format!("<html><body><h1>{status}</h1></body></html>"))
}

fn names(head: &str, path: &str) -> bool {
    head.lines().next().is_some_and(|line| line.contains(path))
}

/// A request or an answer, as it came.
pub(crate) struct Message {
    /// Up to and with the empty line.
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// Reads a request, or an answer, to its end.
pub(crate) fn read_message(stream: &mut impl Read, is_answer: bool) -> io::Result<Message> {
    let mut head = Vec::new();
    read_until(stream, &mut head, b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&head).to_lowercase();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::trim));
    let mut body = Vec::new();
    if value("transfer-encoding:") == Some("chunked") {
        loop {
            let mut line = Vec::new();
            read_until(stream, &mut line, b"\r\n")?;
            let digits = String::from_utf8_lossy(&line).trim().to_owned();
            let size = usize::from_str_radix(&digits, 16).map_err(io::Error::other)?;
            body.extend_from_slice(&line);
            let begin = body.len();
            body.resize(begin + size + 2, 0);
            stream.read_exact(&mut body[begin..])?;
            if size == 0 {
                break;
            }
        }
    } else {
        let empty = is_answer
            && [" 204 ", " 304 "].iter().any(|status| text.lines().next().is_some_and(|l| l.contains(status)));
        let length = value("content-length:").and_then(|length| length.parse().ok()).filter(|_| !empty);
        body.resize(length.unwrap_or(0), 0);
        stream.read_exact(&mut body)?;
    }
    Ok(Message { head, body })
}

fn read_until(stream: &mut impl Read, bytes: &mut Vec<u8>, end: &[u8]) -> io::Result<()> {
    let mut byte = [0];
    while !bytes.ends_with(end) {
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok(())
}
