//! Lists the leases of an ipam-server and then watches them:
//!
//! ```sh
//! leases [--once] [SOCKET]
//! leases [--once] --tls-ca FILE [--tls-cert FILE --tls-key FILE] HOST:PORT
//! ```
//!
//! With `--once` it ends after the list.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::HashMap;
use std::error::Error;
use std::fs;

use hyper_util::rt::TokioIo;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::subject::Subject;
use proto::ipam::v1::watch_response::Message;
use proto::ipam::v1::{Event, Lease, ListLeasesRequest, WatchRequest};
use tokio::net::UnixStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut once = false;
    let mut address = "/run/meta-cni/ipam.sock".to_owned();
    let mut files = HashMap::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--once" => once = true,
            "--tls-ca" | "--tls-cert" | "--tls-key" => {
                let path = words.next().ok_or_else(|| format!("{word} needs a file"))?;
                files.insert(word, fs::read(path)?);
            }
            _ => address = word,
        }
    }
    let channel = match files.get("--tls-ca") {
        Some(ca) => over_tls(&address, ca, &files).await?,
        None => over_socket(address).await?,
    };
    let mut leases = LeaseServiceClient::new(channel);
    let mut request = ListLeasesRequest::default();
    loop {
        let page = leases.list_leases(request.clone()).await?.into_inner();
        page.leases.iter().for_each(|lease| show("THERE", lease));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if once {
        return Ok(());
    }
    let mut changes = leases.watch(WatchRequest::default()).await?.into_inner();
    while let Some(change) = changes.message().await? {
        match change.message {
            Some(Message::Event(event)) => show_event(&event),
            // Where to resume after a lost connection: `after_revision`.
            Some(Message::BookmarkRevision(revision)) => println!("UP-TO {revision}"),
            None => {}
        }
    }
    Ok(())
}

async fn over_tls(
    address: &str,
    ca: &[u8],
    files: &HashMap<String, Vec<u8>>,
) -> Result<Channel, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    if let (Some(cert), Some(key)) = (files.get("--tls-cert"), files.get("--tls-key")) {
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?;
    endpoint.tls_config(tls)?.connect().await
}

async fn over_socket(socket: String) -> Result<Channel, tonic::transport::Error> {
    let dial = move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    };
    // The name is sent as the host: any name, but not the socket's path.
    Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(dial))
        .await
}

fn show_event(event: &Event) {
    let subject = event.after.as_ref().or(event.before.as_ref());
    if let Some(Subject::Lease(lease)) = subject.and_then(|subject| subject.subject.as_ref()) {
        show(event.r#type().as_str_name(), lease);
    }
}

fn show(what: &str, lease: &Lease) {
    let owner = lease.owner.clone().unwrap_or_default();
    println!(
        "{what} {} {} {} {}/{}",
        lease.id, lease.ipv4, lease.ipv6, owner.namespace, owner.pod
    );
}
