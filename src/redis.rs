//! The client of Redis or Valkey, as the configuration has it.

use filters::pem;
use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo, TlsCertificates};

use crate::config::Redis;

/// A client that is not connected yet.
///
/// # Errors
/// No client can be made of the settings.
pub(crate) fn client(settings: &Redis) -> Result<Client, redis::RedisError> {
    let (host, port) = (settings.host.clone(), settings.port);
    let address = match settings.tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    };
    let mut login = RedisConnectionInfo::default().set_db(settings.database);
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose());
    }
    let address = address.into_connection_info()?.set_redis_settings(login);
    if !settings.tls {
        return Client::open(address);
    }
    let pem = |der: &Vec<u8>| pem::encode("CERTIFICATE", der).as_bytes().to_vec();
    let root_cert = settings.authorities.as_ref().map(|authorities| authorities.iter().flat_map(pem).collect());
    Client::build_with_tls(address, TlsCertificates { client_tls: None, root_cert })
}
