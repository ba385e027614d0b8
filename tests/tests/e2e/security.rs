//! What a tenant, a node, or a stranger at a port must not be able to do, one module a topic. The input is harmless: a
//! recorder that must not run, a socket that must not be connected, a file that must stay as it is.

mod admission;
mod bound_agent;
mod connections;
mod deployed;
mod devices;
mod executables;
mod files;
mod limits;
mod node_file;
mod policies;
mod queue;
mod roles;
mod taint;
mod tenants;
mod text;
mod tokens;
