//! `sbr`: packets from an address of an interface leave by that interface: rules by source, each with a table of its own. As
//! the reference plugin, section "meta/sbr".

mod tables;

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd as _;

use cni::result::{CniResult, IpConfig};
use netlink::Netlink;
use netlink::netns::Namespace;
use serde::Deserialize;

use crate::failure::Failure;
use crate::file_lock;
use crate::plugin::{Plugin, Request};
use crate::sandbox;
use crate::shape::Shape;
use tables::Gateways;

const KEYS: &[(&str, Shape)] = &[
    ("table", Shape::Any),
    ("gateways", Shape::Any),
    ("addSourceHints", Shape::Any),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Conf {
    /// The table of the rules, which is filled by somebody else.
    table: Option<i64>,
    #[serde(default)]
    gateways: Vec<String>,
    #[serde(default)]
    add_source_hints: bool,
}

pub(crate) struct Sbr;

impl Plugin for Sbr {
    fn kind(&self) -> &'static str {
        "sbr"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf: Conf = request.read()?;
        match conf.table {
            Some(table) => table_of(table).map(drop),
            None => Gateways::read(&conf.gateways).map(drop),
        }
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let conf: Conf = request.read()?;
        let result = request.needed_prev_result()?;
        let ifname = request.target.ifname;
        if result.ips.is_empty() {
            let problem = "has no address; put sbr behind a plugin that has an ipam";
            return Err(Failure::field("prevResult", problem));
        }
        let ours = of_interface(&result, ifname);
        let namespace = sandbox::open(request.target.netns)?;
        let _locked = lock(&namespace, request)?;
        namespace.within(|| {
            let mut netlink = Netlink::open()?;
            match conf.table {
                Some(table) => tables::add_rules(&mut netlink, &ours, table_of(table)?),
                None => {
                    let gateways = Gateways::read(&conf.gateways)?;
                    let hints = conf.add_source_hints;
                    tables::add_tables(&mut netlink, &ours, ifname, &gateways, hints)
                }
            }
        })??;
        Ok(result)
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf: Conf = request.read()?;
        request.prev_result()?;
        // The reference fails if there is no namespace any more, in which there is nothing left.
        let Some(namespace) = sandbox::open_if_there(request.target.netns)? else {
            return Ok(());
        };
        let _locked = lock(&namespace, request)?;
        let ifname = request.target.ifname;
        namespace.within(|| remove_rules(&mut Netlink::open()?, ifname, conf.table))?
    }

    fn check(&self, _request: &Request<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn status(&self, _request: &Request<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn gc(&self, _request: &Request<'_>) -> Result<(), Failure> {
        // Rules go with their namespaces.
        Ok(())
    }
}

fn table_of(table: i64) -> Result<u32, Failure> {
    u32::try_from(table).map_err(|_| {
        Failure::field(
            "table",
            format!("{table} is no table; use 1 to {}", u32::MAX),
        )
    })
}

/// The addresses of the interface; those that name none are taken for it, too.
fn of_interface<'r>(result: &'r CniResult, ifname: &str) -> Vec<&'r IpConfig> {
    let is_ours = |ip: &&IpConfig| {
        let interface = ip.interface.and_then(|index| result.interfaces.get(index));
        interface.is_none_or(|interface| interface.name == ifname)
    };
    result.ips.iter().filter(is_ours).collect()
}

/// Keeps others that choose tables out of the namespace: the reference plugin locks its file, too.
fn lock(namespace: &Namespace, request: &Request<'_>) -> Result<File, Failure> {
    let failed = |source| Failure::File {
        doing: "lock",
        path: request.target.netns.into(),
        source,
    };
    let file = namespace.as_fd().try_clone_to_owned().map_err(failed)?;
    let locked = file_lock::lock(file.into(), request.deadline).map_err(failed)?;
    locked.ok_or_else(|| failed(std::io::ErrorKind::TimedOut.into()))
}

/// Removes the rules for the addresses of an interface.
fn remove_rules(netlink: &mut Netlink, ifname: &str, table: Option<i64>) -> Result<(), Failure> {
    let Some(link) = netlink.link(ifname)? else {
        return Ok(());
    };
    let addresses = netlink.all_addresses()?;
    let is_ours = |source: IpAddr| {
        let mut ours = addresses.iter().filter(|one| one.link == link.index);
        ours.any(|one| one.address.ip() == source)
    };
    let mut failed = Vec::new();
    for rule in netlink.rules()? {
        // As for the reference, table 0 stands for all.
        let in_table = table.is_none_or(|table| table == 0 || table == i64::from(rule.table));
        if in_table
            && rule.source.is_some_and(is_ours)
            && let Err(error) = netlink.remove_rule(&rule)
        {
            failed.push(error.into());
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Several(failed)),
    }
}
