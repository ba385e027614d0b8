//! Reaching a server: its name is resolved without the C library ([`resolver`]), it is trusted and told who we are by
//! files ([`files`]), and what TLS refuses is told with the file and the flag that gave it ([`refusal`]). The other side of a
//! unix socket: its file keeps its place ([`socket`]), and clients that send its path as the host are served ([`authority`]).

pub mod authority;
pub mod files;
pub mod refusal;
pub mod resolver;
pub mod socket;
pub mod stream;
mod tls;

pub use tls::{ConnectError, Connector, connect};
