//! What the README says is what the gate does.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use filters::catalog::CATALOG;
use filters::reference;
use tests::process::{binary, root};

use crate::{Case, Shared};

pub const CASES: &[Case] =
    &[("the_options_are_those_of_the_binary", options), ("the_operations_are_those_of_the_catalog", operations)];

/// Two sections are written anew in one file.
static README: Mutex<()> = Mutex::new(());

/// The text between `<!-- name -->` and `<!-- /name -->`, and what surrounds it.
fn section<'a>(text: &'a str, name: &str) -> (&'a str, &'a str, &'a str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let start = text.find(&begin).expect("the section begins") + begin.len();
    let stop = text.find(&end).expect("the section ends");
    (&text[..start], &text[start..stop], &text[stop..])
}

fn options(_: &Shared) {
    let printed = Command::new(binary()).arg("options").env_clear().output().expect("the gate runs");
    check("options", &String::from_utf8(printed.stdout).expect("text"));
}

fn operations(_: &Shared) {
    check("operations", &reference::operations(&CATALOG));
}

/// `BLESS=1` writes it into the README.
fn check(name: &str, told: &str) {
    let _alone = README.lock().unwrap_or_else(PoisonError::into_inner);
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).expect("a README");
    let (before, now, after) = section(&readme, name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, format!("{before}{told}{after}")).expect("written");
        return;
    }
    assert!(now == told, "the README's {name} are old; BLESS=1 writes them anew");
}
