//! Roles as they are told: grants, bounds, descriptions.

use super::{Engine, Grant, Mode, Role, Space, VAULT, Wrapping};
use crate::pattern::NamePattern;

impl Grant<'_> {
    /// As it is written; `None` for what has no name.
    #[must_use]
    pub fn written(self) -> Option<Box<str>> {
        match self {
            Self::Path(pattern) => Some(pattern.to_string().into()),
            Self::Name(pattern) => Some(pattern.to_string().into()),
            Self::Absolute(grant) => Some(grant.to_string().into()),
            Self::Nameless => None,
        }
    }
}

impl Role {
    /// All grants, by the key of the configuration; denies are not among them. Paths come first, and
    /// without an engine: there is one engine of paths.
    pub fn grants(&self) -> impl Iterator<Item = (&'static str, Option<Engine>, Grant<'_>)> {
        let paths = [(Space::Own, &self.kv), (Space::Shared, &self.shared)].into_iter();
        let paths =
            paths.flat_map(|(space, paths)| paths.iter().map(move |path| (space.key(), None, Grant::Path(path))));
        let named = self
            .named
            .iter()
            .flat_map(|(engine, names)| names.iter().map(|name| (engine.name(), Some(*engine), Grant::Name(name))));
        let absolute = self.vault.iter().map(|grant| (VAULT.name(), Some(VAULT), Grant::Absolute(grant)));
        paths.chain(named).chain(absolute)
    }

    /// The description of a grant under `key`, else the role's.
    #[must_use]
    pub fn about(&self, key: &'static str, written: Option<&str>) -> Option<&str> {
        let own = written.and_then(|written| self.abouts.get(&(key, written.into())));
        own.or(self.about.as_ref()).map(AsRef::as_ref)
    }

    /// Bounds of its grants of `engine`, or of paths where there is none, each as a person reads it.
    #[must_use]
    pub fn bounds(&self, engine: Option<Engine>) -> Vec<String> {
        let mut bounds = Vec::new();
        if self.mode == Mode::Observe {
            bounds.push("observed: recorded as what would be refused".to_owned());
        }
        if self.wrapping == Wrapping::Required {
            bounds.push("wrapped only".to_owned());
        }
        let (ttl, login) =
            engine.map_or((false, false), |engine| (engine.spec().bounds_ttl, engine.spec().bounds_login));
        if let Some(most) = self.max_ttl.filter(|_| ttl) {
            bounds.push(format!("for {most}s at most"));
        }
        let listed = |names: &[NamePattern]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        for (what, names) in [("users", &self.ssh_principals), ("extensions", &self.ssh_extensions)] {
            if let Some(names) = names.as_ref().filter(|_| login) {
                bounds.push(format!("{what} [{}]", listed(names)));
            }
        }
        if !self.confirm.is_empty() {
            bounds.push(format!("confirmed first over MCP [{}]", self.confirm.join(" ")));
        }
        bounds.extend(self.conditions.iter().flat_map(|conditions| conditions.told()));
        if let Some(bytes) = self.body {
            bounds.push(format!("bodies of {bytes} bytes at most"));
        }
        bounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::EngineSpec;

    #[test]
    fn bounds_are_told_of_the_engines_that_have_them() {
        let names = |name| Some(vec![NamePattern::parse(name).unwrap()]);
        let (ssh_principals, ssh_extensions) = (names("ops"), names("permit-*"));
        let role = Role { max_ttl: Some(600), body: Some(9), ssh_principals, ssh_extensions, ..Role::default() };
        let confirmed = Role { confirm: vec!["kv.destroy", "db.revoke"], ..Role::default() };
        assert_eq!(confirmed.bounds(None), ["confirmed first over MCP [kv.destroy db.revoke]"]);
        let body = "bodies of 9 bytes at most";
        const CERTIFICATES: Engine = Engine::of(&EngineSpec { bounds_ttl: true, ..EngineSpec::VAULT });
        const LOGINS: Engine = Engine::of(&EngineSpec { bounds_ttl: true, bounds_login: true, ..EngineSpec::VAULT });
        for (engine, expected) in [
            (None, vec![body]),
            (Some(Engine::of(&EngineSpec::VAULT)), vec![body]),
            (Some(CERTIFICATES), vec!["for 600s at most", body]),
            (Some(LOGINS), vec!["for 600s at most", "users [ops]", "extensions [permit-*]", body]),
        ] {
            assert_eq!(role.bounds(engine), expected, "{engine:?}");
        }
    }
}
