//! `portcullis audit`.

mod files;
mod keys;
mod search;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

/// Actions on the audit.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// Make a key of the audit: of names' HMACs, or of checkpoints.
    #[command(after_help = keys::AFTER)]
    Key(keys::Key),
    /// Tell whether records were changed, removed, reordered, inserted or cut off, and where.
    #[command(after_help = verify::AFTER)]
    Verify(verify::Verify),
    /// Print the records of an agent, of a secret, or since a time.
    #[command(after_help = search::AFTER)]
    Search(search::Search),
}

pub(super) fn run(command: AuditCommand) -> ExitCode {
    match command {
        AuditCommand::Key(key) => keys::run(&key),
        AuditCommand::Verify(asked) => verify::run(&asked),
        AuditCommand::Search(asked) => search::run(asked),
    }
}
