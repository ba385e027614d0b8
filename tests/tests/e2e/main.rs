//! The end-to-end tests, a module a rung of the ladder in CONTRIBUTING.md. They are one executable, which is linked once;
//! `make test-RUNG` runs the tests of one module.

mod agent;
mod builtin;
mod clients;
mod cluster;
mod conformance;
mod damage;
mod delegates;
mod demo;
mod doctor;
mod faults;
mod harness;
mod ipam;
mod kubernetes;
mod previous;
mod replicas;
mod runtime;
mod security;
mod storm;
