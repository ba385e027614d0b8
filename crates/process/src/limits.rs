//! What a daemon takes from the kernel at its start: as many open files as it may have, and files that are its own.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};

/// Raises the limit of open files to the hard one, and makes new files private to their owner. Called once, before there are
/// threads that make files.
pub fn begin() {
    private_files();
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Makes new files private to their owner.
pub fn private_files() {
    umask(Mode::from_bits_truncate(0o077));
}

/// How many files this process may have open.
pub fn open_files() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| soft);
    limit.map_or(1024, |soft| usize::try_from(soft).unwrap_or(usize::MAX))
}
