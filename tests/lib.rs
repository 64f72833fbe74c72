//! What the tests share: a world of a real Vault and certificates, gates
//! started in it, and a client that sends exactly what it is told.

pub mod audit;
pub mod caller;
pub mod client;
pub mod events;
pub mod mcp;
pub mod process;
pub mod provider;
pub mod servers;
pub mod stub;
pub mod world;

pub use audit::Audit;
pub use caller::Caller;
pub use client::{Client, Response};
pub use process::{API_KEY, Gate, Plan};
pub use world::World;

use std::time::{Duration, Instant};

/// Waits until `done`, and fails with `what` after `seconds`.
pub fn wait_for(what: &str, seconds: u64, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
