//! Who is who: principals to agents, trusted proxies, origins.

use filters::credential::ProxyHeaders;
use filters::identity::{Clash, Directory, Family, Principal, Source as Origin};
use filters::names::Namespace;
use filters::spiffe::{SpiffeId, TrustDomain};
use http::{HeaderName, Uri};
use ipnet::IpNet;

use super::super::fields::{Fields, Sited};
use super::super::kind::Word;
use super::super::sections as section;
use super::super::settings::{ClientCertificates, Identity, Listener};
use super::agents::{self, Found};
use super::jwt::Issuers;
use super::keys::SitedKey;
use super::values::network;
use super::{namespaces, unknown};

/// Headers that mean something else already.
const TAKEN: [&str; 6] = ["authorization", "x-api-key", "host", "cookie", "content-type", "content-length"];

/// Said of a principal that no certificate can have.
const NOT_ACCEPTED: &str = "no listener accepts this trust domain: `trust_domains` does not name it";

/// Who is who.
pub(super) fn identity(
    top: &Fields<'_>,
    (agents, keys): (&[Found], &[SitedKey]),
    listeners: &[Sited<Listener>],
    issuers: Issuers,
    own: &Namespace,
) -> Identity {
    let fields = top.table("identity", &section::IDENTITY);
    let sources = sources(&fields);
    let asks = |listener: &Sited<Listener>| {
        listener.value.tls.as_ref().is_some_and(|tls| tls.clients != ClientCertificates::Off)
    };
    let certificates = listeners.iter().any(asks);
    let (trusted_proxies, proxy_headers) = (trusted_proxies(top), proxy_headers(top));
    let by_certificate = certificates && sources.contains(&Origin::CommonName);
    let by_proxy = proxy_headers.is_some() && !trusted_proxies.is_empty();
    let mut directory = Directory::new(unknown::agents(top, &fields, by_certificate || by_proxy, &issuers));
    let accepted = accepted(listeners);
    let doubt = |principal: &Principal| match principal.source {
        Origin::Jwt(_) if issuers.list.is_empty() => {
            Some("this principal is never looked for: no keys of JWTs are given, or JWTs are off")
        }
        Origin::Jwt(_) => None,
        source if !sources.contains(&source) => {
            Some("this principal is never looked for: `identity.certificate` does not name its source")
        }
        Origin::Spiffe if !accepted.fits(&principal.value) => Some(NOT_ACCEPTED),
        _ => None,
    };
    add_principals(top, agents, &doubt, &mut directory);
    add_families(&fields, own, (&issuers, &accepted), &mut directory);
    let names = agents.iter().map(|agent| &agent.entry.id).chain(keys.iter().map(|key| &key.value.agent));
    names.for_each(|name| directory.keep(name.clone()));
    unknown::doubt(&fields, &directory);
    doubt_proxies(top, listeners);
    Identity {
        sources,
        directory,
        trusted_proxies,
        forwarded_for: top.flag("forwarded_for").unwrap_or(false),
        proxy_headers,
        certificates,
        issuers: issuers.list,
        role_rules: issuers.role_rules,
    }
}

fn sources(fields: &Fields<'_>) -> Vec<Origin> {
    let mut sources = Vec::new();
    for Word { place, text } in fields.words("certificate") {
        match Origin::parse(&text) {
            Some(source) if sources.contains(&source) => {
                fields.problem("certificate", &place, "names a source twice", "name each once");
            }
            Some(source) => sources.push(source),
            None => {
                let mend = "use `spiffe`, `uri`, `dns`, `email`, `cn`, `fingerprint`";
                fields.problem("certificate", &place, "holds an unknown source", mend);
            }
        }
    }
    sources
}

/// The trust domains of which some listener accepts certificates.
struct Accepted<'a> {
    any: bool,
    names: Vec<&'a TrustDomain>,
}

impl Accepted<'_> {
    /// True where this SPIFFE ID is of one of them.
    fn fits(&self, id: &str) -> bool {
        self.any || SpiffeId::parse(id).is_none_or(|id| self.names.contains(&id.trust_domain()))
    }
}

fn accepted(listeners: &[Sited<Listener>]) -> Accepted<'_> {
    let asking = listeners.iter().filter_map(|listener| listener.value.tls.as_ref());
    let asking: Vec<_> = asking.filter(|tls| tls.clients != ClientCertificates::Off).collect();
    Accepted {
        // Where nobody is asked for a certificate that is not what is wrong.
        any: asking.is_empty() || asking.iter().any(|tls| tls.trust_domains.is_empty()),
        names: asking.iter().flat_map(|tls| &tls.trust_domains).map(|domain| &domain.name).collect(),
    }
}

fn add_principals(
    top: &Fields<'_>,
    agents: &[Found],
    doubt: &dyn Fn(&Principal) -> Option<&'static str>,
    directory: &mut Directory,
) {
    for agent in agents {
        for Sited { place, value } in &agent.principals {
            if let Some(text) = doubt(value) {
                top.source.findings.warning(place, text);
            }
            if directory.add(value.clone(), agent.entry.id.clone()).is_err() {
                let mend = "give each principal to one agent";
                top.problem("agents", place, "claims a principal that another agent claims too", mend);
            }
        }
    }
}

fn add_families(
    fields: &Fields<'_>,
    own: &Namespace,
    (issuers, accepted): (&Issuers, &Accepted<'_>),
    directory: &mut Directory,
) {
    let mut places = Vec::new();
    for rule in fields.tables("families", &section::FAMILY) {
        let Some(family) = family(&rule, issuers, accepted) else { continue };
        let family = family.in_namespace(namespaces::below(&rule, own));
        if directory.families().iter().any(|other| other.is_torn_from(&family)) {
            let mend = "give both rules the same, or templates of `agent` that differ";
            let wrong = "is not that of another rule which could give the same agent";
            rule.problem("namespace", &rule.place_of("namespace"), wrong, mend);
        }
        match directory.add_family(family) {
            Ok(()) => places.push(rule.place),
            Err(Clash::Families(index)) => {
                let other = places.get(index).map_or_else(String::new, |place| format!(" at {place}"));
                let mend = format!(
                    "make both templates differ from those of the rule{other}, so that each agent has one principal"
                );
                fields.problem("families", &rule.place, "could give one agent to two principals", &mend);
            }
            Err(Clash::Principal(_)) => {}
        }
    }
}

fn family(rule: &Fields<'_>, issuers: &Issuers, accepted: &Accepted<'_>) -> Option<Family> {
    let names = Origin::OF_CERTIFICATES.into_iter().filter(|source| *source != Origin::Fingerprint);
    let given: Vec<_> = names.chain([Origin::Jwt(0)]).filter(|source| rule.given(source.name())).collect();
    let [source] = given.as_slice() else {
        let findings = &rule.source.findings;
        findings.problem(
            &rule.place,
            "a family must have exactly one source",
            "give one of `spiffe`, `uri`, `dns`, `email`, `cn`, `jwt`",
        );
        return None;
    };
    let source = match source {
        Origin::Jwt(_) => issuers.origin(rule)?,
        source => *source,
    };
    let (principal, agent) = (rule.text(source.name())?, rule.text("agent")?);
    if source == Origin::Spiffe {
        let example = principal.value.replace("{name}", "a");
        if SpiffeId::parse(&example).is_none() {
            rule.problem(source.name(), &principal.place, "could never be a SPIFFE ID", agents::SPIFFE_ID);
            return None;
        }
        let fixed = principal.value.split('/').nth(2).is_some_and(|domain| !domain.contains("{name}"));
        if fixed && !accepted.fits(&example) {
            rule.source.findings.warning(&principal.place, NOT_ACCEPTED);
        }
    }
    let family = Family::parse(source, &principal.value, &agent.value);
    if family.is_none() {
        let mend = "write `{name}` once in the principal and once in `agent`";
        rule.source.findings.problem(&rule.place, "a family's templates must hold `{name}` once each", mend);
    }
    family
}

fn trusted_proxies(top: &Fields<'_>) -> Vec<IpNet> {
    let network = |Word { place, text }: Word| {
        let network = network(&text);
        match network {
            Some(network) if network.prefix_len() == 0 => {
                top.problem("trusted_proxies", &place, "would believe everybody", "name the proxies' own networks");
            }
            Some(_) => {}
            None => top.problem(
                "trusted_proxies",
                &place,
                "holds something that is not a network",
                "write such as `10.0.0.0/8` or `fd00::/8`",
            ),
        }
        network
    };
    top.words("trusted_proxies").into_iter().filter_map(network).collect()
}

fn proxy_headers(top: &Fields<'_>) -> Option<ProxyHeaders> {
    let identity = header(top, "mtls_identity_header");
    let verify = header(top, "mtls_verify_header");
    if identity.is_some() && identity == verify {
        let place = top.place_of("mtls_verify_header");
        top.problem("mtls_verify_header", &place, "is the identity header too", "use two headers");
    }
    let prefix = top.text("mtls_subject_cn_prefix")?.value.into_boxed_str();
    let headers = ProxyHeaders { identity: identity?, verify: verify?, prefix };
    top.flag("auth_mtls_enabled")?.then_some(headers)
}

/// Warns of proxies that are believed in nothing, and of what is believed from none.
fn doubt_proxies(top: &Fields<'_>, listeners: &[Sited<Listener>]) {
    let named = top.given("trusted_proxies");
    let balanced = listeners.iter().find(|listener| listener.value.proxy_protocol);
    let on = |name| top.flag(name).unwrap_or(false).then(|| top.place_of(name));
    let uses = [
        (on("auth_mtls_enabled"), "the identity header"),
        (on("forwarded_for"), "`X-Forwarded-For`"),
        (balanced.map(|listener| listener.place.clone()), "the PROXY protocol"),
    ];
    let mut used = false;
    for (place, what) in uses {
        let Some(place) = place else { continue };
        used = true;
        if !named {
            let text = format_args!("{what} is believed from nobody: name the proxies in `trusted_proxies`");
            top.source.findings.warning(&place, text);
        }
    }
    if named && !used {
        top.source.findings.warning(
            &top.place_of("trusted_proxies"),
            "`trusted_proxies` is not used while AUTH_MTLS_ENABLED, FORWARDED_FOR and `proxy_protocol` are off",
        );
    }
}

fn header(top: &Fields<'_>, name: &str) -> Option<HeaderName> {
    let text = top.text(name)?;
    match text.value.to_ascii_lowercase().parse::<HeaderName>() {
        Ok(header) if !TAKEN.contains(&header.as_str()) => Some(header),
        Ok(_) => {
            top.problem(name, &text.place, "is a header that means something else", "use a header of the proxy's own");
            None
        }
        Err(_) => {
            top.problem(name, &text.place, "is not a header's name", "write such as `x-ssl-client-s-dn`");
            None
        }
    }
}

/// Origins (RFC 6454) whose pages may call.
pub(super) fn origins(top: &Fields<'_>) -> Vec<String> {
    let mut origins = Vec::new();
    for Word { place, text } in top.words("cors_allow_origins") {
        match origin(&text) {
            Some(origin) => origins.push(origin),
            None if text == "*" => {
                top.problem("cors_allow_origins", &place, "would let every page call", "name each origin");
            }
            None => {
                let mend = "write scheme, host and port only, such as `https://inspector.example`";
                top.problem("cors_allow_origins", &place, "holds something that is not an origin", mend);
            }
        }
    }
    origins
}

/// The address by which callers reach the gate: scheme, host and port, without a path.
pub(super) fn public_url(top: &Fields<'_>) -> Option<Box<str>> {
    let text = top.text("public_url")?;
    let found = origin(text.value.trim_end_matches('/')).filter(|origin| origin.starts_with("http"));
    if found.is_none() {
        let mend = "write scheme, host and port only, such as `https://gate.example:8443`";
        top.problem("public_url", &text.place, "is not a URL without a path", mend);
    }
    found.map(Into::into)
}

fn origin(text: &str) -> Option<String> {
    if text.ends_with('/') || text.contains(['*', '#', '?', '@']) {
        return None;
    }
    let uri = text.parse::<Uri>().ok()?;
    let bare = matches!(uri.path(), "" | "/") && uri.host().is_some_and(|host| !host.is_empty());
    uri.scheme_str().filter(|_| bare)?;
    Some(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://App.example:8443").as_deref(), Some("https://app.example:8443"));
        assert_eq!(origin("http://[::1]:1").as_deref(), Some("http://[::1]:1"));
        for bad in [
            "*",
            "null",
            "https://",
            "https://a/",
            "https://a/b",
            "https://*.a",
            "a.example",
            "https://u@a",
            "https://a?b",
        ] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }
}
