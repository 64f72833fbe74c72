//! Configuration: defaults, file, environment, flags, in this order; read into
//! a mirror of the text, checked whole, and only then [`Settings`].

mod settings;

pub use settings::*;
