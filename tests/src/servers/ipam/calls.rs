//! Calls of a server: clients, and what tests ask again and again.

use std::process::{Command, Output, Stdio};

use proto::ipam::v1::admin_service_client::AdminServiceClient;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::{
    AllocateRequest, CheckConsistencyRequest, CreatePoolRequest, GetPoolRequest, Lease,
    ListLeasesRequest, Owner, Pool, Subnet,
};
use serde_json::Value;
use tonic::transport::Channel;

use super::IpamServer;
use crate::host::locate;
use crate::servers::dial::unix_channel;

/// Leases of a page of [`IpamServer::leases`].
const PAGE: i32 = 500;

impl IpamServer {
    /// Runs `ipamctl` against it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn ipamctl(&self, arguments: &[&str]) -> Output {
        self.ipamctl_command(arguments)
            .output()
            .expect("run ipamctl")
    }

    /// Runs `ipamctl -o json` against it and gives what it wrote.
    ///
    /// # Panics
    /// When it fails, with what it wrote.
    #[track_caller]
    pub fn ipamctl_json(&self, arguments: &[&str]) -> Value {
        let output = self.ipamctl(&[arguments, &["-o", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}"))
    }

    /// An `ipamctl` against it; not started.
    pub fn ipamctl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(locate::executable("ipamctl"));
        command
            .arg(format!("--server=unix://{}", self.socket().display()))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// A connection of its own, which dials again when the server was away.
    pub fn channel(&self) -> Channel {
        unix_channel(&self.socket())
    }

    /// A client for leases.
    pub fn lease_client(&self) -> LeaseServiceClient<Channel> {
        LeaseServiceClient::new(self.channel())
    }

    /// A client for pools.
    pub fn pool_client(&self) -> PoolServiceClient<Channel> {
        PoolServiceClient::new(self.channel())
    }

    /// A client for the rest.
    pub fn admin_client(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel())
    }

    /// Makes a pool of these networks; an empty one is left out.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn create_pool(&self, name: &str, ipv4: &str, ipv6: &str) -> Pool {
        let request = CreatePoolRequest {
            pool: Some(pool(name, ipv4, ipv6)),
            ..CreatePoolRequest::default()
        };
        let answer = self.pool_client().create_pool(request).await;
        answer.expect("create a pool").into_inner()
    }

    /// A pool with its counts.
    ///
    /// # Panics
    /// When it is not there.
    pub async fn pool(&self, name: &str) -> Pool {
        let request = GetPoolRequest {
            name: name.to_owned(),
        };
        let answer = self.pool_client().get_pool(request).await;
        answer.expect("get a pool").into_inner()
    }

    /// All leases.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn leases(&self) -> Vec<Lease> {
        let mut client = self.lease_client();
        let mut all = Vec::new();
        let mut request = ListLeasesRequest {
            page_size: PAGE,
            ..ListLeasesRequest::default()
        };
        loop {
            let page = client.list_leases(request.clone()).await;
            let page = page.expect("list leases").into_inner();
            all.extend(page.leases);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Asserts that indexes, counts and leases agree.
    ///
    /// # Panics
    /// When they do not, with what is wrong.
    pub async fn assert_consistent(&self) {
        let answer = self
            .admin_client()
            .check_consistency(CheckConsistencyRequest {})
            .await;
        let problems = answer.expect("check").into_inner().problems;
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

/// A pool of these networks; an empty one is left out.
pub fn pool(name: &str, ipv4: &str, ipv6: &str) -> Pool {
    let subnet = |cidr: &str| {
        (!cidr.is_empty()).then(|| Subnet {
            cidr: cidr.to_owned(),
            ..Subnet::default()
        })
    };
    Pool {
        name: name.to_owned(),
        ipv4: subnet(ipv4),
        ipv6: subnet(ipv6),
        ..Pool::default()
    }
}

/// Asks a pool for a lease of a pod of this name in namespace `default`.
pub fn request(pool: &str, pod: &str) -> AllocateRequest {
    AllocateRequest {
        pools: vec![pool.to_owned()],
        owner: Some(Owner {
            namespace: "default".to_owned(),
            pod: pod.to_owned(),
            network: pool.to_owned(),
            container_id: pod.to_owned(),
            ifname: "net1".to_owned(),
            ..Owner::default()
        }),
        ..AllocateRequest::default()
    }
}
