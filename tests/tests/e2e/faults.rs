//! What goes wrong while `meta-cni` is at work: it is killed, its delegates misbehave, its disk is full,
//! its input is rubbish, everybody comes at once. Whatever it was, a DEL leaves nothing.

mod crowd;
mod delegate;
mod disk;
mod input;
mod killed;
mod orphan;
mod refused;
mod removed;
mod scene;
mod sweep;
mod turns;
