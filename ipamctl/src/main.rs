//! ipamctl, also installed as kubectl-ipam: pools, leases and their history from a person's shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    match ipamctl::parse(std::env::args_os()) {
        Ok(invocation) => ipamctl::execute(invocation),
        Err(not_run) => ipamctl::print(&not_run),
    }
}
