//! Grants and loosened checks by variables alone.

use filters::catalog::CATALOG;
use filters::scope::{Scope, Scopes};

use super::*;

#[test]
fn variables_grant_what_is_not_in_the_own_namespace() {
    let variables = [
        ("DEFAULT_ROLE_TRANSIT", "agents-*,other"),
        ("DEFAULT_ROLE_DATABASE", "readonly"),
        ("DEFAULT_ROLE_SSH", "ops"),
        ("DEFAULT_ROLE_PKI", "agents"),
        ("DEFAULT_ROLE_KMS", "alias/agents-*"),
    ];
    let settings = load_variables(&variables);
    let role = &settings.roles[0];
    let counts: Vec<_> = CATALOG.engines().map(|engine| role.names(engine).len()).collect();
    assert_eq!((counts, role.kv.len(), role.shared.len()), (vec![0, 2, 1, 1, 1, 1], 1, 0));
    let warnings = settings.warnings.join("\n");
    assert!(variables.iter().all(|(name, _)| warnings.contains(name)), "{warnings}");
    let plain = load_variables(&[]);
    assert!(
        plain.roles[0].named.is_empty() && !plain.warnings.join("\n").contains("DEFAULT_ROLE"),
        "{:?}",
        plain.warnings
    );
    let report = refused(load_with(&Flags::default(), &[("DEFAULT_ROLE_TRANSIT", "a*b")], &[]));
    assert!(report.contains("DEFAULT_ROLE_TRANSIT") && report.contains("invalid pattern"), "{report}");
}

#[test]
fn kms_that_nobody_may_use_is_told_of() {
    let enabled = [("AWS_KMS_ENABLED", "true"), ("AWS_REGION", "eu-west-1")];
    let told = |more: &[(&str, &str)]| {
        let variables: Vec<_> = enabled.iter().chain(more).copied().collect();
        load_variables(&variables).warnings.join("\n").contains("nobody may use it")
    };
    assert!(told(&[]));
    assert!(!told(&[("DEFAULT_ROLE_KMS", "alias/agents")]));
    let top = "aws_kms_enabled = true\naws_region = \"eu-west-1\"\n";
    for (roles, expected) in [("[\"k\"]", false), ("[\"other\"]", true), ("[]", true)] {
        let text = format!(
            "{top}[roles.k]\nscopes = [\"read\"]\nkms = [\"alias/a\"]\n[roles.other]\nscopes = [\"read\"]\n[agents.a]\nroles = {roles}\n"
        );
        let warnings = load_toml(&text).warnings.join("\n");
        assert_eq!(warnings.contains("nobody may use it"), expected, "{roles}: {warnings}");
    }
}

#[test]
fn short_secrets_and_default_scopes_are_said_by_variables() {
    let jwks = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let load = |variables: &[_], text| load_with(&Flags::default(), variables, &[("jwks.json", text)]);
    let develops = ("APP_ENV", "development");
    let settings = load(&[("JWT_HS256_SECRET", "dev-secret"), develops], jwks).unwrap();
    let warnings = settings.warnings.join("\n");
    assert!(warnings.contains("in production it is refused") && !warnings.contains("dev-secret"), "{warnings}");
    assert_eq!(settings.identity.issuers.len(), 1);
    let report = refused(load(&[("JWT_HS256_SECRET", "dev-secret"), ("APP_ENV", "production")], jwks));
    assert!(report.contains("has fewer than 32 bytes"), "{report}");
    let file = ("JWT_JWKS_FILE", "jwks.json");
    let scopes = |variables: &[_]| load(variables, jwks).unwrap().identity.issuers[0].rules.default_scopes;
    assert_eq!(scopes(&[file]), Scopes::NONE);
    assert_eq!(scopes(&[file, ("JWT_DEFAULT_SCOPES", "read,list")]), [Scope::Read, Scope::List].into_iter().collect());
    let report = refused(load(&[file, ("JWT_DEFAULT_SCOPES", "sing")], jwks));
    assert!(report.contains("holds an unknown scope"), "{report}");
    assert_eq!(load(&[("DOCS", "off")], jwks).unwrap().surfaces.docs, settings::Docs::Off);
}

#[test]
fn propagators_that_the_gate_does_not_have_are_told_and_left_out() {
    for (propagators, taken_over, told) in [
        ("", true, false),
        ("tracecontext", true, false),
        ("baggage,tracecontext,b3", true, true),
        ("baggage", false, false),
        ("none", false, false),
        ("none,tracecontext", false, false),
        ("b3,xray", true, true),
        ("baggage,b3", false, true),
    ] {
        let settings = load_variables(&[("OTEL_PROPAGATORS", propagators)]);
        let warned = settings.warnings.iter().any(|warning| warning.contains("`otel.propagators`"));
        assert_eq!((settings.surfaces.trace_context, warned), (taken_over, told), "{propagators}");
    }
}
