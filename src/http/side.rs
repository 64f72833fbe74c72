//! Callers and operators each have their own side of the gate.

/// The side of the gate that a listener is on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    /// The side of callers.
    Edge {
        /// Its place in the configuration.
        index: usize,
        /// True behind balancers that forward anybody's bytes.
        balanced: bool,
    },
    /// The side of operators.
    Admin,
}
