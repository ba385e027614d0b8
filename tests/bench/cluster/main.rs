//! `make bench-cluster`: a Deployment of 60 pods under a real kubelet: with the primary network alone and nothing else on the node, with
//! three interfaces by meta-cni, and with three by Multus (thin) and whereabouts, in turns.

#[path = "../../tests/e2e/cluster/fixture.rs"]
#[allow(
    dead_code,
    reason = "the tests of the rung use more of it than a benchmark"
)]
mod fixture;
#[path = "../../tests/e2e/cluster/incumbent.rs"]
mod incumbent;

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use e2e::bench::{Better, Report, Samples, line_plot};
use e2e::wait_until;

use fixture::{EVIDENCE, Networks, PATIENCE, Site};
use incumbent::Incumbent;

/// How many pods the Deployment has.
const PODS: usize = 60;
/// How often each is measured.
const TURNS: usize = 3;

/// From the scaling to the last pod that runs, and from the scaling to the last pod that is gone.
#[derive(Default)]
struct Times {
    running: Samples,
    gone: Samples,
    /// Of the last turn: seconds from the scaling, and how many containers had started by then.
    started: Vec<(f64, f64)>,
}

impl Times {
    fn measure(&mut self, site: &Site, name: &str, networks: Networks) {
        site.deployment(name, networks);
        let before = sandboxes(site);
        let (begun, at) = (Instant::now(), SystemTime::now());
        site.scale(name, PODS);
        self.running.push_value(begun.elapsed().as_secs_f64());
        let mut starts = starts(site, name, at);
        starts.sort_unstable();
        self.started = (1..)
            .zip(&starts)
            .map(|(count, start)| (start.as_secs_f64(), f64::from(count)))
            .collect();
        let begun = Instant::now();
        site.scale(name, 0);
        self.gone.push_value(begun.elapsed().as_secs_f64());
        // A kubelet deletes a pod before its sandbox: what is still at work would slow the next one down.
        wait_until("the sandboxes are gone", PATIENCE, || {
            (sandboxes(site) <= before).then_some(())
        });
        eprintln!("{name}: running {:?}, gone {:?}", self.running, self.gone);
    }

    fn report(&self, report: &mut Report, name: &str) {
        report.figure(&format!("{name}, {PODS} pods running"), "s", &self.running);
        report.figure(&format!("{name}, {PODS} pods gone"), "s", &self.gone);
    }
}

/// How many network namespaces of sandboxes the node has.
fn sandboxes(site: &Site) -> usize {
    let folder = site.cluster.node_folder().join("run/netns");
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// When the containers of a Deployment started that started since then, from then on.
fn starts(site: &Site, deployment: &str, since: SystemTime) -> Vec<Duration> {
    let folder = site.cluster.node_folder().join(EVIDENCE);
    let files = fs::read_dir(folder).expect("what containers write");
    let own = files.flatten().filter(|file| {
        let name = file.file_name();
        name.to_string_lossy().contains(&format!("-{deployment}-"))
    });
    let written = own.filter_map(|file| file.metadata().ok()?.modified().ok());
    written
        .filter_map(|at| at.duration_since(since).ok())
        .collect()
}

fn main() {
    let site = Site::start();
    let (mut bare, mut ours, mut theirs) = (Times::default(), Times::default(), Times::default());
    for _ in 0..TURNS {
        bare.measure(&site, "bare", Networks::Primary);

        site.install(&[]);
        ours.measure(&site, "ours", Networks::Three);
        site.assert_clean();
        site.uninstall();

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
    bare.report(&mut report, "primary network alone");
    ours.report(&mut report, "meta-cni, three interfaces");
    theirs.report(&mut report, "Multus thin and whereabouts, three interfaces");
    let beside = theirs.running.ratios(&bare.running);
    report.figure(
        "Multus thin and whereabouts ÷ primary network alone",
        "x",
        &beside,
    );
    line_plot(
        "cluster-deployment",
        "A Deployment of 60 pods: containers that have started",
        ("s since the scaling", "containers"),
        &[
            ("primary network alone", &bare.started),
            ("meta-cni, three interfaces", &ours.started),
            (
                "Multus thin and whereabouts, three interfaces",
                &theirs.started,
            ),
        ],
    );
    eprintln!("{}", report.write("cluster").display());
}
