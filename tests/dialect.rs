//! The differences between OpenBao's and Vault's answers, where tests ask them directly.

use local_vault::Product;

/// One product's way.
#[derive(Clone, Copy)]
pub struct Dialect(pub Product);

impl Dialect {
    /// True where a `%2e%2e` in a path is followed; else it is a 400.
    pub fn follows_dots(self) -> bool {
        self.0 == Product::Vault
    }

    /// True where an alias that is `+` becomes a wildcard in a templated policy; else its token is good for nothing.
    pub fn takes_wildcards(self) -> bool {
        self.0 == Product::Vault
    }

    /// Most members of an object in a request: of its names and texts OpenBao takes 1,000 in all.
    pub fn most_members(self) -> usize {
        match self.0 {
            Product::Vault => 10_000,
            Product::OpenBao => 900,
        }
    }
}
