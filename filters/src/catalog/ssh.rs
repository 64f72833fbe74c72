//! SSH access: signed keys and one-time passwords.
//! API: <https://developer.hashicorp.com/vault/api-docs/secret/ssh>

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Address, Name, Names, Segment, Something, Text};
use super::{named, post, posted};
use crate::grants::{Demand, Duration, Engine, EngineSpec, Extensions, GrantNames, Holds, Login, Service, Ttl};
use crate::json::Whole;
use crate::lifetime::{Lifetime, WrapTtl};
use crate::notes::Note;
use crate::operation::{
    About, Annotations, Ask, Body, Describe, Entry, IssuedKind, OperationSpec, Plan, Reach, Touched, unfit,
};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::{Member, Shape, Type};

/// The engine.
pub const SSH: Engine = Engine::of(&EngineSpec {
    name: "ssh",
    title: "SSH",
    about: "SSH keys and one-time passwords.",
    holds: Holds::Names(GrantNames { example: "ops", ..GrantNames::PLAIN }),
    service: Service::Vault("ssh"),
    bounds_ttl: true,
    bounds_login: true,
    durations: &[Duration {
        name: "otp_ttl",
        bounds: (5_000, 3_600_000),
        default: "10m",
        about: "Longest life of a one-time password, in whole seconds.",
    }],
});

/// Its operations.
pub(super) static OPERATIONS: [Entry; 2] = [Entry::of::<Sign>(), Entry::of::<Otp>()];

/// Most principals, extensions or options of one certificate.
const MOST: usize = 64;

const MAKES: Annotations = Annotations { read_only: false, destructive: false, idempotent: false };

/// `ssh.sign`.
pub(super) struct Sign;

/// For whom a certificate is.
#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum CertType {
    /// Somebody who logs in.
    #[default]
    User,
    /// A host that is logged in to.
    Host,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignArguments<'a> {
    /// The SSH role.
    #[serde(borrow)]
    role: Text<'a, Segment>,
    /// The public key, as in an OpenSSH `.pub` file.
    #[serde(borrow)]
    #[schemars(title = "As in a .pub file")]
    public_key: Text<'a, Something>,
    /// The holder of the certificate: `user` (the default) logs in, `host` is logged in to.
    #[serde(default)]
    cert_type: Option<CertType>,
    /// User or host names joined by commas; the role's default where it is absent.
    #[serde(borrow, default)]
    #[schemars(title = "Comma-separated")]
    valid_principals: Option<Text<'a, Names>>,
    /// Lifetime of the certificate; the SSH role's default where it is absent.
    #[serde(default)]
    #[schemars(title = "Such as 1h")]
    ttl: Option<Lifetime>,
    /// Extensions such as `permit-pty`, each with its value; the roles' own where it is absent.
    #[serde(borrow, default)]
    #[schemars(extend("maxProperties" = MOST))]
    #[schemars(title = "Such as permit-pty")]
    extensions: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
    /// Critical options such as `source-address`, each with its value.
    #[serde(borrow, default)]
    #[schemars(extend("maxProperties" = MOST))]
    critical_options: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
}

/// The body but for what the role bounds.
#[derive(Serialize)]
struct SignBody<'a> {
    public_key: &'a str,
    cert_type: CertType,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_principals: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    critical_options: Option<&'a BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
}

impl Describe for Sign {
    type Arguments<'a> = SignArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "ssh.sign",
        title: "Sign an SSH key",
        summary: "Signs a public key, with which its owner then logs in until the certificate ends.",
        scope: Some(Scope::Write),
        engine: Some(SSH),
        touch: Some(certificate),
        annotations: MAKES,
        template: "/ssh/sign",
        reach: Reach::update(&["sign"]),
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "A certificate of the key.",
        members: &[
            Member::new("signed_key", &["data", "signed_key"], Type::Text, "The certificate, as in `-cert.pub` files."),
            Member::new("serial_number", &["data", "serial_number"], Type::Text, "Its serial number, in hexadecimal.")
                .told("serial_number"),
        ],
    };

    fn plan(arguments: SignArguments<'_>) -> Result<Plan, Refusal> {
        let principals = principals(arguments.valid_principals.as_deref())?;
        for (pointer, options) in
            [("/extensions", &arguments.extensions), ("/critical_options", &arguments.critical_options)]
        {
            if options.as_ref().is_some_and(|options| options.len() > MOST) {
                return Err(unfit(pointer, "at most 64 members"));
            }
        }
        let joined = || principals.iter().map(|name| &**name).collect::<Vec<_>>().join(",");
        let body = SignBody {
            public_key: &arguments.public_key,
            cert_type: arguments.cert_type.unwrap_or_default(),
            valid_principals: arguments.valid_principals.is_some().then(joined),
            critical_options: arguments.critical_options.as_ref().filter(|options| !options.is_empty()),
        };
        // To Vault an empty list is none: it puts its defaults in the place of both.
        let extensions = arguments.extensions.as_ref().filter(|named| !named.is_empty());
        let login = Login {
            extensions: extensions.map_or(Extensions::Unsaid, |named| {
                Extensions::Named(named.keys().map(|name| Box::from(&**name)).collect())
            }),
            principals: principals.clone(),
        };
        let extensions =
            extensions.map(|named| named.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect());
        let call = posted("sign", Body::bounded(&body, arguments.ttl, extensions)?, true);
        let ttl = arguments.ttl.map(Lifetime::seconds);
        let touched = certificate(About { ttl, login, ..About::named(&arguments.role) })?;
        let plan = Plan::about(touched, Ask::Vault(call));
        Ok(match arguments.valid_principals {
            Some(names) => plan.noting("user", Note::text(&names)),
            None => plan,
        })
    }
}

/// A certificate of an SSH role.
fn certificate(about: About<'_>) -> Result<Touched, Refusal> {
    let ttl = about.ttl.map_or(Ttl::Unsaid, Ttl::Seconds);
    let demand = Demand { ttl, login: Some(about.login.into()), ..Demand::default() };
    Ok(Touched { demand, ..named(SSH, about.name)? })
}

/// A password of an SSH role, which Vault's role alone bounds but for the user's name.
fn password(about: About<'_>) -> Result<Touched, Refusal> {
    let login = Login { extensions: Extensions::Fixed, ..about.login };
    let demand = Demand { login: Some(login.into()), ..Demand::default() };
    Ok(Touched { demand, ..named(SSH, about.name)? })
}

/// The names of a list that Vault reads as this does.
fn principals(list: Option<&str>) -> Result<Vec<Box<str>>, Refusal> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let plain = |name: &&str| !name.is_empty() && !name.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
    let names: Vec<&str> = list.split(',').map(str::trim).collect();
    if names.len() > MOST || !names.iter().all(plain) {
        return Err(unfit("/valid_principals", "1 to 64 names joined by commas"));
    }
    Ok(names.into_iter().map(Box::from).collect())
}

/// `ssh.otp`.
pub(super) struct Otp;

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OtpArguments<'a> {
    /// The SSH role.
    #[serde(borrow, skip_serializing)]
    role: Text<'a, Segment>,
    /// Address of the host that is logged in to.
    #[serde(borrow)]
    ip: Text<'a, Address>,
    /// The user name.
    #[serde(borrow)]
    username: Text<'a, Name>,
    /// The port, where it is not the role's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<Whole<1, 65_535>>,
    /// Answer with a handle that is redeemed once, within this time.
    #[serde(default, skip_serializing)]
    #[schemars(title = "Wrap the answer for, say, 5m")]
    wrap_ttl: Option<WrapTtl>,
}

impl Describe for Otp {
    type Arguments<'a> = OtpArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "ssh.otp",
        title: "Get a one-time SSH password",
        summary: "Gives a password with which one SSH login to one host succeeds, for some minutes.",
        scope: Some(Scope::Write),
        engine: Some(SSH),
        touch: Some(password),
        annotations: MAKES,
        template: "/ssh/otp",
        reach: Reach::update(&["creds"]),
        secret: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "A one-time password, and where it is good for.",
        members: &[
            Member::new("otp", &["data", "key"], Type::Text, "The password."),
            Member::new("ip", &["data", "ip"], Type::Text, "The host's address."),
            Member::new("username", &["data", "username"], Type::Text, "The user name."),
            Member::new("port", &["data", "port"], Type::Count, "The host's port."),
        ],
    };

    fn plan(arguments: OtpArguments<'_>) -> Result<Plan, Refusal> {
        if arguments.ip.parse::<std::net::IpAddr>().is_err() {
            return Err(unfit("/ip", "an IPv4 or IPv6 address"));
        }
        let call = post("creds", &arguments, false)?;
        let login = Login { principals: vec![(&*arguments.username).into()], extensions: Extensions::Fixed };
        let touched = password(About { login, ..About::named(&arguments.role) })?;
        let plan = Plan::about(touched, Ask::Issue(IssuedKind::Password, call)).wrapped(arguments.wrap_ttl);
        Ok(plan.noting("ip", Note::text(&arguments.ip)).noting("user", Note::text(&arguments.username)))
    }
}
