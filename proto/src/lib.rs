//! The gRPC contracts, and what is called of etcd, generated from the `.proto` files and nothing else. Messages also have the canonical
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

/// The calls of etcd that ipam-server makes, by etcd's own names.
#[expect(missing_docs, clippy::all, reason = "generated")]
pub mod etcd {
    pub mod mvccpb {
        tonic::include_proto!("mvccpb");
    }
    pub mod etcdserverpb {
        tonic::include_proto!("etcdserverpb");
    }
}

/// All contracts as an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The same without the agent's, for the reflection of a server of ipam.v1.
pub const IPAM_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ipam.bin"));
