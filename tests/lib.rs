//! Shared by the tests: a world of a real Vault and certificates, gates
//! started in it, and a client that sends exactly what it is told.

pub mod audit;
pub mod caller;
pub mod client;
pub mod dialect;
pub mod events;
pub mod forwarder;
pub mod front;
pub mod http2;
pub mod interim;
pub mod mcp;
pub mod process;
pub mod provider;
pub mod samples;
pub mod servers;
pub mod stdio;
pub mod stub;
pub mod world;

pub use audit::Audit;
pub use caller::Caller;
pub use client::{Client, Response};
pub use dialect::Dialect;
pub use forwarder::Forwarder;
pub use front::Front;
pub use process::{API_KEY, Gate, Plan};
pub use samples::Samples;
pub use world::World;

use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Waits until `done`, and fails with `what` after `seconds`.
pub fn wait_for(what: &str, seconds: u64, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that is free, given once: below those of which the kernel gives one to each connection,
/// so that none takes it meanwhile (`ip_local_port_range`).
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 10_000..32_000;
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        // Tests of several processes at a time begin at different ones.
        let seed = RandomState::new().hash_one(std::process::id());
        AtomicU16::new((seed % u64::from(u16::MAX)) as u16)
    });
    let mut ports = (0..PORTS.len()).map(|_| PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS.len() as u16);
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(free).expect("a free port")
}
