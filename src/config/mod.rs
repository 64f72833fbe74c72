//! Configuration: defaults, file, environment, flags, in this order; read into
//! a tree of the text, checked whole, and only then [`Settings`].
//!
//! [`options`] and [`sections`] are the one table of what can be said, to which
//! [`table`] adds what follows from the engines of a catalog;
//! [`source`] knows the layers, [`fields`] reads a table of the file by them,
//! [`check`] makes settings of the fields.

#[cfg(test)]
mod canary;
mod check;
mod fields;
pub mod files;
mod format;
mod from_toml;
mod from_yaml;
mod include;
mod kind;
mod markdown;
mod near;
mod node;
mod options;
mod outline;
mod report;
mod schema;
mod sections;
mod settings;
mod source;
mod table;
#[cfg(test)]
mod tests;

pub use markdown::options as options_as_markdown;
pub(crate) use near::nearest_of;
pub use outline::{Changes, Outline};
pub use report::{Place, Problem, Report};
pub use schema::schema;
pub use settings::*;
pub use source::{Environment, Flags, files_in, variable};
pub use table::Table;

/// Reads and checks the whole configuration, with files read from the disk and
/// variables asked of `variable`, which is [`variable()`] but in tests.
///
/// # Errors
/// Every problem there is, none of them with a value.
pub fn load(flags: &Flags, variable: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Report> {
    load_from(flags, &Environment { variable, ..Environment::of_process() })
}

/// Reads and checks the whole configuration.
///
/// # Errors
/// Every problem there is, none of them with a value.
pub fn load_from(flags: &Flags, environment: &Environment<'_>) -> Result<Settings, Report> {
    let source = source::Source::new(flags, environment);
    let file = source.read_file().map(|file| include::merged(&source, file));
    let settings = check::settings(&source, file.as_ref());
    let outline = file.as_ref().map(Outline::of).unwrap_or_default();
    let source::Source { files, findings, digest, .. } = source;
    let (settings, warnings) = findings.into_result(settings)?;
    Ok(Settings { files: files.into_inner(), warnings, digest: digest.get(), outline, ..settings })
}
