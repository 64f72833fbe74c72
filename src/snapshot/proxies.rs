//! Proxies whose word on their clients is believed.

use std::net::IpAddr;

use filters::credential::ProxyHeaders;
use filters::forwarded;
use filters::headers::FORWARDED_FOR;
use http::HeaderMap;
use ipnet::IpNet;

/// The addresses of trusted proxies, and the headers that are taken from them.
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    forwarded_for: bool,
    headers: Option<ProxyHeaders>,
}

impl TrustedProxies {
    /// The proxies in `networks`; their `X-Forwarded-For` is believed where `forwarded_for` is true,
    /// and the identity header where there are `headers`.
    pub(super) const fn new(networks: Vec<IpNet>, forwarded_for: bool, headers: Option<ProxyHeaders>) -> Self {
        Self { networks, forwarded_for, headers }
    }

    /// True where a proxy's word on its clients is taken from that address.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The identity header, where `peer` is a proxy whose word is taken.
    #[must_use]
    pub fn headers_from(&self, peer: Option<IpAddr>) -> Option<&ProxyHeaders> {
        let headers = self.headers.as_ref()?;
        self.contain(peer?.to_canonical()).then_some(headers)
    }

    /// The address of the client behind `peer`, as far as trusted proxies' word for it is taken.
    #[must_use]
    pub fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.forwarded_for {
            return peer;
        }
        // What is no text is no address either.
        let values = headers.get_all(FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or_default());
        forwarded::client(peer, values, |address| self.contain(address))
    }
}
