use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

/// A port on 127.0.0.1 that is free, with the next one free too: Vault's dev server takes the
/// port after its own for its cluster.
///
/// Somebody else can take it before it is used.
pub fn free_port() -> Result<u16, Error> {
    let mut last = None;
    for _ in 0..50 {
        match try_pair() {
            Ok(port) => return Ok(port),
            Err(cause) => last = Some(cause),
        }
    }
    Err(Error::Port(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into())))
}

fn try_pair() -> std::io::Result<u16> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = first.local_addr()?.port();
    let next = port.checked_add(1).ok_or(std::io::ErrorKind::AddrInUse)?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, next))?;
    Ok(port)
}
