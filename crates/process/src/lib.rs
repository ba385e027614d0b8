//! What every daemon does alike: a [`log`] that holds up no call, what it takes from the kernel at its start ([`limits`]), and, with
//! the feature `daemon`, its start and end (`daemon`), its unix sockets (`socket`), how it accepts connections (`accept`), and its
//! HTTP pages (`pages`). And how all programs show [`text`] of strangers and read [`yaml`] of people.

#[cfg(feature = "daemon")]
pub mod accept;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod limits;
pub mod log;
#[cfg(feature = "daemon")]
pub mod pages;
#[cfg(feature = "daemon")]
pub mod socket;
pub mod text;
pub mod yaml;
