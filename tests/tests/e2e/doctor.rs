//! `meta-cni doctor` on real nodes: each fault is named in the first line, a cause comes before what follows from it, a
//! healthy node yields nothing, and nothing is changed.

mod behaviour;
mod faults;
mod healthy;
mod node;
mod policy;
mod scene;
