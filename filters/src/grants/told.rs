//! Roles as they are told: grants, bounds, descriptions.

use super::{Engine, Grant, Role, Wrapping};
use crate::pattern::NamePattern;

impl Grant<'_> {
    /// As it is written; `None` for what has no name.
    #[must_use]
    pub fn written(self) -> Option<Box<str>> {
        match self {
            Self::Path(pattern) => Some(pattern.to_string().into()),
            Self::Name(pattern) => Some(pattern.to_string().into()),
            Self::Nameless => None,
        }
    }
}

impl Role {
    /// All grants, by the key of the configuration; denies are not among them.
    pub fn grants(&self) -> impl Iterator<Item = (&'static str, Engine, Grant<'_>)> {
        let paths = [("kv", &self.kv), ("shared", &self.shared)].into_iter();
        let paths = paths.flat_map(|(key, paths)| paths.iter().map(move |path| (key, Engine::Kv, Grant::Path(path))));
        let names = Engine::ALL
            .into_iter()
            .flat_map(|engine| self.names(engine).iter().map(move |name| (engine.name(), engine, Grant::Name(name))));
        paths.chain(names)
    }

    /// The description of a grant under `key`, else the role's.
    #[must_use]
    pub fn about(&self, key: &'static str, written: Option<&str>) -> Option<&str> {
        let own = written.and_then(|written| self.abouts.get(&(key, written.into())));
        own.or(self.about.as_ref()).map(AsRef::as_ref)
    }

    /// Bounds of its grants of `engine`, each as a person reads it.
    #[must_use]
    pub fn bounds(&self, engine: Engine) -> Vec<String> {
        let mut bounds = Vec::new();
        if self.wrapping == Wrapping::Required {
            bounds.push("wrapped only".to_owned());
        }
        let spec = engine.spec();
        if let Some(most) = self.max_ttl.filter(|_| spec.bounds_ttl) {
            bounds.push(format!("for {most}s at most"));
        }
        let listed = |names: &[NamePattern]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        for (what, names) in [("users", &self.ssh_principals), ("extensions", &self.ssh_extensions)] {
            if let Some(names) = names.as_ref().filter(|_| spec.bounds_login) {
                bounds.push(format!("{what} [{}]", listed(names)));
            }
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

    #[test]
    fn bounds_are_told_of_the_engines_that_have_them() {
        let names = |name| Some(vec![NamePattern::parse(name).unwrap()]);
        let (ssh_principals, ssh_extensions) = (names("ops"), names("permit-*"));
        let role = Role { max_ttl: Some(600), body: Some(9), ssh_principals, ssh_extensions, ..Role::default() };
        let body = "bodies of 9 bytes at most";
        for (engine, expected) in [
            (Engine::Kv, vec![body]),
            (Engine::Transit, vec![body]),
            (Engine::Database, vec![body]),
            (Engine::Ssh, vec!["for 600s at most", "users [ops]", "extensions [permit-*]", body]),
            (Engine::Pki, vec!["for 600s at most", body]),
            (Engine::Kms, vec![body]),
        ] {
            assert_eq!(role.bounds(engine), expected, "{engine:?}");
        }
    }
}
