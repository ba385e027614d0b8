//! Generates the client of the Container Runtime Interface; no `protoc` is needed. `cri/api.proto` is
//! `pkg/apis/runtime/v1/api.proto` of the Go module `k8s.io/cri-api` v0.36.3 (Apache-2.0), unchanged.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=cri");
    let descriptors = protox::compile(["api.proto"], ["cri"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .disable_comments(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
