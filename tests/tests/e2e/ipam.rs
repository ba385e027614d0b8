//! The address service as it is shipped: real processes, a real socket, a real disk. It is killed, its disk
//! is full, everybody comes at once, its input is rubbish. No address is ever given twice, and nothing that
//! was acknowledged is lost.

mod authority;
mod bounded;
mod changes;
mod connections;
mod disk;
mod failures;
mod fsync;
mod given_back;
mod import;
mod input;
mod ipamctl;
mod kill;
mod meta_ipam;
mod nameless;
mod open_streams;
mod pages;
mod parallel;
mod plugin;
mod pod;
mod pools_file;
mod proxy;
mod removed;
mod restore;
mod shutdown;
mod sizes;
mod switched;
#[path = "../../../ipamctl/tests/cli/terminal.rs"]
mod terminal;
mod tls;
mod ttl;
mod unread;

use e2e::certificates;
