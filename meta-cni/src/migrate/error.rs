//! Why a migration fails.

use std::io;
use std::path::{Path, PathBuf};

use dial::files::FilesError;
use tonic::Code;

use crate::cluster::ClusterError;
use crate::ipam::failure::IpamFailure;

/// Why a migration failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A file cannot be read.
    #[error("reading {}; is the path right?", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("writing {}; is this root?", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file makes no sense.
    #[error("{}: {problem}; correct the file, or name another", .path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Allocations without pods.
    #[error("{} has allocations and no pod: nobody knows which pods run; add `pods` to kubectl get", .path.display())]
    NoPods {
        /// The objects.
        path: PathBuf,
    },
    /// The API server does not answer as it should.
    #[error("{doing}")]
    Cluster {
        /// What was asked.
        doing: String,
        /// Why not.
        #[source]
        source: ClusterError,
    },
    /// Networks cannot be changed without an API server.
    #[error("networks were rewritten: name the API server (--kubeconfig)")]
    NoApi,
    /// The address of the server is none.
    #[error("--server: {problem}")]
    Address {
        /// What is wrong.
        problem: String,
    },
    /// A token that others could read on its way.
    #[error(
        "--token-file needs an https server; name it by --server https://HOST:PORT and --ca FILE"
    )]
    TokenWithoutTls,
    /// A server whose certificate nobody vouches for.
    #[error("--server is https, and is trusted by its authorities; name their file (--ca)")]
    NoAuthority,
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] FilesError),
    /// The server cannot be reached.
    #[error(
        "connecting to ipam-server; name it by --server and --ca, and its caller by --cert and --key, or --token-file"
    )]
    Server {
        /// Why not.
        #[source]
        source: Box<IpamFailure>,
    },
    /// The server refused a call.
    #[error("{doing}: {message}{}", remedy(.code))]
    Refused {
        /// What was asked.
        doing: String,
        /// The status.
        code: Code,
        /// The server's words.
        message: String,
    },
    /// The node's `ipam.yaml` cannot be used.
    #[error("{}: {problem}; correct the file, or name another (--ipam-file)", .path.display())]
    NodeSettings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Pods hold addresses that whereabouts does not know.
    #[error(
        "{count} leases were made since the migration ({first}, …), and whereabouts would allocate their addresses again; delete these pods first, or use --force"
    )]
    Newer {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
    },
    /// Standard output cannot be written.
    #[error("writing to standard output")]
    Output {
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn remedy(code: &Code) -> &'static str {
    match code {
        Code::PermissionDenied | Code::Unauthenticated => {
            "; use the certificate (--cert, --key) or the token (--token-file) of an operator, or the socket of a server with --unix-operator"
        }
        _ => "",
    }
}

impl MigrateError {
    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> MigrateError {
        let path = path.to_owned();
        move |source| MigrateError::Read { path, source }
    }

    pub(super) fn write(path: &Path) -> impl FnOnce(io::Error) -> MigrateError {
        let path = path.to_owned();
        move |source| MigrateError::Write { path, source }
    }

    /// Whether the server refused something because of its present state.
    pub(super) fn is_precondition(&self) -> bool {
        matches!(
            self,
            MigrateError::Refused {
                code: Code::FailedPrecondition,
                ..
            }
        )
    }
}
