//! Bodies of requests to Vault. Most are whole when the arguments are read; the body of a request
//! for a certificate has places that the role fills once it is known which role allows it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::grants::{Demand, Extensions, Role, Ttl};
use crate::lifetime::Lifetime;
use crate::refusal::Refusal;

/// A JSON body.
#[derive(Debug)]
pub enum Body {
    /// A body that is sent as it is.
    Whole(Bytes),
    /// A body with places that the role fills.
    Bounded(Box<Bounded>),
}

/// The body of a request whose lifetime and extensions the role bounds.
#[derive(Debug, Serialize)]
pub struct Bounded {
    /// The other arguments.
    #[serde(flatten)]
    arguments: Map<String, Value>,
    /// The lifetime as Vault reads it, `90s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    /// The extensions of an SSH certificate, each with its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<BTreeMap<String, String>>,
}

impl Bounded {
    /// Fills the places that the caller left empty with the role's bounds, so that no default of
    /// Vault's takes their place.
    fn fill(&mut self, role: &Role, demand: &Demand) {
        if demand.ttl == Ttl::Unsaid {
            self.ttl = role.max_ttl.map(|seconds| format!("{seconds}s"));
        }
        if demand.login.as_ref().is_some_and(|login| login.extensions == Extensions::Unsaid) {
            let every = role.all_extensions();
            self.extensions = every.map(|names| names.into_iter().map(|name| (name.into(), String::new())).collect());
        }
    }
}

impl Body {
    /// A body of these arguments, which have neither lifetime nor extensions among them.
    pub(crate) fn bounded(
        arguments: &impl Serialize,
        ttl: Option<Lifetime>,
        extensions: Option<BTreeMap<String, String>>,
    ) -> Result<Self, Refusal> {
        let Ok(Value::Object(arguments)) = serde_json::to_value(arguments) else { return Err(Refusal::Internal) };
        Ok(Self::Bounded(Box::new(Bounded { arguments, ttl: ttl.map(Lifetime::text), extensions })))
    }

    /// The bytes of the body, within the bounds of the role that allows the request.
    ///
    /// # Errors
    /// [`Refusal::Internal`] where the body needs a role and there is none.
    pub(crate) fn render(self, role: Option<&Role>, demand: &Demand) -> Result<Bytes, Refusal> {
        match self {
            Self::Whole(bytes) => Ok(bytes),
            Self::Bounded(mut body) => {
                body.fill(role.ok_or(Refusal::Internal)?, demand);
                serde_json::to_vec(&body).map(Bytes::from).map_err(|_| Refusal::Internal)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::grants::Login;
    use crate::pattern::NamePattern;

    fn rendered(body: Body, demand: &Demand) -> Value {
        let names = |name| Some(vec![NamePattern::parse(name).unwrap()]);
        let role = Role { max_ttl: Some(600), ssh_extensions: names("permit-pty"), ..Role::default() };
        serde_json::from_slice(&body.render(Some(&role), demand).unwrap()).unwrap()
    }

    #[test]
    fn only_an_empty_place_is_filled() {
        let body = |ttl: Option<&str>| Body::bounded(&json!({"csr": "x"}), ttl.map(|ttl| ttl.parse().unwrap()), None);
        let unsaid = Login { extensions: Extensions::Unsaid, ..Login::default() };
        for (ttl, demand, expected) in [
            (None, Demand { ttl: Ttl::Unsaid, ..Demand::default() }, json!({"csr": "x", "ttl": "600s"})),
            (Some("1m"), Demand { ttl: Ttl::Seconds(60), ..Demand::default() }, json!({"csr": "x", "ttl": "60s"})),
            (None, Demand::default(), json!({"csr": "x"})),
            (
                None,
                Demand { login: Some(unsaid.into()), ..Demand::default() },
                json!({"csr": "x", "extensions": {"permit-pty": ""}}),
            ),
        ] {
            assert_eq!(rendered(body(ttl).unwrap(), &demand), expected, "{demand:?}");
        }
        let whole = Body::Whole(Bytes::from_static(b"{\"a\":1}"));
        assert_eq!(rendered(whole, &Demand { ttl: Ttl::Unsaid, ..Demand::default() }), json!({"a": 1}));
    }

    #[test]
    fn a_bounded_body_is_not_rendered_without_a_role() {
        let body = Body::bounded(&json!({}), None, None).unwrap();
        assert_eq!(body.render(None, &Demand::default()), Err(Refusal::Internal));
        assert!(matches!(Body::bounded(&json!([]), None, None), Err(Refusal::Internal)));
    }
}
