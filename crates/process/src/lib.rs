//! What every daemon does alike: a [`log`] that holds up no call, what it takes from the kernel at its start ([`limits`]), and
//! its start and end (`daemon`, a feature). And how all programs show [`text`] of strangers and read [`yaml`] of people.

#[cfg(feature = "daemon")]
pub mod daemon;
pub mod limits;
pub mod log;
pub mod text;
pub mod yaml;
