//! Decides, in memory and one command after the other: who gets which address. It takes the time as a value
//! and returns a [`Group`](crate::log::Group) to make durable; what it changed meanwhile can be undone.
//!
//! [`state`] is what is remembered, [`draft`] a group of decisions that is not durable yet; the other files
//! are the commands, one family each.

pub mod adopt;
pub mod allocate;
pub mod check;
pub mod draft;
pub mod explain;
pub mod import;
pub mod lookup;
pub mod orphans;
pub mod pools;
pub mod restore;
pub mod state;

mod apply;
mod choose;
mod deleted;
mod load;
mod named;
mod release;
mod reservations;

pub use draft::Draft;
pub use load::load;
pub use state::State;
