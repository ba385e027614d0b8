//! Decides, in memory and one command after the other: who gets which address. It takes the time as a value
//! and gives a [`Group`](crate::store::Group) to make durable; what it changed meanwhile can be undone.
//!
//! [`state`] is what is remembered, [`draft`] a group of decisions that is not durable yet; the other files
//! are the commands, one family each.

pub mod adopt;
pub mod check;
pub mod draft;
pub mod lookup;
pub mod restore;
pub mod state;

mod apply;
mod choose;
mod give;
mod gone;
mod import;
mod load;
mod orphans;
mod pools;
mod release;
mod reservations;

pub use draft::Draft;
pub use load::load;
pub(crate) use release::{is_unlisted, listed};
pub use state::State;
