//! `portcullis audit key`.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use filters::audit::{Naming, NoteSigner};
use rustls::crypto::aws_lc_rs;
use zeroize::Zeroizing;

use crate::cli::common::{FAILED, REFUSED, print};

pub(super) const AFTER: &str = "\
Writes a new key to FILE, mode 0600, which must not be there yet. With --names it is
the key of the HMACs by which records name secrets (audit.name_key). With
--checkpoints it is the Ed25519 key that signs checkpoints (audit.checkpoint_key), and
the key that verifies them goes to standard output: keep that elsewhere.

Exit codes:
  0  written
  1  the file is there already, or cannot be written
  2  the command line was refused

Examples:
  portcullis audit key --names names.key
  portcullis audit key --checkpoints gate-1.example/audit checkpoints.key >verifier.txt";

/// The key to make.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Key {
    /// Make the key of names' HMACs.
    #[arg(long, conflicts_with = "checkpoints", required_unless_present = "checkpoints")]
    names: bool,
    /// Make the key of checkpoints, by this name: one word without `+`, such as the gate's host and `/audit`.
    #[arg(long, value_name = "NAME")]
    checkpoints: Option<String>,
    /// File that the key is written to.
    file: PathBuf,
}

pub(super) fn run(Key { checkpoints, file, .. }: &Key) -> ExitCode {
    let mut seed = Zeroizing::new([0; Naming::KEY]);
    if aws_lc_rs::default_provider().secure_random.fill(&mut *seed).is_err() {
        eprintln!("portcullis: the system gives no random numbers");
        return ExitCode::from(FAILED);
    }
    let mut key = Zeroizing::new(String::new());
    let mut public = None;
    match checkpoints {
        None => seed.iter().for_each(|byte| _ = write!(key, "{byte:02x}")),
        Some(name) => {
            let Some(signer) = NoteSigner::of_seed(name, &seed) else {
                eprintln!("portcullis: no key can have that name: write one word without `+`");
                return ExitCode::from(REFUSED);
            };
            key = signer.text(&seed);
            public = signer.verifier();
        }
    }
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(file);
    let written = opened.and_then(|mut file| {
        key.push('\n');
        file.write_all(key.as_bytes())?;
        file.sync_all()
    });
    if let Err(error) = written {
        eprintln!("portcullis: {} cannot be written: {error}", file.display());
        return ExitCode::from(FAILED);
    }
    public.iter().for_each(|public| print(&format!("{public}\n")));
    ExitCode::SUCCESS
}
