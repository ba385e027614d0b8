//! From the install to the uninstall, with upgrades and a reboot, while pods come and go all the time.

use std::thread;

use e2e::sweep;

use crate::cluster::fixture::{self, Networks, Site};
use crate::cluster::load::{EndsWith, Load, State};

/// What changes from one upgrade to the next: another image; other flags of agent and ipam-server; the first image again.
const UPGRADES: [&[&str]; 3] = [
    &["--set=image.tag=next"],
    &["--set=agent.logLevel=debug,ipamServer.logFormat=text"],
    &["--set=image.tag="],
];

#[test]
fn pods_come_and_go_whole_from_the_install_to_the_uninstall() {
    let site = Site::start();
    let folder = sweep::temporary_folder();
    let next = fixture::another_image(folder.path(), "next");
    site.cluster.import(&next);
    let before = site.node_files();

    let (plain, wide) = (State::default(), State::default());
    let _ends = EndsWith([&plain, &wide]);
    thread::scope(|scope| {
        // While meta-cni is installed and removed, pods ask for the primary network only: until there is a configuration of
        // meta-cni, nobody reads what they ask for.
        let _ends = EndsWith([&plain, &wide]);
        let plain = Load::begin(scope, &site, &plain, "plain", Networks::Primary);
        plain.goes_on();
        site.install(&[]);
        let wide = Load::begin(scope, &site, &wide, "wide", Networks::Three);
        wide.goes_on();
        for (number, change) in UPGRADES.iter().enumerate() {
            site.upgrade(change);
            wide.goes_on();
            if number == 0 {
                site.cluster.power_off();
                site.cluster.boot();
                wide.goes_on();
            }
        }
        wide.end();
        site.assert_clean();
        site.uninstall();
        plain.goes_on();
        plain.end();
    });

    assert_eq!(site.node_files(), before);
    assert_eq!(site.counted().1, [] as [String; 0]);
    assert_eq!(site.failures(), [] as [String; 0]);
}
