//! Grants as texts, as tables, and what is said of them.

use super::*;

#[test]
fn a_grant_is_a_text_or_a_table_in_every_format() {
    for (name, text) in [
        (
            "c.toml",
            "[roles.a]\nscopes = [\"read\"]\nabout = \"all\"\nkv = [\"a/**\", { name = \"b/*\", about = \"of b\" }]\nssh = \"x, y\"\n",
        ),
        (
            "c.toml",
            "[roles.a]\nscopes = [\"read\"]\nabout = \"all\"\nssh = [\"x\", \"y\"]\n[[roles.a.kv]]\nname = \"a/**\"\n[[roles.a.kv]]\nname = \"b/*\"\nabout = \"of b\"\n",
        ),
        (
            "c.yaml",
            "roles:\n  a:\n    scopes: [read]\n    about: all\n    kv:\n      - a/**\n      - name: b/*\n        about: of b\n    ssh: [x, y]\n",
        ),
        (
            "c.json",
            r#"{"roles": {"a": {"scopes": ["read"], "about": "all", "kv": ["a/**", {"name": "b/*", "about": "of b"}], "ssh": ["x", "y"]}}}"#,
        ),
    ] {
        let settings = load_text(name, text, &[]).unwrap_or_else(|report| panic!("{report}"));
        let role = &settings.roles[1];
        let told: Vec<_> = role
            .grants()
            .map(|(key, _, grant)| {
                let written = grant.written().unwrap();
                let about = role.about(key, Some(&written)).unwrap().to_owned();
                (key, written.to_string(), about)
            })
            .collect();
        let expected = [("kv", "a/**", "all"), ("kv", "b/*", "of b"), ("ssh", "x", "all"), ("ssh", "y", "all")];
        let expected = expected.map(|(key, name, about)| (key, name.to_owned(), about.to_owned()));
        assert_eq!(told, expected, "{text}");
    }
}
