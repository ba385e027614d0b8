//! What every daemon does alike: a [`log`] that holds up no call.

pub mod log;
