//! What the README says is what the gate does.

use std::process::Command;

use tests::process::{binary, root};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[("the_options_are_those_of_the_binary", options)];

/// The text between `<!-- name -->` and `<!-- /name -->`, and what surrounds it.
fn section<'a>(text: &'a str, name: &str) -> (&'a str, &'a str, &'a str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let start = text.find(&begin).expect("the section begins") + begin.len();
    let stop = text.find(&end).expect("the section ends");
    (&text[..start], &text[start..stop], &text[stop..])
}

/// `BLESS=1` writes them into the README.
fn options(_: &Shared) {
    let printed = Command::new(binary()).arg("options").env_clear().output().expect("the gate runs");
    let printed = String::from_utf8(printed.stdout).expect("text");
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).expect("a README");
    let (before, now, after) = section(&readme, "options");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, format!("{before}{printed}{after}")).expect("written");
        return;
    }
    assert!(now == printed, "the README's options are old; BLESS=1 writes them anew");
}
