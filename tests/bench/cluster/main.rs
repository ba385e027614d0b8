//! `make bench-cluster`: a Deployment of 60 pods under a real kubelet: with the primary network alone and nothing else on the node, with
//! three interfaces by meta-cni, and with three by Multus (thin) and whereabouts, in turns.

#[path = "../../tests/e2e/cluster/fixture.rs"]
#[allow(
    dead_code,
    reason = "the tests of the rung use more of it than a benchmark"
)]
mod fixture;
mod incumbent;

use std::time::Instant;

use e2e::bench::{Better, Report, Samples};

use fixture::{Networks, Site, TIMEOUT};
use incumbent::Incumbent;

/// How many pods the Deployment has.
const PODS: usize = 60;
/// How often each is measured.
const TURNS: usize = 2;

/// From the scaling to the last pod that runs, and from the scaling to the last pod that is gone.
#[derive(Default)]
struct Times {
    running: Samples,
    gone: Samples,
}

impl Times {
    fn measure(&mut self, site: &Site, name: &str, networks: Networks) {
        site.deployment(name, networks);
        let begun = Instant::now();
        site.scale(name, PODS);
        self.running.push_value(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        site.scale(name, 0);
        self.gone.push_value(begun.elapsed().as_secs_f64());
        eprintln!("{name}: running {:?}, gone {:?}", self.running, self.gone);
    }

    fn report(&self, report: &mut Report, name: &str) {
        report.figure(&format!("{name}, {PODS} pods running"), "s", &self.running);
        report.figure(&format!("{name}, {PODS} pods gone"), "s", &self.gone);
    }
}

fn main() {
    let site = Site::start();
    let (mut bare, mut ours, mut theirs) = (Times::default(), Times::default(), Times::default());
    for _ in 0..TURNS {
        bare.measure(&site, "bare", Networks::Primary);

        site.install();
        ours.measure(&site, "ours", Networks::Three);
        site.assert_clean();
        let remove = [
            "upgrade",
            "meta-cni",
            "deploy/chart",
            "--reuse-values",
            "--set=install.uninstall=true",
            "--wait",
            TIMEOUT,
        ];
        site.cluster.helm(&remove);
        let uninstall = ["uninstall", "meta-cni", "--wait", TIMEOUT];
        site.cluster.helm(&uninstall);

        let incumbent = Incumbent::install(&site);
        theirs.measure(&site, "theirs", Networks::Three);
        incumbent.remove();
    }
    assert_eq!(
        site.counted().1,
        [] as [String; 0],
        "interfaces are missing"
    );
    let mut report = Report::default();
    let over = |times: &Times| times.running.over(&bare.running);
    report.ratio("deployment_over_bare", over(&ours), 1.15, Better::Lower);
    report.ratio(
        "multus_whereabouts_over_bare",
        over(&theirs),
        1.15,
        Better::Lower,
    );
    bare.report(&mut report, "primary network alone");
    ours.report(&mut report, "meta-cni, three interfaces");
    theirs.report(&mut report, "Multus thin and whereabouts, three interfaces");
    eprintln!("{}", report.write("cluster").display());
}
