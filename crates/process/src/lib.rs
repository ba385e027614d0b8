//! What every daemon does alike: a [`log`] that holds up no call, and what it takes from the kernel at its start
//! ([`limits`]); and how programs show [`text`] of strangers and read
//! [`yaml`] of people.

pub mod limits;
pub mod log;
pub mod text;
pub mod yaml;
