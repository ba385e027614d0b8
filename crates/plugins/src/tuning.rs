//! `tuning`: kernel settings of the pod's namespace and attributes of its interface, which another plugin made. As the
//! reference plugin, section "meta/tuning".

mod allowlist;
mod backup;
mod conf;

use std::path::PathBuf;

use cni::result::CniResult;
use netlink::{Link, LinkChange, Netlink};

use crate::failure::Failure;
use crate::plugin::{Plugin, Request};
use crate::shape::Shape;
use crate::{sandbox, sysctl};
use backup::{Backup, File};
use conf::{Conf, KEYS};

const REMEDY: &str = "put tuning behind the plugin that makes it";

pub(crate) struct Tuning;

impl Plugin for Tuning {
    fn kind(&self) -> &'static str {
        "tuning"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        conf::refuse_repeated(request.stdin)?;
        let conf = Conf::read(request)?;
        allowlist::check(conf.sysctl.keys())?;
        settings(&conf, request.target.ifname).map(drop)
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let conf = Conf::read(request)?;
        let mut result = request.needed_prev_result()?;
        let ifname = request.target.ifname;
        let file = File::of(&conf.data_dir, request.target.container_id, ifname);
        let settings = settings(&conf, ifname)?;
        sandbox::open(request.target.netns)?
            .within(|| apply(&conf, ifname, &settings, &file))??;
        if let Some(mac) = &conf.mac {
            let named = result.interfaces.iter_mut();
            for interface in named.filter(|interface| interface.name == ifname) {
                interface.mac = Some(mac.text.clone());
            }
        }
        Ok(result)
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        let folder = Conf::data_dir(request)?;
        let ifname = request.target.ifname;
        let file = File::of(&folder, request.target.container_id, ifname);
        let namespace = sandbox::open_if_there(request.target.netns)?;
        let restored = match file.read()? {
            Some(backup) => namespace.map_or(Ok(()), |namespace| {
                namespace.within(|| restore_existing(ifname, &backup))?
            }),
            None => Ok(()),
        };
        match restored {
            // The interface goes in a moment: no reason to stop the DEL of its network.
            Err(error) => tracing::warn!(ifname, %error, "an interface is left as tuning set it"),
            // The reference leaves the file behind if the interface or its namespace is gone.
            Ok(()) => file.remove()?,
        }
        Ok(())
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        conf::refuse_repeated(request.stdin)?;
        let conf = Conf::read(request)?;
        request.needed_prev_result()?;
        let ifname = request.target.ifname;
        let settings = settings(&conf, ifname)?;
        sandbox::open(request.target.netns)?.within(|| {
            check_settings(&settings)?;
            let link = sandbox::link(&mut Netlink::open()?, ifname, REMEDY)?;
            check_link(&link, &conf)
        })?
    }

    fn status(&self, _request: &Request<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn gc(&self, _request: &Request<'_>) -> Result<(), Failure> {
        // Files do not say of which network they are.
        Ok(())
    }
}

/// The files of the kernel settings, with their values.
fn settings<'c>(conf: &'c Conf, ifname: &str) -> Result<Vec<(PathBuf, &'c str)>, Failure> {
    let settings = conf.sysctl.iter();
    let read = settings.map(|(name, value)| Ok((conf::setting(name, ifname)?, value.as_str())));
    read.collect()
}

/// ADD, inside the namespace. Sets back what it set if it fails.
fn apply(
    conf: &Conf,
    ifname: &str,
    settings: &[(PathBuf, &str)],
    file: &File,
) -> Result<(), Failure> {
    let mut former = Vec::new();
    let applied = write_settings(settings, &mut former).and_then(|()| match conf.changes_link() {
        true => change_link(conf, ifname, file),
        false => Ok(()),
    });
    if applied.is_err() {
        for (path, value) in former.iter().rev() {
            sysctl::write_if_possible(path, value);
        }
    }
    applied
}

fn write_settings(
    settings: &[(PathBuf, &str)],
    former: &mut Vec<(PathBuf, String)>,
) -> Result<(), Failure> {
    for (path, value) in settings {
        // Some can only be written.
        let before = sysctl::read(path).ok();
        sysctl::write(path, value)?;
        former.extend(before.map(|before| (path.clone(), before)));
    }
    Ok(())
}

fn change_link(conf: &Conf, ifname: &str, file: &File) -> Result<(), Failure> {
    let mut netlink = Netlink::open()?;
    let link = sandbox::link(&mut netlink, ifname, REMEDY)?;
    let backup = Backup::of(&link, conf);
    let earlier = file.read()?;
    file.write(&backup)?;
    let changes = [
        LinkChange {
            mac: conf.mac.as_ref().map(|mac| mac.octets.as_slice()),
            ..LinkChange::default()
        },
        LinkChange {
            is_promiscuous: conf.promisc.then_some(true),
            ..LinkChange::default()
        },
        LinkChange {
            mtu: conf.mtu,
            ..LinkChange::default()
        },
        LinkChange {
            is_all_multicast: conf.all_multicast,
            ..LinkChange::default()
        },
        LinkChange {
            tx_queue: conf.tx_queue,
            ..LinkChange::default()
        },
    ];
    change(&mut netlink, &link, &changes).inspect_err(|_| {
        let undone = restore(&mut netlink, &link, &backup).and_then(|()| match &earlier {
            Some(earlier) => file.write(earlier),
            None => file.remove(),
        });
        if let Err(error) = undone {
            tracing::warn!(ifname, %error, "an interface is left as tuning set it");
        }
    })
}

/// Makes those of the changes that change something, one after the other.
fn change(netlink: &mut Netlink, link: &Link, changes: &[LinkChange<'_>]) -> Result<(), Failure> {
    for change in changes {
        let what = match change {
            LinkChange { mac: Some(_), .. } => "hardware address",
            LinkChange { mtu: Some(_), .. } => "MTU",
            LinkChange {
                tx_queue: Some(_), ..
            } => "length of the transmit queue",
            LinkChange {
                is_promiscuous: Some(_),
                ..
            } => "promiscuous mode",
            LinkChange {
                is_all_multicast: Some(_),
                ..
            } => "all-multicast mode",
            _ => continue,
        };
        netlink.change(
            &format!("set the {what} of {}", link.name),
            link.index,
            change,
        )?;
    }
    Ok(())
}

/// DEL, inside the namespace.
fn restore_existing(ifname: &str, backup: &Backup) -> Result<(), Failure> {
    let mut netlink = Netlink::open()?;
    match netlink.link(ifname)? {
        Some(link) => restore(&mut netlink, &link, backup),
        None => Ok(()),
    }
}

/// Sets an interface back, as far as the kernel does it.
fn restore(netlink: &mut Netlink, link: &Link, backup: &Backup) -> Result<(), Failure> {
    let mac = cni::hardware::octets(&backup.mac);
    let changes = [
        LinkChange {
            mtu: Some(backup.mtu).filter(|mtu| *mtu > 0),
            ..LinkChange::default()
        },
        LinkChange {
            mac: mac.as_deref(),
            ..LinkChange::default()
        },
        LinkChange {
            is_promiscuous: backup.promisc,
            ..LinkChange::default()
        },
        LinkChange {
            is_all_multicast: backup.allmulti,
            ..LinkChange::default()
        },
        LinkChange {
            tx_queue: backup.tx_queue,
            ..LinkChange::default()
        },
    ];
    let each = changes.map(|one| change(netlink, link, &[one]));
    let failed: Vec<_> = each.into_iter().filter_map(Result::err).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Several(failed)),
    }
}

fn check_settings(settings: &[(PathBuf, &str)]) -> Result<(), Failure> {
    for (path, wanted) in settings {
        let found = sysctl::read(path).map_err(|source| Failure::File {
            doing: "read",
            path: path.clone(),
            source,
        })?;
        // Values of several words have tabs between them, which are not spaces for the reference.
        if !found.split_whitespace().eq(wanted.split_whitespace()) {
            let what = format!("{} is {found:?}, not {wanted:?}", path.display());
            return Err(Failure::changed(what));
        }
    }
    Ok(())
}

fn check_link(link: &Link, conf: &Conf) -> Result<(), Failure> {
    let name = &link.name;
    let is = |what: &str, found: &dyn std::fmt::Display| {
        Err(Failure::changed(format!("the {what} of {name} is {found}")))
    };
    // The reference compares texts: an address that is not written as the kernel does fails there.
    let mac = conf
        .mac
        .as_ref()
        .map(|mac| cni::hardware::text(&mac.octets));
    if mac.is_some_and(|mac| mac != link.mac) {
        return is("hardware address", &link.mac);
    }
    if conf.promisc != (link.promiscuity > 0) {
        return is("count of promiscuous users", &link.promiscuity);
    }
    if conf.mtu.is_some_and(|mtu| mtu != link.mtu) {
        return is("MTU", &link.mtu);
    }
    if conf
        .all_multicast
        .is_some_and(|on| on != link.is_all_multicast)
    {
        return is("all-multicast mode", &link.is_all_multicast);
    }
    if conf
        .tx_queue
        .is_some_and(|packets| packets != link.tx_queue)
    {
        return is("length of the transmit queue", &link.tx_queue);
    }
    Ok(())
}
