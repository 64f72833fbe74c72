//! A gate that is reached over HTTP.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};
use tokio::task::spawn_blocking;

use super::credentials::{Credential, Files, Header, TlsPem};
use super::gate::{Answer, Body, Gate};
use super::trouble::Trouble;

/// Longest time for a connection and its handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// After this silence a connection is asked whether it is still there, and as long for an answer.
const ALIVE: Duration = Duration::from_secs(20);
/// The path of MCP below a gate's address.
const PATH: &str = "/mcp";

/// A gate, and what it is shown.
pub struct Remote {
    endpoint: Url,
    files: Arc<Files>,
    credential: Arc<Credential>,
    known: Mutex<Arc<Known>>,
}

/// The credentials as they were read last, and the client that shows them.
struct Known {
    pem: TlsPem,
    header: Header,
    client: Client,
}

/// The address at which a gate takes MCP's messages: `/mcp` below `address`, which may end with it.
///
/// # Errors
/// The reason why it is no address of a gate, for people.
pub fn endpoint(address: &str) -> Result<Url, String> {
    let mut url = Url::parse(address).map_err(|error| format!("is no URL: {error}"))?;
    let local = match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback()),
        None => return Err("names no host".to_owned()),
    };
    match url.scheme() {
        "https" => {}
        "http" if local => {}
        "http" => return Err("must begin with https://; only a gate of this machine may be asked in clear".to_owned()),
        _ => return Err("must begin with https://".to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must be an address alone, without a user, a password, a query or a fragment".to_owned());
    }
    let path = url.path().trim_end_matches('/');
    let path = format!("{}{PATH}", path.strip_suffix(PATH).unwrap_or(path));
    url.set_path(&path);
    Ok(url)
}

impl Remote {
    /// The gate whose [`endpoint`] that is. The credentials are read.
    ///
    /// # Errors
    /// A file that cannot be read or used, for people.
    pub fn new(endpoint: Url, files: Files, credential: Credential) -> Result<Self, String> {
        let known = Known::read(&files, &credential, None, &endpoint)?;
        let (files, credential) = (Arc::new(files), Arc::new(credential));
        Ok(Self { endpoint, files, credential, known: Mutex::new(known) })
    }

    /// The credentials of this moment; those of before where the files cannot be used now.
    async fn current(&self) -> Arc<Known> {
        let before = Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner));
        let (files, credential, known) = (Arc::clone(&self.files), Arc::clone(&self.credential), Arc::clone(&before));
        let endpoint = self.endpoint.clone();
        let read = spawn_blocking(move || Known::read(&files, &credential, Some(known), &endpoint)).await;
        match read {
            Ok(Ok(now)) => {
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&now);
                now
            }
            Ok(Err(problem)) => {
                tracing::warn!(%problem, "the credentials stay as they were");
                before
            }
            Err(_) => before,
        }
    }

    async fn try_send(
        &self,
        known: &Known,
        method: &Method,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<reqwest::Response, Trouble> {
        let mut headers = headers.clone();
        headers.extend(known.header.clone());
        let accepted = if *method == Method::GET { "text/event-stream" } else { "application/json, text/event-stream" };
        headers.insert(ACCEPT, HeaderValue::from_static(accepted));
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request = known.client.request(method.clone(), self.endpoint.clone()).headers(headers).body(body.clone());
        request.send().await.map_err(Trouble::unanswered)
    }
}

impl Gate for Remote {
    async fn send(&self, method: Method, headers: HeaderMap, body: Bytes) -> Result<Answer, Trouble> {
        let known = self.current().await;
        let mut response = self.try_send(&known, &method, &headers, &body).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // It may have been replaced meanwhile.
            let now = self.current().await;
            if !Arc::ptr_eq(&known, &now) {
                response = self.try_send(&now, &method, &headers, &body).await?;
            }
        }
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, body: Body::Arriving(response) })
    }
}

impl Known {
    /// Reads the credentials; gives `before` where they are the same.
    fn read(
        files: &Files,
        credential: &Credential,
        before: Option<Arc<Self>>,
        endpoint: &Url,
    ) -> Result<Arc<Self>, String> {
        let (pem, header) = (files.read()?, credential.header()?);
        match before {
            Some(before) if before.pem == pem && before.header == header => Ok(before),
            // Its connections have been made with the same certificate.
            Some(before) if before.pem == pem => Ok(Arc::new(Self { pem, header, client: before.client.clone() })),
            _ => Ok(Arc::new(Self { client: pem.client(builder(endpoint))?, pem, header })),
        }
    }
}

fn builder(endpoint: &Url) -> ClientBuilder {
    let builder = Client::builder();
    // What goes in clear stays on this machine.
    let builder = if endpoint.scheme() == "https" { builder } else { builder.no_proxy() };
    builder
        .user_agent(concat!("portcullis-stdio/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .tcp_keepalive(ALIVE)
        .http2_keep_alive_interval(ALIVE)
        .http2_keep_alive_timeout(ALIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_the_path_of_mcp() {
        for (address, expected) in [
            ("https://gate.corp.example", "https://gate.corp.example/mcp"),
            ("https://gate.corp.example:8443/", "https://gate.corp.example:8443/mcp"),
            ("https://corp.example/vault/gate/", "https://corp.example/vault/gate/mcp"),
            ("https://gate.corp.example/mcp", "https://gate.corp.example/mcp"),
            ("http://127.0.0.1:8089", "http://127.0.0.1:8089/mcp"),
            ("http://[::1]:8089", "http://[::1]:8089/mcp"),
            ("http://localhost:8089/mcp/", "http://localhost:8089/mcp"),
        ] {
            assert_eq!(endpoint(address).unwrap().as_str(), expected, "{address}");
        }
    }

    #[test]
    fn a_credential_goes_to_no_other_kind_of_address() {
        for address in [
            "gate.corp.example",
            "http://gate.corp.example",
            "http://127.0.0.1.corp.example",
            "ftp://127.0.0.1",
            "https://user:pass@gate.corp.example",
            "https://gate.corp.example/?key=1",
            "https://gate.corp.example/#a",
            "",
        ] {
            assert!(endpoint(address).is_err(), "{address}");
        }
    }
}
