//! A static program that does nothing: the floor of every start-up time.

fn main() {}
