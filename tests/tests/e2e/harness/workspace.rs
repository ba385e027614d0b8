//! The crates of this workspace: which may import which, what they must not link, and their picture in ARCHITECTURE.md. No
//! cluster, no root: `cargo metadata` and `cargo tree` say what is true.

mod arrows;
mod links;
mod metadata;
mod modules;
mod picture;
