//! local-vault
