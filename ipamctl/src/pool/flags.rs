//! A pool's configuration as flags, for `create` and `edit`.

use clap::ValueEnum;
use pbjson_types::Duration;
use proto::ipam::v1::pool::RequestedAddresses;
use proto::ipam::v1::{Dns, FamiliesRequired, Pool, Route, Strategy, Subnet};

use crate::error::CliError;
use crate::labels::{LabelChange, label_change};

/// Which families a lease must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Families {
    /// IPv4 and IPv6, or nothing.
    Both,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// The free families: both if possible, else one.
    Any,
}

impl Families {
    /// As `ipam.v1` names it.
    pub(crate) fn to_proto(self) -> FamiliesRequired {
        match self {
            Families::Both => FamiliesRequired::Both,
            Families::V4 => FamiliesRequired::V4,
            Families::V6 => FamiliesRequired::V6,
            Families::Any => FamiliesRequired::Any,
        }
    }
}

/// Which free address is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// The first free address behind the last allocated one.
    NextFit,
    /// The lowest free address.
    Lowest,
    /// The first free address behind a random one.
    Random,
}

/// Whether a request may name its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Requested {
    /// A request may name any address.
    Allow,
    /// A request may name the addresses of its own reservation only.
    Reserved,
    /// A request may name no address.
    Deny,
}

/// The fields of a pool that can be set at any time. A list replaces the existing list; "" empties it.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(super) struct ConfigFlags {
    /// IPv4 addresses that may be leased: FIRST-LAST, a CIDR or one address. Repeatable. [default: all of the CIDR]
    #[arg(long, value_name = "RANGE")]
    ipv4_range: Vec<String>,
    /// IPv4 addresses that are never leased, in the forms of --ipv4-range. Repeatable. [default: none]
    #[arg(long, value_name = "RANGE")]
    ipv4_exclude: Vec<String>,
    /// The IPv4 router, never leased. [default: none]
    #[arg(long, value_name = "ADDRESS")]
    ipv4_gateway: Option<String>,
    /// An IPv4 route of every pod: DST[,GATEWAY[,MTU]]. Repeatable. [default: none]
    #[arg(long, value_name = "ROUTE", value_parser = route)]
    ipv4_route: Vec<Option<Route>>,
    /// IPv6 addresses that may be leased, as --ipv4-range.
    #[arg(long, value_name = "RANGE")]
    ipv6_range: Vec<String>,
    /// IPv6 addresses that are never leased, as --ipv4-exclude.
    #[arg(long, value_name = "RANGE")]
    ipv6_exclude: Vec<String>,
    /// The IPv6 router, never leased. [default: none]
    #[arg(long, value_name = "ADDRESS")]
    ipv6_gateway: Option<String>,
    /// An IPv6 route of every pod, as --ipv4-route.
    #[arg(long, value_name = "ROUTE", value_parser = route)]
    ipv6_route: Vec<Option<Route>>,
    /// A DNS server for every pod. Repeatable. [default: none]
    #[arg(long, value_name = "ADDRESS")]
    dns_server: Vec<String>,
    /// A DNS search domain for every pod. Repeatable. [default: none]
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Families that a lease must get if its request names none. [default: every family of the pool]
    #[arg(long, value_enum, ignore_case = true)]
    families: Option<Families>,
    /// How the next free address is chosen. [default: next-fit]
    #[arg(long, value_enum, ignore_case = true)]
    strategy: Option<Order>,
    /// How long an address rests after its release, in seconds. [default: 0]
    #[arg(long, value_name = "SECONDS")]
    quarantine_seconds: Option<u32>,
    /// How long a lease lasts if its request has no TTL, in seconds; leases of pods last until released. [default: 0, until
    /// released]
    #[arg(long, value_name = "SECONDS")]
    default_ttl_seconds: Option<u32>,
    /// The longest time that a lease may last without renewal, in seconds. [default: 0, no limit]
    #[arg(long, value_name = "SECONDS")]
    max_ttl_seconds: Option<u32>,
    /// A namespace whose pods get leases; for other namespaces the pool does not exist. Repeatable. [default: all]
    #[arg(long, value_name = "NAMESPACE")]
    allowed_namespace: Vec<String>,
    /// Whether a request may name the address that it wants. [default: allow]
    #[arg(long, value_enum, ignore_case = true)]
    requested_addresses: Option<Requested>,
    /// The most leases of one namespace. [default: 0, no limit]
    #[arg(long, value_name = "NUMBER")]
    namespace_quota: Option<u32>,
    /// A label: KEY=VALUE, or KEY- to remove a label. Repeatable.
    #[arg(long, value_name = "LABEL", value_parser = label_change)]
    label: Vec<LabelChange>,
}

impl ConfigFlags {
    /// Sets the fields of the flags, and returns their paths.
    ///
    /// # Errors
    /// [`CliError::Argument`] for a family that the pool does not have.
    pub(super) fn apply(self, pool: &mut Pool) -> Result<Vec<String>, CliError> {
        let mut mask = Mask::default();
        let v4 = FamilyFlags {
            ranges: self.ipv4_range,
            excludes: self.ipv4_exclude,
            gateway: self.ipv4_gateway,
            routes: self.ipv4_route,
        };
        v4.apply("ipv4", pool.ipv4.as_mut(), &mut mask)?;
        let v6 = FamilyFlags {
            ranges: self.ipv6_range,
            excludes: self.ipv6_exclude,
            gateway: self.ipv6_gateway,
            routes: self.ipv6_route,
        };
        v6.apply("ipv6", pool.ipv6.as_mut(), &mut mask)?;
        if !self.dns_server.is_empty() || !self.dns_search.is_empty() {
            let dns = pool.dns.get_or_insert_with(Dns::default);
            replace(&mut dns.nameservers, self.dns_server);
            replace(&mut dns.search, self.dns_search);
            mask.add("dns");
        }
        if let Some(families) = self.families {
            pool.families_required = families.to_proto().into();
            mask.add("families_required");
        }
        if let Some(order) = self.strategy {
            pool.strategy = order.to_proto().into();
            mask.add("strategy");
        }
        mask.span("quarantine", self.quarantine_seconds, &mut pool.quarantine);
        mask.span(
            "default_ttl",
            self.default_ttl_seconds,
            &mut pool.default_ttl,
        );
        mask.span("max_ttl", self.max_ttl_seconds, &mut pool.max_ttl);
        if replace(&mut pool.allowed_namespaces, self.allowed_namespace) {
            mask.add("allowed_namespaces");
        }
        if let Some(requested) = self.requested_addresses {
            pool.set_requested_addresses(requested.to_proto());
            mask.add("requested_addresses");
        }
        if let Some(quota) = self.namespace_quota {
            pool.namespace_quota = quota;
            mask.add("namespace_quota");
        }
        for change in self.label {
            match change {
                LabelChange::Set(key, value) => pool.labels.insert(key, value),
                LabelChange::Remove(key) => pool.labels.remove(&key),
            };
            mask.add("labels");
        }
        Ok(mask.0)
    }
}

impl Order {
    fn to_proto(self) -> Strategy {
        match self {
            Order::NextFit => Strategy::NextFit,
            Order::Lowest => Strategy::Lowest,
            Order::Random => Strategy::Random,
        }
    }
}

impl Requested {
    fn to_proto(self) -> RequestedAddresses {
        match self {
            Requested::Allow => RequestedAddresses::Allow,
            Requested::Reserved => RequestedAddresses::Reserved,
            Requested::Deny => RequestedAddresses::Deny,
        }
    }
}

struct FamilyFlags {
    ranges: Vec<String>,
    excludes: Vec<String>,
    gateway: Option<String>,
    routes: Vec<Option<Route>>,
}

impl FamilyFlags {
    fn apply(
        self,
        family: &'static str,
        subnet: Option<&mut Subnet>,
        mask: &mut Mask,
    ) -> Result<(), CliError> {
        let nothing = self.ranges.is_empty()
            && self.excludes.is_empty()
            && self.gateway.is_none()
            && self.routes.is_empty();
        if nothing {
            return Ok(());
        }
        let subnet = subnet.ok_or_else(|| {
            CliError::argument(
                format!("--{family}-…"),
                format!("the pool has no --{family}-cidr"),
            )
        })?;
        if replace(&mut subnet.ranges, self.ranges) {
            mask.add(&format!("{family}.ranges"));
        }
        if replace(&mut subnet.excludes, self.excludes) {
            mask.add(&format!("{family}.excludes"));
        }
        if let Some(gateway) = self.gateway {
            subnet.gateway = gateway;
            mask.add(&format!("{family}.gateway"));
        }
        if !self.routes.is_empty() {
            subnet.routes = self.routes.into_iter().flatten().collect();
            mask.add(&format!("{family}.routes"));
        }
        Ok(())
    }
}

/// Replaces a list if there is something to put there; "" is an empty one.
fn replace(list: &mut Vec<String>, with: Vec<String>) -> bool {
    let has_values = !with.is_empty();
    if has_values {
        *list = with.into_iter().filter(|item| !item.is_empty()).collect();
    }
    has_values
}

#[derive(Default)]
struct Mask(Vec<String>);

impl Mask {
    fn add(&mut self, path: &str) {
        if !self.0.iter().any(|there| there == path) {
            self.0.push(path.to_owned());
        }
    }

    fn span(&mut self, path: &str, seconds: Option<u32>, field: &mut Option<Duration>) {
        if let Some(seconds) = seconds {
            *field = Some(Duration {
                seconds: seconds.into(),
                nanos: 0,
            });
            self.add(path);
        }
    }
}

/// Reads `DST[,GATEWAY[,MTU]]`; "" is no route.
fn route(text: &str) -> Result<Option<Route>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut parts = text.split(',');
    let dst = parts.next().unwrap_or_default().to_owned();
    let gw = parts.next().unwrap_or_default().to_owned();
    let mtu = match parts.next() {
        Some(mtu) => mtu
            .parse()
            .map_err(|_| format!("{mtu} is not a number of bytes"))?,
        None => 0,
    };
    match parts.next() {
        Some(_) => Err("a route is written DST[,GATEWAY[,MTU]]".to_owned()),
        None => Ok(Some(Route { dst, gw, mtu })),
    }
}

#[cfg(test)]
mod tests {
    use ipam_server::wire::pool::fields::{Kind, paths};

    use super::*;

    #[test]
    fn every_mutable_field_has_a_flag_and_no_other_field_has() {
        let text = || Some("10.0.0.1".to_owned());
        let flags = ConfigFlags {
            ipv4_range: vec![String::new()],
            ipv4_exclude: vec![String::new()],
            ipv4_gateway: text(),
            ipv4_route: vec![None],
            ipv6_range: vec![String::new()],
            ipv6_exclude: vec![String::new()],
            ipv6_gateway: text(),
            ipv6_route: vec![None],
            dns_server: vec![String::new()],
            dns_search: vec![String::new()],
            families: Some(Families::Any),
            strategy: Some(Order::Random),
            quarantine_seconds: Some(1),
            default_ttl_seconds: Some(1),
            max_ttl_seconds: Some(1),
            allowed_namespace: vec![String::new()],
            requested_addresses: Some(Requested::Deny),
            namespace_quota: Some(1),
            label: vec![LabelChange::Remove("x".to_owned())],
        };
        let mut pool = Pool {
            ipv4: Some(Subnet::default()),
            ipv6: Some(Subnet::default()),
            ..Pool::default()
        };
        let mut mask = flags.apply(&mut pool).expect("a pool of both families");
        let mut mutable: Vec<_> = paths(Kind::Mutable).collect();
        mask.sort();
        mutable.sort();
        assert_eq!(mask, mutable);
    }

    #[test]
    fn flags_name_the_fields_that_they_change() {
        let mut pool = Pool {
            ipv4: Some(Subnet {
                ranges: vec!["10.0.0.9".to_owned()],
                ..Subnet::default()
            }),
            labels: [("old".to_owned(), "1".to_owned())].into(),
            ..Pool::default()
        };
        let flags = ConfigFlags {
            ipv4_range: vec![String::new()],
            ipv4_route: vec![route("10.9.0.0/16,10.0.0.1,9000").expect("a route")],
            quarantine_seconds: Some(30),
            label: vec![LabelChange::Remove("old".to_owned())],
            ..ConfigFlags::default()
        };
        let mask = flags.apply(&mut pool).expect("a pool with IPv4");
        assert_eq!(mask, ["ipv4.ranges", "ipv4.routes", "quarantine", "labels"]);
        let subnet = pool.ipv4.expect("still there");
        assert!(subnet.ranges.is_empty() && pool.labels.is_empty());
        assert_eq!(subnet.routes[0].mtu, 9000);
    }

    #[test]
    fn a_family_that_the_pool_lacks_is_a_wrong_argument() {
        let flags = ConfigFlags {
            ipv6_gateway: Some("fd00::1".to_owned()),
            ..ConfigFlags::default()
        };
        let error = flags.apply(&mut Pool::default()).expect_err("no IPv6");
        assert_eq!(error.to_string(), "--ipv6-…: the pool has no --ipv6-cidr");
        assert_eq!(error.exit_code(), 2);
    }
}
