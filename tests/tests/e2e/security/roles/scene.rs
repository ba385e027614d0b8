//! A server over TLS with a policy, and a certificate for each role.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use e2e::certificates::{Authority, Identity};
use e2e::{IpamServer, wait_until};
use proto::ipam::v1::reservation_service_client::ReservationServiceClient;
use proto::ipam::v1::{self as ipam};
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};

const HOST: &str = "127.0.0.1";
const PATIENCE: Duration = Duration::from_secs(60);

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// A certificate that the policy does not name.
    Stranger,
    /// A reader.
    Reader,
    /// The node that holds the leases.
    Node,
    /// Another node.
    OtherNode,
    /// A node by a SPIFFE URI.
    Workload,
    /// Ends leases without a pod.
    Reclaimer,
    /// Everything.
    Operator,
}

/// What a call is about: made for it alone.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// A lease of node n1.
    pub(crate) id: String,
    /// Its container.
    pub(crate) container: String,
    /// Its network, which no other lease has.
    pub(crate) network: String,
    /// A reservation of its address.
    pub(crate) reservation: String,
    /// Its IPv4 address.
    pub(crate) address: String,
    /// The server's store.
    pub(crate) store: String,
}

/// A server, and who calls it.
pub(crate) struct Scene {
    folder: TempDir,
    pub(crate) server: IpamServer,
    authority: Authority,
    identities: HashMap<Caller, Identity>,
    number: AtomicU64,
}

impl Scene {
    pub(crate) async fn new() -> Scene {
        Scene::with(&[]).await
    }

    /// With more arguments of the server.
    pub(crate) async fn with(more: &[&str]) -> Scene {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let at = folder.path();
        let authority = Authority::new(at, "authority");
        let own = authority.issue(at, "server", HOST);
        let identities = [
            (Caller::Stranger, "stranger", &[][..]),
            (Caller::Reader, "reader", &[]),
            (Caller::Node, "system:node:n1", &[]),
            (Caller::OtherNode, "system:node:n2", &[]),
            (
                Caller::Workload,
                "workload",
                &["spiffe://example.org/node/n3"],
            ),
            (Caller::Reclaimer, "reclaimer", &[]),
            (Caller::Operator, "admin", &[]),
        ];
        let identities = identities.into_iter().map(|(caller, common, uris)| {
            let file = format!("{caller:?}");
            (caller, authority.issue_to(at, &file, common, uris))
        });
        let identities = identities.collect();
        let policy = at.join("policy.yaml");
        std::fs::write(
            &policy,
            "rules:
- {name: 'system:node:*', roles: [node]}
- {name: 'spiffe://example.org/node/*', roles: [node]}
- {name: reader, roles: [reader]}
- {name: reclaimer, roles: [reclaimer]}
- {name: admin, roles: [operator]}
",
        )
        .expect("write a policy");
        let mut arguments = vec![
            format!("--listen=tcp://{HOST}:0"),
            format!("--tls-cert={}", own.cert.display()),
            format!("--tls-key={}", own.key.display()),
            format!("--tls-client-ca={}", authority.file.display()),
            format!("--policy={}", policy.display()),
        ];
        arguments.extend(more.iter().map(ToString::to_string));
        let server = IpamServer::start_with(&arguments);
        server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
        server.create_pool("spare", "10.1.0.0/16", "").await;
        Scene {
            folder,
            server,
            authority,
            identities,
            number: AtomicU64::new(0),
        }
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.folder.path().join("policy.yaml")
    }

    /// Writes a new certificate and key of the server in the place of those that it has, valid until the year 3000.
    pub(crate) fn renew_server(&self) {
        self.authority
            .issue_until(self.folder.path(), "server", HOST, 3000);
    }

    /// Writes rubbish in the place of the server's certificate.
    pub(crate) fn break_server(&self) {
        let path = self.folder.path().join("server.crt");
        std::fs::write(path, "no certificate").expect("write rubbish");
    }

    /// A connection of its own with the certificate of a caller.
    pub(crate) async fn channel(&self, caller: Caller) -> Channel {
        let read = |path: &PathBuf| std::fs::read(path).expect("read a file");
        let identity = &self.identities[&caller];
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(&self.authority.file)))
            .identity(TlsIdentity::from_pem(
                read(&identity.cert),
                read(&identity.key),
            ));
        let address = format!("https://{HOST}:{}", self.server.tcp_address().port());
        let endpoint = Endpoint::from_shared(address).expect("an address");
        let endpoint = endpoint.tls_config(tls).expect("TLS");
        endpoint.connect().await.expect("connect")
    }

    /// A lease of node n1 and a reservation of its address.
    pub(crate) async fn target(&self) -> Target {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let container = format!("c{number}");
        let network = format!("default/net{number}");
        let owner = ipam::Owner {
            namespace: "default".to_owned(),
            pod: container.clone(),
            container_id: container.clone(),
            ifname: "net1".to_owned(),
            network: network.clone(),
            node: "n1".to_owned(),
            ..ipam::Owner::default()
        };
        let request = ipam::AllocateRequest {
            pools: vec!["blue".to_owned()],
            owner: Some(owner),
            ..ipam::AllocateRequest::default()
        };
        let given = self.server.lease_client().allocate(request).await;
        let lease = given
            .expect("allocate")
            .into_inner()
            .lease
            .expect("a lease");
        let reservation = format!("r{number}");
        let identity = ipam::Identity {
            namespace: "default".to_owned(),
            pod: container.clone(),
            ..ipam::Identity::default()
        };
        let address = lease.ipv4.split('/').next().expect("an address").to_owned();
        let kept = ipam::Reservation {
            name: reservation.clone(),
            pool: "blue".to_owned(),
            ipv4: address.clone(),
            identity: Some(identity),
            ..ipam::Reservation::default()
        };
        let create = ipam::CreateReservationRequest {
            reservation: Some(kept),
            ..ipam::CreateReservationRequest::default()
        };
        ReservationServiceClient::new(self.server.channel())
            .create_reservation(create)
            .await
            .expect("create a reservation");
        Target {
            id: lease.id,
            container,
            network,
            reservation,
            address,
            store: self.store().await,
        }
    }

    async fn store(&self) -> String {
        let answer = self
            .server
            .admin_client()
            .get_server(ipam::GetServerRequest {})
            .await;
        answer.expect("get the server").into_inner().store_id
    }

    /// Waits until a metric is there and above 0.
    pub(crate) async fn wait_for_metric(&self, series: &str) {
        wait_until(series, PATIENCE, || {
            (self.server.metric(series) > 0.0).then_some(())
        });
    }
}
