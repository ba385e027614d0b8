//! Finds the addresses of a server's name from /etc/hosts and the name servers of /etc/resolv.conf. The C
//! library is not asked: a static executable must not call getaddrinfo, which loads libraries of the host
//! at run time. A server named by its address never comes here.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name as DnsName, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;

/// One question to one name server takes at most this long, whatever /etc/resolv.conf says: a request
/// has 5 s in all.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);

/// For all addresses of a server together.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may be silent before the kernel asks whether the server is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The name has no address.
#[derive(Debug, thiserror::Error)]
#[error("no address is known for the name {name}: {reason}")]
pub struct ResolveError {
    name: String,
    reason: String,
}

/// Connects to servers by name or address; whether TLS follows is left to the caller.
pub fn connector() -> HttpConnector<SystemResolver> {
    let mut tcp = HttpConnector::new_with_resolver(SystemResolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_LIMIT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp
}

/// Resolves names for hyper's connector.
#[derive(Clone, Debug)]
pub struct SystemResolver;

impl tower::Service<Name> for SystemResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let hosts = Hosts::from_system().unwrap_or_default();
            let addresses = match in_hosts(&hosts, name.as_str()) {
                found if !found.is_empty() => found,
                _ => from_name_servers(name.as_str())
                    .await
                    .map_err(|error| ResolveError {
                        name: name.to_string(),
                        reason: error.to_string(),
                    })?,
            };
            // The connector puts the port of the URL in place of 0.
            let sockets: Vec<_> = addresses.into_iter().map(|ip| (ip, 0).into()).collect();
            Ok(sockets.into_iter())
        })
    }
}

fn in_hosts(hosts: &Hosts, name: &str) -> Vec<IpAddr> {
    let Ok(name) = DnsName::from_utf8(name) else {
        return Vec::new();
    };
    [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
        .flat_map(|lookup| {
            lookup
                .answers()
                .iter()
                .filter_map(|record| address(&record.data))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    }
}

async fn from_name_servers(name: &str) -> Result<Vec<IpAddr>, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    options.timeout = options.timeout.min(QUESTION_LIMIT);
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    Ok(builder.build()?.lookup_ip(name).await?.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_gives_both_families() {
        let mut hosts = Hosts::default();
        hosts
            .read_hosts_conf(
                "10.0.0.1 api.example api\nfd00::1 api.example # both\n10.0.0.2 other\n".as_bytes(),
            )
            .unwrap();
        let both: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(in_hosts(&hosts, "api.example"), both);
        assert_eq!(in_hosts(&hosts, "api.example."), both);
        assert_eq!(in_hosts(&hosts, "API.Example"), both);
        assert_eq!(in_hosts(&hosts, "api"), both[..1]);
        assert!(in_hosts(&hosts, "absent").is_empty());
        assert!(in_hosts(&hosts, "not..a name").is_empty());
    }
}
