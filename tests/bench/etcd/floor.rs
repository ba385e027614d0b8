//! What etcd itself takes: transactions that put one key if another one is not there, by as many clients as there are callers.

use e2e::Etcd;
use proto::etcd::etcdserverpb::kv_client::KvClient;
use proto::etcd::etcdserverpb::{Compare, PutRequest, RequestOp, TxnRequest, compare, request_op};
use tonic::transport::{Channel, Endpoint};

/// Connections that the clients share: as many as the callers of three servers have.
const CONNECTIONS: usize = 3;
/// About as long as what a lease is in etcd.
const VALUE_BYTES: usize = 400;

/// Clients of etcd.
pub(crate) struct Floor {
    clients: Vec<KvClient<Channel>>,
}

impl Floor {
    pub(crate) fn new(etcd: &Etcd) -> Floor {
        let endpoint = Endpoint::from_shared(etcd.url()).expect("a URL");
        let client = || KvClient::new(endpoint.connect_lazy());
        Floor {
            clients: (0..CONNECTIONS).map(|_| client()).collect(),
        }
    }

    /// One transaction of a client, durable when it is answered.
    pub(crate) fn txn(&self, client: usize) -> impl Future<Output = ()> + Send + 'static {
        let mut kv = self.clients[client % self.clients.len()].clone();
        let request = txn(&format!("floor/{client}"));
        async move {
            let answer = kv.txn(request).await.expect("a transaction");
            assert!(answer.into_inner().succeeded);
        }
    }
}

fn txn(key: &str) -> TxnRequest {
    let absent = Compare {
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Version.into(),
        key: b"nobody".to_vec().into(),
        target_union: Some(compare::TargetUnion::Version(0)),
    };
    let put = PutRequest {
        key: key.as_bytes().to_vec().into(),
        value: vec![b'7'; VALUE_BYTES].into(),
    };
    TxnRequest {
        compare: vec![absent],
        success: vec![RequestOp {
            request: Some(request_op::Request::RequestPut(put)),
        }],
        ..TxnRequest::default()
    }
}
