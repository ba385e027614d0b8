//! Which plugins of a node are built in.

use std::path::PathBuf;

use cni::plugins::Executables;
use plugins::{Builtin, Selection};

use crate::delegates::executables;
use crate::ipam::builtin::MetaIpam;

/// The plugins of a node: those of the selection built in, the others programs in these folders.
pub fn of_node(folders: Vec<PathBuf>, selection: Selection) -> Builtin<Executables> {
    Builtin::before(executables(folders), selection).with(Box::new(MetaIpam))
}
