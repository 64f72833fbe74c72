//! The offer that a caller makes to be admitted.

use std::net::IpAddr;

use filters::credential::Offered;

use super::{Peer, TokenOf};

/// The credential of a request, and the facts it is judged with.
pub struct Offer<'a> {
    /// The credential in its head.
    pub credential: Offered,
    /// The holder of the token of the gate's own that it came as, where it did.
    pub of_token: Option<TokenOf>,
    /// The peer that presented a certificate, and the place of its listener.
    pub peer: Option<(&'a Peer, usize)>,
    /// The address of the peer, where it may be a proxy whose headers count.
    pub proxy: Option<IpAddr>,
    /// The client's address: the peer's, or the one that trusted proxies name.
    pub client: Option<IpAddr>,
    /// The target that a proof of possession must be about.
    pub target: Target<'a>,
    /// The gate's id of the request.
    pub request_id: &'a str,
    /// The correlation id, for Vault's own audit.
    pub correlation_id: &'a str,
}

/// The target of a request, as a proof of possession names it (RFC 9449, section 4.2).
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// Scheme and authority by which the gate is reached; read only where a proof came.
    pub base: String,
    /// The path.
    pub path: &'a str,
}
