//! Lists the leases of an ipam-server and then watches them: `leases [SOCKET]`. With `--once` it ends when it has
//! told what is there.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::error::Error;

use hyper_util::rt::TokioIo;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::subject::Subject;
use proto::ipam::v1::watch_response::Message;
use proto::ipam::v1::{Event, Lease, ListLeasesRequest, WatchRequest};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (options, paths): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|word| word.starts_with("--"));
    let socket = paths
        .first()
        .map_or("/run/meta-cni/ipam.sock", String::as_str)
        .to_owned();
    let mut leases = LeaseServiceClient::new(connect(socket).await?);
    let mut request = ListLeasesRequest::default();
    loop {
        let page = leases.list_leases(request.clone()).await?.into_inner();
        page.leases.iter().for_each(|lease| tell("THERE", lease));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if options.iter().any(|option| option == "--once") {
        return Ok(());
    }
    let mut changes = leases.watch(WatchRequest::default()).await?.into_inner();
    while let Some(change) = changes.message().await? {
        match change.message {
            Some(Message::Event(event)) => tell_event(&event),
            // Where to resume after a lost connection: `after_revision`.
            Some(Message::BookmarkRevision(revision)) => println!("UP-TO {revision}"),
            None => {}
        }
    }
    Ok(())
}

async fn connect(socket: String) -> Result<Channel, tonic::transport::Error> {
    let dial = move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    };
    Endpoint::from_static("http://ipam-server")
        .connect_with_connector(tower::service_fn(dial))
        .await
}

fn tell_event(event: &Event) {
    let subject = event.after.as_ref().or(event.before.as_ref());
    if let Some(Subject::Lease(lease)) = subject.and_then(|subject| subject.subject.as_ref()) {
        tell(event.r#type().as_str_name(), lease);
    }
}

fn tell(what: &str, lease: &Lease) {
    let owner = lease.owner.clone().unwrap_or_default();
    println!(
        "{what} {} {} {} {}/{}",
        lease.id, lease.ipv4, lease.ipv6, owner.namespace, owner.pod
    );
}
