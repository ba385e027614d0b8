//! The gRPC contracts, generated from the `.proto` files and nothing else. Messages also have the canonical
//! JSON form of protobuf, through serde.

/// What the agent of a node knows, and what meta-cni reports to it.
#[expect(missing_docs, reason = "generated")]
pub mod agent {
    pub mod v1 {
        tonic::include_proto!("agent.v1");
    }
}

/// Pools, leases, reservations and their history.
#[expect(missing_docs, clippy::all, reason = "generated")]
pub mod ipam {
    pub mod v1 {
        tonic::include_proto!("ipam.v1");
        include!(concat!(env!("OUT_DIR"), "/ipam.v1.serde.rs"));
    }
}

/// All contracts as an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The same without the agent's, for the reflection of a server of ipam.v1.
pub const IPAM_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ipam.bin"));
