//! What meta-ipam does for each CNI command.

use std::collections::BTreeSet;
use std::env;
use std::net::IpAddr;
use std::path::Path;

use cni::error::{Code, ErrorObject};
use cni::key;
use cni::result::{CniResult, IpConfig, Route};
use cni::skel::{Command, Request};
use cni::valid_attachments::valid_attachments;
use ipnetwork::IpNetwork;
use proto::ipam::v1::{self as ipam, AllocateResponse, LookupRequest, ReleaseUnlistedRequest};
use serde_json::{Map, Value};
use tonic::Status;

use super::client::Client;
use super::config::{IpamConfig, Server};
use super::failure::IpamFailure;
use super::node_file::{self, NodeFile};
use super::queue::Queue;
use super::request::{Attachment, node};
use crate::author::Author;
use crate::delegates::DELEGATE_MARK;
use crate::diagnosis::Explain as _;

/// Serves one execution; gives what goes to standard output.
///
/// # Errors
/// The error object for standard output.
pub fn serve(request: &Request) -> Result<Option<Value>, ErrorObject> {
    answer(request).map_err(|failure| {
        let object = match request.env.command {
            Command::Status => {
                ErrorObject::new(status_code(&failure), failure.diagnosis().to_string())
            }
            _ => failure.to_object(),
        };
        object.in_version(request.version)
    })
}

fn answer(request: &Request) -> Result<Option<Value>, IpamFailure> {
    let conf = &completed(&request.conf, request.env.command)?;
    let config = match request.env.command {
        Command::Del => IpamConfig::of_release(conf)?,
        _ => IpamConfig::of(conf)?,
    };
    let config = config.ok_or(IpamFailure::NotOurs)?;
    let attachment = Attachment {
        conf,
        container_id: &request.env.container_id,
        ifname: &request.env.ifname,
        args: &request.env.args,
    };
    match request.env.command {
        Command::Add => add(request, &config, &attachment).map(Some),
        Command::Del => del(&config, &attachment).map(|()| None),
        Command::Check => check(request, &config, &attachment).map(|()| None),
        Command::Status => status(&config).map(|()| None),
        Command::Gc => gc(request, &config, &attachment).map(|()| None),
        Command::Version => Ok(None),
    }
}

/// The configuration with the node's settings. One that meta-cni gave has them; others are of this node's administrator.
///
/// meta-cni gives every configuration its server; one without is of a record from before there was a file. Its DEL ends the
/// lease at the place of that time, and needs no file.
fn completed(
    conf: &Map<String, Value>,
    command: Command,
) -> Result<Map<String, Value>, IpamFailure> {
    let mut conf = conf.clone();
    let name = conf
        .keys()
        .rev()
        .find(|name| key::is(name, "ipam"))
        .cloned();
    let ipam = name.and_then(|name| conf.get_mut(&name)?.as_object_mut());
    let is_older = command == Command::Del && env::var_os(DELEGATE_MARK).is_some();
    if let Some(ipam) = ipam.filter(|ipam| !ipam.contains_key("server") && !is_older) {
        let file = NodeFile::load(Path::new(node_file::USUAL)).inspect_err(|error| {
            // A runtime keeps this output away from the pod's events.
            tracing::error!(detail = error.detail, "ipam.yaml");
        })?;
        file.unwrap_or_default()
            .complete(ipam, Author::Node, None)?;
    }
    Ok(conf)
}

fn add(
    request: &Request,
    config: &IpamConfig,
    attachment: &Attachment<'_>,
) -> Result<Value, IpamFailure> {
    attachment.check_ips()?;
    let client = Client::connect(
        &config.server,
        Some(&config.state_dir),
        config.timeout,
        true,
    )?;
    let queue = Queue::new(&config.state_dir);
    queue.settle(&config.server, &client, &attachment.release())?;
    let question = attachment.allocate(config);
    let what = what("leasing", config, attachment);
    let answer = client.call(question, |mut leases, request| async move {
        leases.allocate(request).await
    });
    let answer = answer.map_err(|status| refused(what, status))?;
    queue.deliver(&config.server, &client);
    Ok(result(&answer)?.to_value(request.version)?)
}

/// Success whatever the server says of a lease that is not there; kept for later if it says nothing.
fn del(config: &IpamConfig, attachment: &Attachment<'_>) -> Result<(), IpamFailure> {
    release(&config.server, [(config, &attachment.release())])
}

/// Gives leases of one server back, now or later.
///
/// # Errors
/// [`IpamFailure::Queue`] of the first that can be neither delivered nor kept; all are tried.
pub fn release<'a>(
    server: &Server,
    releases: impl IntoIterator<Item = (&'a IpamConfig, &'a ipam::ReleaseAttachmentRequest)>,
) -> Result<(), IpamFailure> {
    let releases: Vec<_> = releases.into_iter().collect();
    let limit = releases.iter().map(|(config, _)| config.timeout).max();
    let limit = limit.unwrap_or_default().min(RELEASE_LIMIT);
    let state_dir = releases
        .first()
        .map(|(config, _)| config.state_dir.as_path());
    let client = Client::connect(server, state_dir, limit, false)
        .inspect_err(warn_kept)
        .ok();
    let mut kept = Ok(());
    let mut reached = BTreeSet::new();
    for (config, release) in releases {
        if client
            .as_ref()
            .is_some_and(|client| deliver(client, release))
        {
            reached.insert(&config.state_dir);
        } else {
            kept = kept.and(Queue::new(&config.state_dir).keep(server, release));
        }
    }
    for state_dir in reached {
        if let Some(client) = &client {
            Queue::new(state_dir).deliver(server, client);
        }
    }
    Ok(kept?)
}

/// Whether the server took a release.
fn deliver(client: &Client, release: &ipam::ReleaseAttachmentRequest) -> bool {
    let answer = client.call(release.clone(), |mut leases, request| async move {
        leases.release_attachment(request).await
    });
    let what = format!("releasing {} of {}", release.ifname, release.network);
    let answer = answer.map_err(|status| refused(what, status));
    answer.inspect_err(warn_kept).is_ok()
}

fn warn_kept(failure: &IpamFailure) {
    let error = failure.diagnosis();
    tracing::warn!(%error, "the release is kept and delivered later");
}

fn check(
    request: &Request,
    config: &IpamConfig,
    attachment: &Attachment<'_>,
) -> Result<(), IpamFailure> {
    let previous = request.conf.get("prevResult");
    let previous = previous
        .map(|value| CniResult::from_value(value, request.version))
        .transpose()?;
    let ips = previous.map(|previous| previous.ips).unwrap_or_default();
    let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.address.ip()).collect();
    check_held(config, &attachment.release(), &ips)
}

/// Checks that all of `ips` are leased to an attachment.
///
/// # Errors
/// [`IpamFailure::NotHeld`] names the first that is not; others if the server does not answer.
pub fn check_held(
    config: &IpamConfig,
    attachment: &ipam::ReleaseAttachmentRequest,
    ips: &[IpAddr],
) -> Result<(), IpamFailure> {
    let client = Client::connect(
        &config.server,
        Some(&config.state_dir),
        config.timeout,
        true,
    )?;
    let question = LookupRequest {
        owner: Some(ipam::Owner {
            network: attachment.network.clone(),
            container_id: attachment.container_id.clone(),
            ifname: attachment.ifname.clone(),
            ..ipam::Owner::default()
        }),
        ..LookupRequest::default()
    };
    let held = client.call(question, |mut leases, request| async move {
        leases.lookup(request).await
    });
    let (ifname, network) = (&attachment.ifname, &attachment.network);
    let what = || format!("reading the lease of {ifname} of network {network}");
    let held = held.map_err(|status| refused(what(), status))?;
    let held: BTreeSet<IpAddr> = held
        .leases
        .iter()
        .filter(|lease| lease.state() == ipam::lease::State::Active)
        .flat_map(|lease| [&lease.ipv4, &lease.ipv6])
        .filter_map(|text| text.split_once('/')?.0.parse().ok())
        .collect();
    match ips.iter().find(|ip| !held.contains(ip)) {
        Some(address) => Err(IpamFailure::NotHeld {
            address: address.to_string(),
        }),
        None => Ok(()),
    }
}

/// Whether a pod could have a lease: the server answers, and one of the pools has addresses.
fn status(config: &IpamConfig) -> Result<(), IpamFailure> {
    let client = Client::connect(
        &config.server,
        Some(&config.state_dir),
        config.timeout.min(STATUS_LIMIT),
        false,
    )?;
    let mut last = Ok(());
    for name in &config.pools {
        let what = format!("reading pool {name}");
        last = match client.pool(name) {
            Ok(pool) => has_room(&pool),
            Err(status) => Err(refused(what, status)),
        };
        if last.is_ok() {
            break;
        }
    }
    last
}

/// How long a server may take for releases, whatever the time of a call is: what is not delivered is kept, and a DEL waits for nobody.
const RELEASE_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);
/// STATUS must be quick.
const STATUS_LIMIT: std::time::Duration = std::time::Duration::from_millis(1500);

/// Whether a pool has addresses to give, of every family that a lease must have.
///
/// # Errors
/// [`IpamFailure::Exhausted`].
pub(crate) fn has_room(pool: &ipam::Pool) -> Result<(), IpamFailure> {
    let full = |usage: &Option<ipam::Usage>| {
        usage
            .as_ref()
            .is_some_and(|usage| usage.free == "0" && usage.quarantined == "0")
    };
    let any = pool.families_required() == ipam::FamiliesRequired::Any;
    let (four, six) = (full(&pool.ipv4_usage), full(&pool.ipv6_usage));
    let family = match (four, six) {
        (true, _) if !any || six || pool.ipv6.is_none() => "IPv4",
        (_, true) if !any || pool.ipv4.is_none() => "IPv6",
        _ => return Ok(()),
    };
    Err(IpamFailure::Exhausted {
        pool: pool.name.clone(),
        family,
    })
}

fn status_code(failure: &IpamFailure) -> Code {
    match failure.code() {
        Code::LIMITED_CONNECTIVITY => Code::LIMITED_CONNECTIVITY,
        _ => Code::PLUGIN_NOT_AVAILABLE,
    }
}

fn gc(
    request: &Request,
    config: &IpamConfig,
    attachment: &Attachment<'_>,
) -> Result<(), IpamFailure> {
    let Some(valid) = valid_attachments(&request.conf)? else {
        return Ok(());
    };
    let valid = valid.into_iter().map(|id| ipam::Attachment {
        container_id: id.container_id,
        ifname: id.ifname,
    });
    collect(config, attachment.network(), valid.collect())
}

/// Ends the leases of a network on this node whose attachments are not `valid`.
///
/// # Errors
/// If the server cannot be reached, or refuses.
pub fn collect(
    config: &IpamConfig,
    network: &str,
    valid: Vec<ipam::Attachment>,
) -> Result<(), IpamFailure> {
    let question = ReleaseUnlistedRequest {
        network: network.to_owned(),
        node: node(config),
        attachments: valid,
        validate_only: false,
    };
    let client = Client::connect(
        &config.server,
        Some(&config.state_dir),
        config.timeout,
        true,
    )?;
    let done = client.call(question, |mut leases, request| async move {
        leases.release_unlisted(request).await
    });
    done.map_err(|status| refused(format!("collecting leases of network {network}"), status))?;
    Queue::new(&config.state_dir).deliver(&config.server, &client);
    Ok(())
}

/// What a lease gives to the main plugin.
fn result(answer: &AllocateResponse) -> Result<CniResult, IpamFailure> {
    let broken = |what: &str, text: &str| IpamFailure::Answer {
        problem: format!("{what} {text:?} cannot be read"),
    };
    let lease = answer.lease.as_ref().ok_or_else(|| broken("lease", ""))?;
    let gateway = |text: &str| -> Result<Option<IpAddr>, IpamFailure> {
        let some = (!text.is_empty()).then(|| text.parse().map_err(|_| broken("gateway", text)));
        some.transpose()
    };
    let mut ips = Vec::new();
    for (address, via) in [
        (&lease.ipv4, &answer.ipv4_gateway),
        (&lease.ipv6, &answer.ipv6_gateway),
    ] {
        if !address.is_empty() {
            let mut ip = IpConfig::of(address.parse().map_err(|_| broken("address", address))?);
            ip.gateway = gateway(via)?;
            ips.push(ip);
        }
    }
    let mut routes = Vec::new();
    for route in &answer.routes {
        let dst: IpNetwork = route.dst.parse().map_err(|_| broken("route", &route.dst))?;
        let mtu = Some(route.mtu).filter(|&mtu| mtu != 0);
        let via = match dst {
            IpNetwork::V4(_) => gateway(&answer.ipv4_gateway)?,
            IpNetwork::V6(_) => gateway(&answer.ipv6_gateway)?,
        };
        // A main plugin takes a default route for its own only if it names the gateway (bridge, isDefaultGateway). A route
        // to the gateway itself cannot lead over it.
        let via = via.filter(|gateway| dst != IpNetwork::from(*gateway));
        let mut route = Route::via(dst, gateway(&route.gw)?.or(via));
        route.mtu = mtu;
        routes.push(route);
    }
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let dns = answer.dns.clone().unwrap_or_default();
    let mut result = CniResult::default();
    result.ips = ips;
    result.routes = routes;
    result.dns.domain = some(&dns.domain);
    result.dns.nameservers = dns.nameservers;
    result.dns.search = dns.search;
    result.dns.options = dns.options;
    Ok(result)
}

fn what(doing: &str, config: &IpamConfig, attachment: &Attachment<'_>) -> String {
    let args = attachment.args;
    let pod = match (args.get("K8S_POD_NAMESPACE"), args.get("K8S_POD_NAME")) {
        (Some(namespace), Some(name)) => format!("pod {namespace}/{name}, "),
        _ => String::new(),
    };
    let pools = config.pools.join(", ");
    format!(
        "{doing} from pool {pools} for {pod}network {} ({})",
        attachment.network(),
        attachment.ifname
    )
}

fn refused(what: String, status: Status) -> IpamFailure {
    IpamFailure::Refused {
        what,
        status: Box::new(status),
    }
}

#[cfg(test)]
mod tests;
