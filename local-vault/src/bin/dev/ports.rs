use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use clap::Args;

/// The ports that the gate listens on, each on 127.0.0.1.
#[derive(Args, Debug)]
pub(crate) struct Ports {
    /// Plain HTTP.
    #[arg(long = "port", env = "PORT", default_value_t = 8089)]
    pub(crate) plain: u16,

    /// HTTPS.
    #[arg(long = "tls-port", env = "TLS_PORT", default_value_t = 8443)]
    pub(crate) tls: u16,

    /// The admin listener.
    #[arg(long = "admin-port", env = "ADMIN_PORT", default_value_t = 9901)]
    pub(crate) admin: u16,
}

impl Ports {
    /// True where all three are free; else an error that names each one that is not, with the
    /// variable that changes it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let ports = [
            ("PORT", "plain HTTP", self.plain),
            ("TLS_PORT", "HTTPS", self.tls),
            ("ADMIN_PORT", "the admin listener", self.admin),
        ];
        let mut problems = Vec::new();
        for (variable, purpose, port) in ports {
            if let Err(cause) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                let cause = match cause.kind() {
                    ErrorKind::AddrInUse => "is taken".to_owned(),
                    _ => format!("cannot be used ({cause})"),
                };
                problems.push(format!(
                    "port {port} for {purpose} {cause}; choose another with {variable}, \
                     as in `{variable}=<port> make dev`"
                ));
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems.join("\n     ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_variable() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let ports = Ports { plain: 0, tls: port, admin: 0 };
        let problem = ports.check().unwrap_err();
        assert!(problem.contains(&port.to_string()), "{problem}");
        assert!(problem.contains("TLS_PORT=<port>"), "{problem}");
        assert!(!problem.contains("ADMIN_PORT"), "{problem}");
    }
}
