//! `portcullis audit`.

mod criteria;
mod files;
mod join;
mod keys;
mod search;
mod verifier;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

/// Actions on the audit.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// Make a key of the audit: of names' HMACs, or of checkpoints.
    #[command(after_help = keys::AFTER)]
    Key(keys::Key),
    /// Print the key that verifies checkpoints.
    #[command(after_help = verifier::AFTER)]
    Verifier(verifier::Verifier),
    /// Tell whether records were changed, removed, reordered, inserted or cut off, and where.
    #[command(after_help = verify::AFTER)]
    Verify(verify::Verify),
    /// Print the records of an agent, of a secret, or since a time.
    #[command(after_help = search::AFTER)]
    Search(search::Search),
    /// Put the records beside the requests in Vault's own audit, and tell what either lacks.
    #[command(after_help = join::AFTER)]
    Join(Box<join::Join>),
}

pub(super) fn run(command: AuditCommand) -> ExitCode {
    match command {
        AuditCommand::Key(key) => keys::run(&key),
        AuditCommand::Verifier(asked) => verifier::run(asked),
        AuditCommand::Verify(asked) => verify::run(&asked),
        AuditCommand::Search(asked) => search::run(asked),
        AuditCommand::Join(asked) => join::run(*asked),
    }
}
