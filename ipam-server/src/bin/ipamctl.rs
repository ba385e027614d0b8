//! ipamctl, also installed as kubectl-ipam: pools, leases and their history from a person's shell.

use std::process::ExitCode;

use ipam_server::cli;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(invocation) => cli::execute(invocation),
        Err(told) => cli::tell(&told),
    }
}
