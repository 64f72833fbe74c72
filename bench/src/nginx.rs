//! nginx as the second baseline: one worker, mTLS in, keep-alive plain HTTP out.

use crate::pki::Pki;
use crate::process::{Process, free_address};
use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio::net::TcpStream;

/// Finds nginx, or installs it where that can be done without asking.
pub(crate) fn find() -> Result<PathBuf> {
    if let Some(binary) = installed() {
        return Ok(binary);
    }
    if !geteuid().is_root() {
        bail!("nginx is not installed (apt-get install nginx-light)");
    }
    eprintln!("installing nginx-light with apt-get (needed once)");
    for step in [&["update"][..], &["install", "-y", "--no-install-recommends", "nginx-light"]] {
        let status = Command::new("apt-get")
            .args(step)
            .env("DEBIAN_FRONTEND", "noninteractive")
            // The package's own service is not wanted.
            .env("RUNLEVEL", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("nginx is not installed, and there is no apt-get to install it with")?;
        if !status.success() {
            eprintln!("apt-get {} ended with {status}", step.join(" "));
        }
    }
    installed().context("nginx is not installed and apt-get could not install it")
}

/// Starts nginx on a free loopback port, with its files in `folder`.
pub(crate) async fn start(
    binary: &Path,
    folder: &Path,
    pki: &Pki,
    stub: SocketAddr,
    core: Option<usize>,
) -> Result<(Process, SocketAddr)> {
    let address = free_address()?;
    let home = folder.join("nginx");
    fs::create_dir(&home)?;
    let file = home.join("nginx.conf");
    fs::write(&file, configuration(&home, pki, stub, address))?;
    let mut command = Command::new(binary);
    command.arg("-p").arg(&home).arg("-c").arg(&file).arg("-e").arg(home.join("error.log"));
    let mut process = Process::start("nginx", &mut command, core, folder)?;
    process.ready(async |_| TcpStream::connect(address).await.ok()).await?;
    Ok((process, address))
}

fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join("nginx"))
        .find(|file| file.is_file())
}

fn configuration(home: &Path, pki: &Pki, stub: SocketAddr, address: SocketAddr) -> String {
    let home = home.display();
    let (ca, certificate, key) = (pki.ca.display(), pki.certificate.display(), pki.key.display());
    format!(
        r#"daemon off;
worker_processes 1;
pid "{home}/nginx.pid";
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path "{home}/client";
  proxy_temp_path "{home}/proxy";
  fastcgi_temp_path "{home}/fastcgi";
  uwsgi_temp_path "{home}/uwsgi";
  scgi_temp_path "{home}/scgi";
  upstream stub {{
    server {stub};
    keepalive 64;
    keepalive_requests 1000000000;
  }}
  server {{
    listen {address} ssl;
    ssl_certificate "{certificate}";
    ssl_certificate_key "{key}";
    ssl_client_certificate "{ca}";
    ssl_verify_client on;
    ssl_protocols TLSv1.2 TLSv1.3;
    keepalive_requests 1000000000;
    location / {{
      proxy_pass http://stub;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
}}
"#
    )
}
