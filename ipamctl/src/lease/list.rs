//! `ipamctl lease list`, and the filter that its flags are.

use proto::ipam::v1::ListLeasesRequest;

use super::table::COLUMNS;
use crate::error::CliError;
use crate::labels::label;
use crate::listing::Listing;
use crate::out::Out;
use crate::remote::Remote;

/// The most leases that a server returns in one page.
const PAGE: usize = 1000;

/// Shows leases in order of creation.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ipamctl lease list --pool blue --node n1\n  ipamctl lease list --filter 'owner.claim!=\"\"' -o json"
)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: FilterFlags,
    /// At most this many leases. [default: all]
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

/// Which leases. A lease must match every flag that is set; a value may end in *.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct FilterFlags {
    /// Only leases of this pool.
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// Only leases on this node.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Only leases of pods of this namespace.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Only leases of this pod.
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pod: Option<String>,
    /// Only leases of this CNI network configuration.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Only leases in this state: active or quarantined.
    #[arg(long, value_parser = ["active", "quarantined"], ignore_case = true)]
    state: Option<String>,
    /// Only leases with this label: KEY=VALUE. Repeatable.
    #[arg(long, value_name = "LABEL", value_parser = label)]
    label: Vec<(String, String)>,
    /// More terms, joined by AND: id, pool, vrf, state, ipv4, ipv6, mac, owner.FIELD, labels.KEY; = or !=.
    #[arg(long, value_name = "TERMS")]
    filter: Option<String>,
}

impl FilterFlags {
    /// In the grammar of `ipam.v1`.
    pub(crate) fn into_filter(self) -> String {
        let (namespace, pod) = match self.pod {
            Some(pod) => match pod.split_once('/') {
                Some((namespace, name)) => (Some(namespace.to_owned()), Some(name.to_owned())),
                None => (self.namespace, Some(pod)),
            },
            None => (self.namespace, None),
        };
        let quoted = [
            ("pool", self.pool),
            ("owner.node", self.node),
            ("owner.namespace", namespace),
            ("owner.pod", pod),
            ("owner.network", self.network),
        ];
        let mut terms: Vec<_> = quoted
            .into_iter()
            .filter_map(|(field, value)| Some(term(field, &value?)))
            .collect();
        terms.extend(
            self.state
                .map(|state| format!("state={}", state.to_uppercase())),
        );
        let labels = self.label.iter();
        terms.extend(labels.map(|(key, value)| term(&format!("labels.{key}"), value)));
        terms.extend(self.filter.filter(|more| !more.trim().is_empty()));
        terms.join(" AND ")
    }
}

/// `FIELD="VALUE"`.
pub(crate) fn term(field: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{field}=\"{value}\"")
}

pub(super) async fn run(args: ListArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let filter = args.filter.into_filter();
    let limit = args.limit.unwrap_or(usize::MAX);
    let mut client = remote.leases().await?;
    let mut listing = Listing::new(out, "leases", COLUMNS);
    let mut page_token = String::new();
    loop {
        let wanted = (limit - listing.count()).min(PAGE);
        let request = remote.request(ListLeasesRequest {
            page_size: i32::try_from(wanted.max(1)).unwrap_or(i32::MAX),
            page_token,
            filter: filter.clone(),
        });
        let page = remote.answer(client.list_leases(request)).await?;
        let some = page.leases.get(..wanted).unwrap_or(&page.leases);
        listing.page(some)?;
        page_token = page.next_page_token;
        if page_token.is_empty() || listing.count() >= limit {
            return listing.finish().map(drop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_terms_joined_by_and() {
        let flags = FilterFlags {
            pool: Some("blue".to_owned()),
            namespace: Some("ignored".to_owned()),
            pod: Some("prod/web-*".to_owned()),
            state: Some("Active".to_owned()),
            label: vec![("team".to_owned(), "a\"b".to_owned())],
            filter: Some("vrf!=\"red\"".to_owned()),
            ..FilterFlags::default()
        };
        assert_eq!(
            flags.into_filter(),
            r#"pool="blue" AND owner.namespace="prod" AND owner.pod="web-*" AND state=ACTIVE AND labels.team="a\"b" AND vrf!="red""#
        );
        assert_eq!(FilterFlags::default().into_filter(), "");
    }
}
