//! The table of options for a catalog: those that are written out in [`super::options`] and
//! [`super::sections`], and those that follow from its engines.

use std::sync::LazyLock;

use filters::catalog::{CATALOG, Catalog};
use filters::grants::{Engine, GrantNames};

use super::kind::Kind;
use super::options::{Opt, Section, TOP};
use super::sections::{self, KV, ROLE};

/// Every option that a configuration of this catalog may have.
#[derive(Debug)]
pub struct Table {
    /// Engines and operations that the configuration is about.
    pub(super) catalog: &'static Catalog,
    pub(super) top: Section,
    pub(super) role: Section,
    /// The section of each engine that has a mount in Vault beside KV's.
    pub(super) engines: Vec<(Engine, Section)>,
}

impl Table {
    /// The table of the gate's own catalog.
    #[must_use]
    pub fn of_gate() -> &'static Self {
        static TABLE: LazyLock<Table> = LazyLock::new(|| Table::of(&CATALOG));
        &TABLE
    }

    /// The table of a catalog. It is made once for each: its texts live as long as the process.
    #[must_use]
    pub fn of(catalog: &'static Catalog) -> Self {
        let mounts = catalog.engines().filter_map(|engine| Some((engine, engine.names()?, engine.default_mount()?)));
        let engines: Vec<_> = mounts.map(|(engine, _, mount)| (engine, section(engine, mount))).collect();
        let tables = engines.iter().map(|(engine, _)| {
            let text = format!("The {} engine.", engine.spec().title);
            Opt::file(engine.name(), Kind::Table, "", text.leak())
        });
        let top = with(TOP.options, "default_prefix", named(catalog).map(of_default_role));
        Self {
            catalog,
            top: Section { options: with(&top, KV.label, tables).leak(), ..TOP },
            role: Section { options: with(ROLE.options, "deny", named(catalog).map(of_grants)).leak(), ..ROLE },
            engines,
        }
    }

    /// Every section, in the order of the reference.
    pub(super) fn sections(&self) -> impl Iterator<Item = &Section> {
        sections::ALL.iter().flat_map(|section| {
            let own = match section.label {
                label if label == TOP.label => &self.top,
                label if label == ROLE.label => &self.role,
                _ => section,
            };
            let engines = if section.label == KV.label { self.engines.as_slice() } else { &[] };
            [own].into_iter().chain(engines.iter().map(|(_, section)| section))
        })
    }

    /// The engines whose resources are names, and how grants write those.
    pub(super) fn named(&self) -> impl Iterator<Item = (Engine, &'static GrantNames)> + use<> {
        named(self.catalog)
    }
}

fn named(catalog: &'static Catalog) -> impl Iterator<Item = (Engine, &'static GrantNames)> {
    catalog.engines().filter_map(|engine| Some((engine, engine.names()?)))
}

/// The key by which agents without roles of their own are granted names of an engine.
pub(super) fn default_role(engine: Engine) -> String {
    format!("default_role_{}", engine.name())
}

/// The options, with `more` behind the one of this name.
fn with(options: &[Opt], name: &str, more: impl Iterator<Item = Opt>) -> Vec<Opt> {
    let mut all = options.to_vec();
    let place = all.iter().position(|option| option.name == name).map_or(all.len(), |place| place + 1);
    all.splice(place..place, more);
    all
}

fn section(engine: Engine, mount: &'static str) -> Section {
    let about = format!("Mount of the {} engine.", engine.spec().title);
    let mount = Opt::file("mount", Kind::Text, mount, about.leak());
    let durations = engine.spec().durations.iter().map(|duration| {
        Opt::file(duration.name, Kind::Time(duration.bounds.0, duration.bounds.1), duration.default, duration.about)
    });
    let title = format!("[{}]", engine.name());
    let options: Vec<Opt> = [mount].into_iter().chain(durations).collect();
    Section { label: engine.name(), title: title.leak(), options: options.leak() }
}

fn of_default_role((engine, names): (Engine, &GrantNames)) -> Opt {
    let (name, several, example) = (default_role(engine), several(engine, names), names.example);
    let text =
        format!("{several} that agents without roles of their own may use, such as `{example}`; none where absent.");
    let variable = name.to_ascii_uppercase();
    Opt::file(name.leak(), Kind::Words, "", text.leak()).or_variable(variable.leak())
}

fn of_grants((engine, names): (Engine, &GrantNames)) -> Opt {
    let text = format!("{}{}.", several(engine, names), names.form);
    Opt::file(engine.name(), Kind::Grants, "", text.leak())
}

/// `Transit keys`, as a sentence begins.
fn several(engine: Engine, names: &GrantNames) -> String {
    let mut text = format!("{} {}", engine.spec().title, names.several);
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}
