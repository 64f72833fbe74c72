//! Vault's namespaces: the gate's own, and those that agents, roles and families name.

use filters::grants::{Role, torn};
use filters::names::Namespace;

use super::super::fields::{Fields, Sited};

const NAME: &str = "write its whole path, such as `admin` or `admin/team`, of letters, digits, `.`, `_` and `-`; for the \
                    root leave it out";

/// The gate's own.
pub(super) fn own(top: &Fields<'_>) -> Namespace {
    named(top, "vault_namespace").map(|found| found.value).unwrap_or_default()
}

/// The one that `namespace` names: the gate's own, or one below it, where the gate has rights.
pub(super) fn below(fields: &Fields<'_>, own: &Namespace) -> Option<Namespace> {
    let Sited { place, value } = named(fields, "namespace")?;
    if value.below(own).is_none() {
        let mend = "write its whole path, which begins with VAULT_NAMESPACE";
        fields.problem("namespace", &place, "is not within the gate's own namespace", mend);
        return None;
    }
    Some(value)
}

fn named(fields: &Fields<'_>, name: &str) -> Option<Sited<Namespace>> {
    let Sited { place, value } = fields.text(name)?;
    let found = Namespace::parse(&value);
    if found.is_none() {
        fields.problem(name, &place, "is not a namespace", NAME);
    }
    found.map(|value| Sited { place, value })
}

/// Refuses a `list` of roles that name two namespaces for one agent.
pub(super) fn agree(fields: &Fields<'_>, roles: &[Role], list: &[usize], mend: &str) {
    let roles = list.iter().filter_map(|index| roles.get(*index));
    let Some([one, other]) = torn(roles) else { return };
    let [here, there] = [one, other].map(|role| role.namespace.clone().unwrap_or_default());
    let wrong = format!("names roles of two namespaces: `{}` of `{here}` and `{}` of `{there}`", one.name, other.name);
    fields.problem("roles", &fields.place_of("roles"), &wrong, mend);
}
