//! Reaching a server: its [`address`] is read once for all programs, one of [`several`] servers gets each call, a name is resolved without the C library
//! ([`resolver`]), files ([`files`]) or a token ([`token`]) authenticate both sides, and an error of TLS names the file and
//! its flag ([`refusal`]). Being reached: TLS by files that are renewed ([`server`], [`renewed`]), and clients of a unix socket
//! that send its path as the host (`authority`, feature `server`).

pub mod address;
#[cfg(feature = "server")]
pub mod authority;
pub mod files;
pub mod refusal;
pub mod regular;
pub mod renewed;
pub mod resolver;
pub mod server;
pub mod several;
pub mod stream;
mod tls;
pub mod token;

pub use tls::{ConnectError, Connector, connect};

/// The largest header list, and so the largest error with its details, that our clients take; HTTP/2 has no limit by itself,
/// h2's is 16 KiB, and one that is larger breaks the connection with all its calls (RFC 9113, 10.5.1).
pub const HEADER_BYTES: u32 = 64 << 10;
