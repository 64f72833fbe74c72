use crate::{Authority, Error, Issued, Leaf, Usage, Validity};

/// One name for each certificate that must not get anybody in, or not as somebody else.
///
/// The ones that are wrong in form name the agent `agent_mtls` as [`Leaf::agent`] does, so that
/// only the flaw can be the reason for a refusal. The ones whose subject is hostile carry it as
/// common name only, so that it is the common name that has to be judged.
///
/// `no-eku` stands apart: RFC 5280 lets a certificate without the extension serve every purpose. It is
/// the agent's.
pub fn hostile(authority: &Authority) -> Result<Vec<(&'static str, Issued)>, Error> {
    let mut minted = vec![("wrong-ca", Authority::new("Another CA")?.issue(&agent())?)];
    for (name, leaf) in flawed().into_iter().chain(subjects()) {
        minted.push((name, authority.issue(&leaf)?));
    }
    Ok(minted)
}

fn agent() -> Leaf {
    Leaf::agent("agent_mtls")
}

/// Certificates with a good subject and one flaw.
fn flawed() -> Vec<(&'static str, Leaf)> {
    let validity = |validity| Leaf { validity, ..agent() };
    let usage = |usage| Leaf { usage, ..agent() };
    let uris = |uris: &[&str]| Leaf { uris: uris.iter().map(|uri| (*uri).to_owned()).collect(), ..agent() };
    let id = "spiffe://portcullis.dev/agent/agent_mtls";
    vec![
        ("expired", validity(Validity::Expired)),
        ("not-yet-valid", validity(Validity::NotYet)),
        ("no-client-auth", usage(Usage::Server)),
        ("no-eku", usage(Usage::None)),
        ("ca-as-leaf", Leaf { is_ca: true, ..agent() }),
        ("svid-signs", Leaf { signs: true, ..agent() }),
        ("svid-two-ids", uris(&[id, "spiffe://portcullis.dev/agent/agent_api"])),
        ("svid-two-uris", uris(&["https://portcullis.dev/agent_mtls", id])),
        ("svid-upper", uris(&["SPIFFE://portcullis.dev/agent/agent_mtls"])),
        ("svid-port", uris(&["spiffe://portcullis.dev:443/agent/agent_mtls"])),
        ("svid-no-path", uris(&["spiffe://portcullis.dev"])),
        ("svid-dots", uris(&["spiffe://portcullis.dev/agent/x/../agent_mtls"])),
        ("svid-query", uris(&["spiffe://portcullis.dev/agent/agent_mtls?x"])),
    ]
}

/// Sound certificates with a subject that names nobody, or more than one.
fn subjects() -> Vec<(&'static str, Leaf)> {
    let two = Leaf { common_names: vec!["agent_mtls".into(), "agent_api".into()], ..Leaf::bare() };
    vec![
        ("empty-subject", Leaf::bare()),
        ("two-cns", two),
        ("subject-plus", Leaf::common_name("+")),
        ("subject-star", Leaf::common_name("*")),
        ("subject-dotdot", Leaf::common_name("..")),
        ("subject-slash", Leaf::common_name("a/b")),
        ("subject-upper", Leaf::common_name("BOB")),
        ("subject-lower", Leaf::common_name("bob")),
        ("subject-nul", Leaf::common_name("bob\0x")),
        ("subject-long", Leaf::common_name(&"a".repeat(5_000))),
    ]
}

#[cfg(test)]
mod tests {
    use x509_parser::pem::parse_x509_pem;
    use x509_parser::prelude::X509Certificate;

    use super::*;

    fn with<T>(issued: &Issued, look: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
        let (_, pem) = parse_x509_pem(issued.certificate.as_bytes()).unwrap();
        look(&pem.parse_x509().unwrap())
    }

    fn minted(wanted: &str) -> Issued {
        let all = hostile(&Authority::new("CA").unwrap()).unwrap();
        all.into_iter().find(|(name, _)| *name == wanted).unwrap().1
    }

    fn common_names(issued: &Issued) -> Vec<String> {
        with(issued, |certificate| {
            let names = certificate.subject().iter_common_name();
            names.map(|name| name.as_str().unwrap().to_owned()).collect()
        })
    }

    #[test]
    fn every_name_is_there_once() {
        let all = hostile(&Authority::new("CA").unwrap()).unwrap();
        let mut names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let wanted = [
            "ca-as-leaf",
            "empty-subject",
            "expired",
            "no-client-auth",
            "no-eku",
            "not-yet-valid",
            "subject-dotdot",
            "subject-long",
            "subject-lower",
            "subject-nul",
            "subject-plus",
            "subject-slash",
            "subject-star",
            "subject-upper",
            "svid-dots",
            "svid-no-path",
            "svid-port",
            "svid-query",
            "svid-signs",
            "svid-two-ids",
            "svid-two-uris",
            "svid-upper",
            "two-cns",
            "wrong-ca",
        ];
        assert_eq!(names, wanted);
    }

    #[test]
    fn hostile_subjects_arrive_byte_for_byte() {
        let long = "a".repeat(5_000);
        let cases = [
            ("subject-plus", vec!["+"]),
            ("subject-star", vec!["*"]),
            ("subject-dotdot", vec![".."]),
            ("subject-slash", vec!["a/b"]),
            ("subject-upper", vec!["BOB"]),
            ("subject-lower", vec!["bob"]),
            ("subject-nul", vec!["bob\0x"]),
            ("subject-long", vec![long.as_str()]),
            ("two-cns", vec!["agent_mtls", "agent_api"]),
            ("empty-subject", vec![]),
        ];
        for (name, subject) in cases {
            let issued = minted(name);
            assert_eq!(common_names(&issued), subject, "{name}");
            let san = with(&issued, |c| c.subject_alternative_name().unwrap().is_some());
            assert!(!san, "{name}");
        }
    }

    #[test]
    fn validity_is_off_on_the_side_the_name_says() {
        let now = x509_parser::time::ASN1Time::now();
        assert!(with(&minted("expired"), |c| c.validity().not_after < now));
        assert!(with(&minted("not-yet-valid"), |c| c.validity().not_before > now));
    }

    #[test]
    fn usages_are_what_the_name_says() {
        let usage = |name| {
            with(&minted(name), |certificate| {
                let usage = certificate.extended_key_usage().unwrap();
                usage.map(|usage| (usage.value.client_auth, usage.value.server_auth))
            })
        };
        assert_eq!(usage("no-client-auth"), Some((false, true)));
        assert_eq!(usage("no-eku"), None);
        assert_eq!(usage("ca-as-leaf"), Some((true, false)));
        assert!(with(&minted("ca-as-leaf"), |c| c.is_ca()));
        assert!(!with(&minted("expired"), |c| c.is_ca()));
    }
}
