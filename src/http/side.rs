//! Callers and operators each have their own side of the gate.

/// Which side of the gate a listener is on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    /// Callers', at this place among the listeners.
    Edge {
        /// Its place in the configuration.
        index: usize,
        /// Whether it is behind balancers that forward anybody's bytes.
        balanced: bool,
    },
    /// Operators'.
    Admin,
}
