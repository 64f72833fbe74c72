//! `portcullis jwt`.

mod mint;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use filters::identity::{Principal, Source};
use filters::lifetime::Lifetime;
use filters::secret::Secret;
use zeroize::Zeroizing;

use super::common::{FAILED, Given, REFUSED, ScopeList, load_elsewhere, print, refuse, scopes};
use crate::config::{Development, Settings};
use crate::issuers::{Disbelief, Issuers};

use mint::{Algorithm, Claims, SigningKey, new_private_key};

/// The files that `portcullis jwt keys` writes.
const PRIVATE: &str = "private.pem";
const PUBLIC: &str = "jwks.json";

pub(super) const AFTER: &str = "\
Reads the same file, environment and flags as `portcullis run` would, and works
only where they say `environment = \"development\"` (APP_ENV). Signed with --key,
else --hs256-secret-file, else JWT_HS256_SECRET. The token goes to standard
output; where a gate of this configuration would not take it, that is said on
standard error.

Exit codes:
  0  printed
  1  the key cannot sign
  2  the configuration, its environment or a key was refused

Examples:
  portcullis jwt --subject agent_jwt --scopes \"read list\"
  portcullis jwt keys --out .dev/jwt      and JWT_JWKS_FILE=.dev/jwt/jwks.json
  portcullis jwt --subject ci --scopes read --ttl 10m --key .dev/jwt/private.pem";

const KEYS_AFTER: &str = "\
Writes private.pem (PKCS#8, mode 0600) and jwks.json, which JWT_JWKS_FILE is to
name. Neither is overwritten.

Exit codes:
  0  written
  1  a file is there already, or cannot be written

Example:
  portcullis jwt keys --out .dev/jwt --algorithm EdDSA";

/// The claims of a development token, and its signature.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Jwt {
    #[command(subcommand)]
    verb: Option<Keys>,
    /// Whom it is about (`sub`).
    #[arg(long, value_name = "NAME", required = true)]
    subject: Option<String>,
    /// Scopes that it carries, separated by spaces or commas; none where absent.
    #[arg(long, value_name = "SCOPES", value_parser = scopes, default_value = "")]
    scopes: ScopeList,
    /// Who says so (`iss`); `JWT_ISSUER` where absent.
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// For whom it is (`aud`); `JWT_AUDIENCE` where absent.
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// Time that it holds.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    ttl: Lifetime,
    /// PEM file of a private key: RSA, P-256, P-384 or Ed25519.
    #[arg(long, value_name = "FILE", conflicts_with = "hs256_secret_file")]
    key: Option<PathBuf>,
    /// File of a shared secret, for HS256.
    #[arg(long, value_name = "FILE")]
    hs256_secret_file: Option<PathBuf>,
    /// The name of the key (`kid`); the thumbprint of --key where absent, and none of a shared secret.
    #[arg(long, value_name = "NAME")]
    kid: Option<String>,
    #[command(flatten)]
    given: Given,
}

/// Actions on keys.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Keys {
    /// Make a key to sign development tokens with, and the file of its public half.
    #[command(after_help = KEYS_AFTER)]
    Keys {
        /// The folder; made where it is missing.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// Algorithm that it signs with.
        #[arg(long, default_value = "ES256")]
        algorithm: Algorithm,
    },
}

pub(super) fn run(jwt: &Jwt) -> ExitCode {
    let outcome = match &jwt.verb {
        Some(Keys::Keys { out, algorithm }) => write_keys(out, *algorithm),
        None => match load_elsewhere(&jwt.given.clone().into()) {
            Ok(settings) => token(jwt, &settings),
            Err(report) => return refuse(&report),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, problem)) => {
            eprintln!("portcullis: {problem}");
            ExitCode::from(code)
        }
    }
}

type Outcome<T> = Result<T, (u8, String)>;

fn token(jwt: &Jwt, settings: &Settings) -> Outcome<()> {
    let refused = |problem: &str| (REFUSED, problem.to_owned());
    let development = settings.development.as_ref().ok_or_else(|| {
        refused("tokens are minted for development only: set `environment = \"development\"`, or APP_ENV=development")
    })?;
    let subject = jwt.subject.as_deref().ok_or_else(|| refused("whom is it about? give --subject"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let claims = Claims {
        issuer: jwt.issuer.as_deref().unwrap_or(&development.issuer),
        audience: jwt.audience.as_deref().unwrap_or(&development.audience),
        subject,
        scopes: &jwt.scopes.0,
        now,
        ttl: jwt.ttl.seconds(),
    };
    let token = signing_key(jwt, development)?.named(jwt.kid.as_deref()).token(claims);
    let token = token.map_err(|_| (FAILED, "the key cannot sign".to_owned()))?;
    print(&format!("{token}\n"));
    if let Some(doubt) = doubt(settings, &Secret::new(token), now) {
        eprintln!("portcullis: {doubt}");
    }
    Ok(())
}

fn signing_key(jwt: &Jwt, development: &Development) -> Outcome<SigningKey> {
    let refused = |problem: String| (REFUSED, problem);
    if let Some(file) = &jwt.key {
        let key = SigningKey::from_pem(read("--key", file)?.as_bytes());
        return key.map_err(|fault| refused(format!("the file of --key {fault}")));
    }
    let secret = match &jwt.hs256_secret_file {
        Some(file) => Secret::new(read("--hs256-secret-file", file)?.trim_end().to_owned()),
        None => development.secret.clone().ok_or_else(|| {
            refused("nothing to sign with: set JWT_HS256_SECRET, or give --key or --hs256-secret-file".to_owned())
        })?,
    };
    SigningKey::shared(&secret).ok_or_else(|| refused("the shared secret is empty".to_owned()))
}

fn read(flag: &str, file: &Path) -> Outcome<Zeroizing<String>> {
    let text = fs::read_to_string(file).map(Zeroizing::new);
    text.map_err(|error| (REFUSED, format!("the file of {flag} cannot be read: {}", error.kind())))
}

/// Why a gate of these settings would not take the token.
fn doubt(settings: &Settings, token: &Secret, now: Duration) -> Option<String> {
    let issuers = Issuers::new(&settings.identity.issuers, None).ok()?;
    if issuers.is_empty() {
        return Some("this configuration takes no tokens: set JWT_JWKS_FILE or JWT_HS256_SECRET".to_owned());
    }
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let (issuer, verified) = match issuers.verify(token, now) {
        Ok(verified) => verified,
        Err(Disbelief::Refused(refused)) => {
            return Some(format!("a gate of this configuration would not take it: {refused}"));
        }
        Err(Disbelief::UnknownKey(_)) => {
            return Some("a gate of this configuration takes it where the issuer's server has its key".to_owned());
        }
    };
    let principal = Principal { source: Source::Jwt(issuer), value: verified.subject.as_ref().to_owned() };
    let unknown = settings.identity.directory.agent_of(&principal).is_none();
    unknown.then(|| "no agent of this configuration is known by that subject".to_owned())
}

fn write_keys(folder: &Path, algorithm: Algorithm) -> Outcome<()> {
    let failed = |problem: &str| (FAILED, problem.to_owned());
    let pem = new_private_key(algorithm).map_err(|_| failed("the system gives no random numbers"))?;
    let jwks = SigningKey::from_pem(pem.as_bytes()).ok().and_then(|key| key.jwks());
    let jwks = jwks.ok_or_else(|| failed("the new key cannot be read"))?;
    let written = |name: &str, result: io::Result<()>| {
        result.map_err(|error| (FAILED, format!("{}: {}", folder.join(name).display(), error.kind())))
    };
    written("", fs::DirBuilder::new().recursive(true).mode(0o700).create(folder))?;
    written(PRIVATE, new_file(&folder.join(PRIVATE), 0o600, pem.as_bytes()))?;
    written(PUBLIC, new_file(&folder.join(PUBLIC), 0o644, format!("{jwks:#}\n").as_bytes()))
}

/// Never follows or replaces what is there.
fn new_file(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(bytes)
}
