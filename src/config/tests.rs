//! The whole of it: layers, examples, broken files, canaries.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use filters::catalog::CATALOG;
use filters::identity::UnknownAgents;
use filters::mcp::ToolNames;
use tracing::Level;

use super::*;

mod grants;
mod variables;

/// The folder of example configurations.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// Loads by the given variables and files; certificates named `missing…` are not there.
pub(super) fn load_with(flags: &Flags, variables: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Settings, Report> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let files: HashMap<_, _> = files.iter().copied().collect();
    let environment = Environment {
        variable: &|name| variables.get(name).map(|value| (*value).to_owned()),
        read: &|path, _| {
            let name = path.to_str().unwrap();
            files.get(name).map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
        },
        probe: &|path| match path.to_str().unwrap().contains("missing") {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(()),
        },
        list: &|folder| {
            let within = |name: &&&str| Path::new(name).parent() == Some(folder);
            let mut found: Vec<PathBuf> = files.keys().filter(within).map(PathBuf::from).collect();
            found.sort();
            if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
        },
        table: Table::of_gate(),
    };
    load_from(flags, &environment)
}

pub(super) fn load_text(name: &str, text: &str, variables: &[(&str, &str)]) -> Result<Settings, Report> {
    let flags = Flags { config: Some(name.into()), ..Flags::default() };
    load_with(&flags, variables, &[(name, text)])
}

fn load_toml(text: &str) -> Settings {
    load_text("c.toml", text, &[]).unwrap_or_else(|report| panic!("{report}"))
}

fn load_variables(variables: &[(&str, &str)]) -> Settings {
    load_with(&Flags::default(), variables, &[]).unwrap_or_else(|report| panic!("{report}"))
}

fn refused(result: Result<Settings, Report>) -> String {
    result.err().map(|report| report.to_string()).expect("it was accepted")
}

#[test]
fn nothing_at_all_is_a_valid_configuration() {
    let settings = load_variables(&[]);
    let [listener] = settings.listeners.as_slice() else { panic!("{:?}", settings.listeners) };
    assert_eq!(
        (listener.address.to_string().as_str(), listener.tls.is_none(), listener.metrics),
        ("127.0.0.1:8089", true, false)
    );
    assert_eq!(settings.admin.address.unwrap().to_string(), "127.0.0.1:9901");
    assert_eq!(
        (settings.upstream.host.as_str(), settings.upstream.port, settings.upstream.tls),
        ("localhost", 8200, false)
    );
    assert!(matches!(settings.login, Login::None));
    assert_eq!(settings.surfaces.tool_names, ToolNames::Underscored);
    assert!(settings.child_tokens.enabled && settings.child_tokens.batch);
    assert_eq!((settings.child_tokens.ttl, settings.child_tokens.role.as_str()), (90, "portcullis"));
    assert_eq!(settings.child_tokens.policies, ChildPolicies::PerAgent("mcp-agent-".into()));
    assert_eq!(settings.rate.unwrap().burst(), 60);
    assert_eq!((settings.limits.body, settings.limits.answer), (1 << 20, 2 << 20));
    assert_eq!(settings.identity.directory.unknown(), UnknownAgents::OwnNamespace(None));
    assert_eq!(settings.logging.files.unwrap().folder, Path::new("./logs"));
    assert_eq!(settings.server.drain, Duration::from_secs(30));
    assert_eq!(settings.layout, CATALOG.layout());
    assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
}

#[test]
fn tools_are_named_as_told() {
    for (name, names) in [("dotted", ToolNames::Dotted), ("underscored", ToolNames::Underscored)] {
        let settings = load_toml(&format!("[mcp]\ntool_names = \"{name}\"\n"));
        assert_eq!(settings.surfaces.tool_names, names);
    }
}

#[test]
fn each_layer_overrides_the_one_before() {
    let file = ("config.yaml", "port: 1001\nLOG_LEVEL: warn\nkv_mount: kv\n");
    let flags = Flags { port: Some("1003".into()), ..Flags::default() };
    let environment = [("PORT", "1002"), ("LOG_LEVEL", "DEBUG"), ("KV_MOUNT", "")];
    let settings = load_with(&flags, &environment, &[file]).unwrap();
    assert_eq!(settings.listeners[0].address.port(), 1003);
    assert_eq!(settings.logging.level, Level::DEBUG);
    assert_eq!(&*settings.layout.kv_mount, "kv", "an empty variable counts as not set");
    assert_eq!(settings.files, [Path::new("config.yaml")]);
}

#[test]
fn the_file_is_named_by_flag_then_variable_then_convention() {
    let files =
        [("a.toml", "port = 1"), ("b.json", "{\"port\": 2}"), ("config.toml", "port = 3"), ("config.json", "{}")];
    let flags = Flags { config: Some("a.toml".into()), ..Flags::default() };
    let port = |flags: &Flags, variables: &[_]| {
        let settings = load_with(flags, variables, &files).unwrap();
        (settings.listeners[0].address.port(), settings.warnings.iter().any(|w| w.starts_with("config.json")))
    };
    assert_eq!(port(&flags, &[("APP_CONFIG_FILE", "b.json")]), (1, false));
    assert_eq!(port(&Flags::default(), &[("APP_CONFIG_FILE", "b.json")]), (2, false));
    assert_eq!(port(&Flags::default(), &[]), (3, true));
    for name in ["gone.toml", "a.ini"] {
        let report = refused(load_with(&Flags::default(), &[("APP_CONFIG_FILE", name)], &[("a.ini", "")]));
        assert!(
            report.contains("APP_CONFIG_FILE: the configuration file cannot be read") && !report.contains(name),
            "{report}"
        );
    }
}

#[test]
fn a_bridges_environment_is_enough() {
    let settings = load_variables(&[
        ("VAULT_ADDR", "https://vault.example"),
        ("VAULT_CACERT", "ca.pem"),
        ("VAULT_TOKEN", "exported"),
        ("VAULT_ROLE_ID", "role"),
        ("VAULT_SECRET_ID", "secret"),
        ("API_KEYS_JSON", r#"{"dev-key": "agent_api"}"#),
        ("AUTH_MTLS_ENABLED", "1"),
        ("CHILD_TOKEN_ENABLED", "no"),
        ("RATE_LIMIT_ENABLED", "off"),
        ("EXPOSE_REST_ROUTES", "False"),
        ("CORS_ALLOW_ORIGINS", "https://a.example, http://localhost:6274"),
        ("HOST", "localhost"),
        ("PORT", "9000"),
        ("ADMIN_PORT", "9001"),
    ]);
    assert!(
        matches!(&settings.login, Login::AppRole { mount, role_id, .. } if mount == "approle" && role_id == "role")
    );
    assert_eq!((settings.upstream.port, settings.upstream.server_name.as_str()), (443, "vault.example"));
    assert_eq!(settings.upstream.authority.as_deref(), Some(Path::new("ca.pem")));
    assert_eq!(settings.api_keys[0].agent.as_str(), "agent_api");
    assert!(
        settings.rate.is_none() && !settings.rate_limited && !settings.surfaces.rest && !settings.child_tokens.enabled
    );
    assert_eq!(settings.surfaces.origins, ["https://a.example", "http://localhost:6274"]);
    assert_eq!(settings.admin.address.unwrap().port(), 9001);
    let warnings = settings.warnings.join("\n");
    for word in ["AppRole", "plain text", "believed from nobody", "gate's own rights"] {
        assert!(warnings.contains(word), "{word} in {warnings}");
    }
    assert!(!warnings.contains("dev-key"));
    assert!(
        load_variables(&[("API_KEYS_JSON", r#"{"k": "a"}"#), ("AUTH_API_KEY_ENABLED", "false")]).api_keys.is_empty()
    );
}

#[test]
fn a_file_may_begin_with_a_byte_order_mark() {
    for (name, text) in [("c.json", "{\"port\": 9000}"), ("c.yaml", "port: 9000\n"), ("c.toml", "port = 9000\n")] {
        let settings = load_text(name, &format!("\u{feff}{text}"), &[("API_KEYS_JSON", "\u{feff}{\"k\": \"a\"}")]);
        let settings = settings.unwrap_or_else(|report| panic!("{report}"));
        assert_eq!((settings.admin.address.is_some(), settings.api_keys.len()), (true, 1), "{name}");
    }
}

#[test]
fn the_gate_logs_in_by_one_method() {
    let kubernetes = "[login.kubernetes]\nrole = \"gate\"\n";
    let settings = load_toml(kubernetes);
    let Login::Kubernetes(login) = &settings.login else { panic!("{:?}", settings.login) };
    assert_eq!((login.mount.as_str(), login.role.as_deref()), ("kubernetes", Some("gate")));
    assert_eq!(login.file, Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token"));
    assert!(settings.files.len() == 1 && settings.warnings.is_empty(), "the file may be missing: {settings:?}");
    let approle = [("VAULT_ROLE_ID", "role"), ("VAULT_SECRET_ID", "secret"), ("VAULT_TOKEN", "exported")];
    let report = refused(load_text("c.toml", kubernetes, &approle));
    assert!(
        report.contains("1 problem\n")
            && report.contains("`login.kubernetes` is a second way to log in to Vault, beside AppRole"),
        "{report}"
    );
    let report = refused(load_text("c.toml", kubernetes, &[("VAULT_TOKEN_FILE", "t")]));
    assert!(report.contains("beside `vault_token_file`"), "{report}");
    let tls = [("VAULT_ADDR", "https://vault"), ("VAULT_CLIENT_CERT", "a"), ("VAULT_CLIENT_KEY", "b")];
    let settings = load_text("c.toml", "[login.certificate]\n", &tls).unwrap();
    assert!(matches!(&settings.login, Login::Certificate { mount, role: None } if mount == "cert"));
    assert!(settings.upstream.identity.is_some() && settings.files.len() == 3);
}

#[test]
fn a_plain_listener_is_there_only_where_it_is_meant_and_loopback() {
    let tls = "[[listeners]]\naddress = \"0.0.0.0:8443\"\ntls = { certificate = \"c\", key = \"k\" }\n";
    let ports = |text: &str, variables: &[(&str, &str)]| {
        let settings = load_text("c.toml", text, variables).unwrap();
        settings.listeners.iter().map(|listener| listener.address.port()).collect::<Vec<_>>()
    };
    assert_eq!(ports(tls, &[]), [8443]);
    assert_eq!(ports(tls, &[("PORT", "9000")]), [8443, 9000]);
    assert_eq!(ports(tls, &[("TLS_PORT", "9443")]), [9443]);
    assert_eq!(ports(&format!("plain = true\n{tls}"), &[]), [8443, 8089]);
    assert_eq!(ports(&format!("plain = false\n{tls}"), &[("PORT", "9000")]), [8443]);
    let report = refused(load_with(&Flags::default(), &[("HOST", "0.0.0.0")], &[]));
    assert!(report.contains("HOST: `host` is plain HTTP") && report.contains("configure a TLS listener"), "{report}");
}

#[test]
fn agents_have_the_roles_they_name_or_the_built_in_one() {
    let settings = load_toml(
        "[roles.r]\nscopes=[\"read\"]\n[agents.a]\nroles=[\"r\",\"own-namespace\"]\n[agents.b]\n[agents.c]\nroles=[]\n",
    );
    let roles: Vec<_> = settings.agents.iter().map(|agent| agent.roles.clone()).collect();
    assert_eq!(roles, [vec![1, 0], vec![0], vec![]]);
    assert_eq!(&*settings.roles[0].name, "own-namespace");
    assert_eq!(settings.identity.directory.unknown(), UnknownAgents::Refuse);
}

#[test]
fn every_example_is_valid() {
    for name in ["dev.toml", "example.toml", "example.yaml", "example.json"] {
        let text = std::fs::read_to_string(folder().join(name)).unwrap();
        let settings = load_text(name, &text, &[("VAULT_TOKEN", "t")]).unwrap_or_else(|report| panic!("{report}"));
        assert!(settings.warnings.is_empty(), "{name}: {:?}", settings.warnings);
        assert!(settings.listeners[0].tls.is_some() && settings.identity.certificates, "{name}");
    }
}

#[test]
fn the_dev_configuration_has_its_ports_from_the_environment() {
    let text = std::fs::read_to_string(folder().join("dev.toml")).unwrap();
    let ports = [("TLS_PORT", "1"), ("PORT", "2"), ("ADMIN_PORT", "3")];
    let settings = load_text("dev.toml", &text, &ports).unwrap();
    let listening: Vec<_> = settings.listeners.iter().map(|l| (l.address.port(), l.metrics)).collect();
    assert_eq!((listening.as_slice(), settings.admin.address.unwrap().port()), ([(1, false), (2, true)].as_slice(), 3));
    assert_eq!(settings.api_keys[0].digest, filters::secret::Digest::of(b"dev-key"));
    assert_eq!(settings.agents.len(), 3);
}

#[test]
fn the_keys_of_tokens_are_read_with_the_configuration() {
    let jwks = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let load = |variables: &[_], text| load_with(&Flags::default(), variables, &[("jwks.json", text)]);
    let file = ("JWT_JWKS_FILE", "jwks.json");
    let settings = load(&[file, ("JWT_ISSUER", "https://issuer.example")], jwks).unwrap();
    let issuer = &settings.identity.issuers[0].rules;
    assert_eq!((&*issuer.name, &*issuer.audiences[0]), ("https://issuer.example", "mcp-agents"));
    assert!(issuer.validate_issuer && issuer.validate_audience && !issuer.require_kid);
    assert_eq!(settings.files, [Path::new("jwks.json")], "it is watched");
    assert!(load(&[file, ("AUTH_JWT_ENABLED", "off")], jwks).unwrap().identity.issuers.is_empty());
    let report = refused(load(&[file], "{}"));
    assert!(report.contains("JWT_JWKS_FILE: `jwt_jwks_file` names a file that is not a JSON object"), "{report}");
    let secret = |text| load(&[("JWT_HS256_SECRET", text)], jwks);
    assert!(secret("thirty-two-bytes-are-long-enough").unwrap().identity.issuers.len() == 1);
    let report = refused(secret("thirty-one-bytes-are-too-short."));
    assert!(report.contains("has fewer than 32 bytes") && !report.contains("thirty"), "{report}");
    let fetched = load(&[("JWT_JWKS_URL", "https://issuer.example/jwks")], jwks).unwrap();
    let KeySource::Fetched(fetched) = &fetched.identity.issuers[0].keys else { panic!("they are given") };
    assert_eq!((fetched.place.url(), fetched.refresh.as_secs()), ("https://issuer.example/jwks", 300));
    let plain = load(&[("JWT_JWKS_URL", "http://issuer.example/jwks")], jwks).unwrap();
    assert!(plain.warnings.join("\n").contains("plain HTTP"), "{:?}", plain.warnings);
}

#[test]
fn unknown_agents_are_of_one_source() {
    use filters::identity::Source::{CommonName, Jwt};
    const TOKENS: (&str, &str) = ("JWT_HS256_SECRET", "thirty-two-bytes-are-long-enough");
    const PROXY: [(&str, &str); 2] = [("AUTH_MTLS_ENABLED", "true"), ("TRUSTED_PROXIES", "10.0.0.1")];
    let issuer =
        |name| format!("[[identity.issuers]]\nname = \"{name}\"\naudiences = \"x\"\nhs256_secret = \"{}\"\n", TOKENS.1);
    let listener = "[[listeners]]\naddress = \"127.0.0.1:8443\"\ntls = { certificate = \"a\", key = \"b\" }\n\
                    client_certificates = \"optional\"\nclient_ca = [\"ca\"]\n";
    let source = |variables: &[(&str, &str)], text: &str| {
        let text = format!("[identity]\nunknown_agents = \"own-namespace\"\n{text}");
        load_text("c.toml", &text, variables)
    };
    let both = [TOKENS, PROXY[0], PROXY[1]];
    let with = |said: &'static str| [TOKENS, PROXY[0], PROXY[1], ("UNKNOWN_SOURCE", said)];
    let two = issuer("one") + &issuer("two");
    for (variables, text, expected) in [
        (&[][..], "", None),
        (&[TOKENS], "", Some(Jwt(0))),
        (&PROXY, "", Some(CommonName)),
        (&PROXY[..1], "", None),
        (&[], listener, Some(CommonName)),
        (&[TOKENS], &format!("certificate = [\"spiffe\"]\n{listener}"), Some(Jwt(0))),
        (&[TOKENS, PROXY[0]], "", Some(Jwt(0))),
        (&with("cn"), "", Some(CommonName)),
        (&with("jwt"), "", Some(Jwt(0))),
        (&with("mcp-auth"), "", Some(Jwt(0))),
        (&[], &issuer("one"), Some(Jwt(0))),
        (&[("UNKNOWN_SOURCE", "two")], &two, Some(Jwt(1))),
        (&with("two"), &two, Some(Jwt(2))),
    ] {
        let found = source(variables, text).unwrap_or_else(|report| panic!("{report}"));
        let found = found.identity.directory.unknown();
        assert_eq!(found, UnknownAgents::OwnNamespace(expected), "{variables:?} {text}");
    }
    for (variables, text) in [(&both[..], ""), (&[TOKENS], listener), (&[TOKENS], &issuer("one")), (&[], &two)] {
        let report = refused(source(variables, text));
        assert!(report.contains("`identity.unknown_source` is missing"), "{report}");
    }
    let report = refused(load_with(&Flags::default(), &both, &[]));
    assert!(report.contains("`identity.unknown_source` is missing") && report.contains("UNKNOWN_SOURCE"), "{report}");
    for (said, text) in [("jwt", two.as_str()), ("three", &two), ("CN", ""), ("spiffe", "")] {
        let report = refused(source(&with(said), text));
        assert!(report.contains("UNKNOWN_SOURCE: `identity.unknown_source` names no source"), "{report}");
    }
}

#[test]
fn aws_kms_is_there_only_where_it_is_enabled() {
    let rest = "aws_kms_default_key_id = \"alias/a\"\naws_kms_endpoint = \"http://aws.example:4566\"\n\
        aws_access_key_id = \"AKIA\"\naws_secret_access_key = \"hunter2\"\n";
    let disabled = load_toml(rest);
    assert!(disabled.kms.is_none() && disabled.warnings.len() == 1, "{:?}", disabled.warnings);
    let enabled = load_toml(&format!("aws_kms_enabled = true\n{rest}"));
    let kms = enabled.kms.as_ref().unwrap();
    assert_eq!((kms.region.as_deref(), kms.endpoint.as_deref()), (None, Some("http://aws.example:4566")));
    assert!(kms.keys.as_ref().is_some_and(|keys| keys.session.is_none()));
    assert_eq!(enabled.layout.kms_default_key.as_deref(), Some("alias/a"));
    let warnings = enabled.warnings.join("\n");
    assert!(warnings.contains("without `aws_region`") && warnings.contains("plain HTTP"), "{warnings}");
    assert!(!format!("{enabled:?}").contains("hunter2"));
}

#[test]
fn an_expired_revocation_list_refuses_unless_told_otherwise() {
    let listener = "[[listeners]]\naddress = \"127.0.0.1:8443\"\ntls = { certificate = \"a\", key = \"b\" }\n\
                    client_certificates = \"required\"\nclient_ca = [\"ca\"]\n";
    let read = |more: &str| {
        let settings = load_toml(&format!("{listener}{more}"));
        let tls = settings.listeners[0].tls.clone().unwrap();
        (tls.client_crls.len(), tls.expired_crls, settings.files.len(), settings.warnings.len())
    };
    let (_, _, files, warnings) = read("");
    let lists = "client_crl = [\"one.pem\", \"two.der\"]\n";
    assert_eq!(read(lists), (2, ExpiredCrls::Refuse, files + 2, warnings), "they are watched");
    let warn = "client_crl_expired = \"warn\"\n";
    assert_eq!(read(&format!("{lists}{warn}")), (2, ExpiredCrls::Warn, files + 2, warnings));
    assert_eq!(read(warn), (0, ExpiredCrls::Warn, files, warnings + 1), "it is not used");
}

#[test]
fn vault_is_asked_by_jwts_where_that_is_said() {
    assert!(matches!(load_toml("").vault_identity, VaultIdentity::Child));
    let issuer = |name: &str, more: &str| {
        let secret = "0123456789abcdef0123456789abcdef";
        format!("[[identity.issuers]]\nname = \"{name}\"\naudiences = \"x\"\nhs256_secret = \"{secret}\"\n{more}")
    };
    let more = "vault_mount = \"two\"\n";
    let issuers = format!("{}{}{}", issuer("a", ""), issuer("b", more), issuer("c", "vault_role = \"r\"\n"));
    let text = format!(
        "[vault]\nidentity = \"jwt\"\njwt = {{ mount = \"one\", role = \"q\" }}\n\
         [identity]\nunknown_agents = \"refuse\"\n{issuers}"
    );
    let VaultIdentity::Jwt(logins) = load_toml(&text).vault_identity else { panic!("child tokens") };
    let logins: Vec<_> = logins.iter().map(|login| (login.mount.as_str(), login.role.as_deref())).collect();
    assert_eq!(logins, [("one", Some("q")), ("two", None), ("one", Some("r"))]);
    let aliased = |text: &str| load_toml(text).child_tokens.entity_alias;
    assert!(!aliased("") && aliased("[child_tokens]\nentity_alias = true\n"));
    assert!(aliased("[child_tokens]\npolicies = \"templated\"\n"));
}

#[test]
fn a_trust_domain_that_nobody_accepts_is_worth_a_word() {
    let warnings = |domains: &str| {
        let text = format!(
            "[[listeners]]\naddress = \"[::1]:8443\"\nclient_certificates = \"required\"\nclient_ca = \"ca\"\n\
             tls = {{ certificate = \"c\", key = \"k\" }}\n{domains}\n[[identity.families]]\n\
             spiffe = \"spiffe://corp.example/{{name}}\"\n[agents.ci]\n\
             certificate = {{ spiffe = \"spiffe://corp.example/x/ci\" }}\n"
        );
        let told = load_toml(&text).warnings;
        told.iter().filter(|text| text.contains("no listener accepts this trust domain")).count()
    };
    assert_eq!(warnings(""), 0);
    assert_eq!(warnings("trust_domains = { name = \"corp.example\" }"), 0);
    assert_eq!(warnings("trust_domains = { name = \"other.example\" }"), 2);
}

/// Its name from the folder of broken files, and its text.
fn broken_file(path: &Path) -> (String, String) {
    let name = path.strip_prefix(folder().join("broken")).unwrap().to_str().unwrap();
    (name.to_owned(), std::fs::read_to_string(path).unwrap())
}

/// `BLESS=1` writes the reports anew.
#[test]
fn every_broken_file_gets_its_report() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder().join("broken")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".report") || path.is_dir() {
            continue;
        }
        let included = files_in(&folder().join("broken/include.d")).unwrap();
        let files: Vec<_> = included.iter().chain([&path]).map(|path| broken_file(path)).collect();
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let flags = Flags { config: Some(name.clone().into()), ..Flags::default() };
        let report = refused(load_with(&flags, &[], &files));
        let expected = path.with_file_name(format!("{name}.report"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &report).unwrap();
        }
        assert_eq!(report, std::fs::read_to_string(expected).unwrap_or_default(), "{name}");
        count += 1;
    }
    assert!(count >= 10);
}

#[test]
fn the_reference_has_every_option_and_every_default_is_valid() {
    let table = Table::of_gate();
    let text = options_as_markdown(table);
    for section in table.sections() {
        for option in section.options {
            assert!(text.contains(&format!("| `{}`", option.name)), "{}", option.name);
            if !option.default.is_empty() && !option.default.starts_with(' ') {
                assert!(option.kind.read_text(option.default, &Place::Nowhere).is_ok(), "{}", option.name);
            }
        }
    }
}
