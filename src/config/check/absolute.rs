//! Absolute grants of roles: Vault's own paths.

use filters::grants::{AbsoluteGrant, Absolutes, Capabilities};
use filters::operation::Capability;
use filters::pattern::{AbsolutePattern, BadPattern};
use filters::scope::Scopes;
use filters::vault::Layout;

use super::super::fields::Fields;
use super::super::kind::Word;
use super::super::sections as section;

const PATH: &str = "write it as a policy of Vault's does: `+` for one whole segment, `*` at the end for the rest";
const CAPABILITY: &str = "use `create`, `read`, `update`, `patch`, `delete`, `list`, or `deny` alone";

/// The grants of a role with these scopes. One that reaches what more than itself hangs on is let through where that is
/// said, and said aloud then.
pub(super) fn grants(role: &Fields<'_>, scopes: Scopes, layout: &Layout) -> Absolutes {
    Absolutes::new(
        role.tables("vault", &section::ABSOLUTE).iter().filter_map(|grant| read(grant, role, scopes, layout)),
    )
}

fn read(fields: &Fields<'_>, role: &Fields<'_>, scopes: Scopes, layout: &Layout) -> Option<AbsoluteGrant> {
    fields.require("path");
    fields.require("capabilities");
    let may = capabilities(fields, scopes);
    let path = fields.text("path")?;
    let wrong = |BadPattern(why)| {
        fields.problem("path", &path.place, &format!("holds an invalid pattern: {why}"), PATH);
    };
    let pattern = AbsolutePattern::parse(&path.value).map_err(wrong).ok()?;
    let dangerous = fields.flag("dangerous").unwrap_or(false);
    let denies = may.is_empty();
    match layout.danger(&pattern) {
        // To deny it endangers nothing.
        Some(_) if denies => {}
        Some(what) if dangerous => {
            let text = format!("{} gives `{pattern}`, which reaches {what}", role.label("vault"));
            fields.source.findings.warning(&path.place, text);
        }
        Some(what) => {
            let mend = "name paths that do not, or say `dangerous = true` beside it";
            fields.problem("path", &path.place, &format!("reaches {what}"), mend);
        }
        None if dangerous => {
            let text = format!("{} says `dangerous` of `{pattern}`, which is not", role.label("vault"));
            fields.source.findings.warning(&fields.place_of("dangerous"), text);
        }
        None => {}
    }
    Some(AbsoluteGrant { pattern, may })
}

/// What may be done; nothing where it is denied. What the role has no scope for is said aloud.
fn capabilities(fields: &Fields<'_>, scopes: Scopes) -> Capabilities {
    let words = fields.words("capabilities");
    if fields.given("capabilities") && words.is_empty() {
        fields.problem("capabilities", &fields.place_of("capabilities"), "names no capability", CAPABILITY);
    }
    let denies = words.iter().any(|word| word.text == "deny");
    let capability = |Word { place, text }: Word| {
        if denies {
            if text != "deny" {
                fields.problem("capabilities", &place, "has `deny` beside others", "write `deny` alone");
            }
            return None;
        }
        let found = Capability::ALL.into_iter().find(|capability| capability.name() == text);
        match found {
            None => fields.problem("capabilities", &place, "holds an unknown capability", CAPABILITY),
            Some(capability) if !scopes.contains(capability.scope()) => {
                let scope = capability.scope();
                let text = format!("`{text}` gives nothing: the role has not the scope `{scope}`");
                fields.source.findings.warning(&place, text);
            }
            Some(_) => {}
        }
        found
    };
    words.into_iter().filter_map(capability).collect()
}
