//! Generates the Rust code of the contracts, without a protoc on the machine.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

const FILES: [&str; 7] = [
    "agent/v1/agent.proto",
    "ipam/v1/admin.proto",
    "ipam/v1/event.proto",
    "ipam/v1/lease.proto",
    "ipam/v1/lease_service.proto",
    "ipam/v1/pool.proto",
    "ipam/v1/reservation.proto",
];

/// The calls of etcd: no contract of this project.
const ETCD_FILES: [&str; 2] = ["etcd/etcd.proto", "etcd/kv.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=agent");
    println!("cargo:rerun-if-changed=etcd");
    println!("cargo:rerun-if-changed=ipam");
    let descriptors = protox::compile(FILES, ["."])?;
    let bytes = descriptors.encode_to_vec();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), &bytes)?;
    // ipam-server does not serve what the agent does.
    let mut of_ipam = descriptors.clone();
    of_ipam
        .file
        .retain(|file| !file.package().starts_with("agent."));
    fs::write(out.join("ipam.bin"), of_ipam.encode_to_vec())?;
    tonic_prost_build::configure()
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::pbjson_types")
        .btree_map(".")
        .compile_fds(descriptors)?;
    pbjson_build::Builder::new()
        .register_descriptors(&bytes)?
        .btree_map([".ipam"])
        .build(&[".ipam"])?;
    // Values are not copied once more than they must.
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".")
        .compile_fds(protox::compile(ETCD_FILES, ["."])?)?;
    Ok(())
}
