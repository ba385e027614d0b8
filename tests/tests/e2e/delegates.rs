//! Every reference plugin as a delegate of `meta-cni`, on real namespaces: the pinned plugins (CNI 1.1.0)
//! and the distribution's (1.0.0), as a secondary network and, where that is usual, as the default one.
//! What this kernel lacks is reported by name.

mod addresses;
mod advertisements;
mod attach;
mod chained;
mod check;
mod duplicates;
mod links;
mod moved;
mod namespace_gone;
mod standing;
mod together;
