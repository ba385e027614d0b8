//! `meta-cni explain` of a pod in trouble, one fault after the other, each with real parts: the first line must name the
//! cause, and the line behind it what to do. The table goes to the test's output.

mod called;
mod leased;
mod planned;

use std::any::Any;
use std::fmt::Write as _;
use std::io::Write as _;

use e2e::Node;

use crate::conformance::explain::explain;

/// A fault of pod `default/web`, and what explain shows of it.
struct Fault {
    name: &'static str,
    /// Parts of the first line, behind the pod.
    says: &'static [&'static str],
    /// Part of the remedy; none: nothing is to be done.
    remedy: Option<&'static str>,
    make: fn() -> Scene,
}

const fn fault(
    name: &'static str,
    says: &'static [&'static str],
    remedy: Option<&'static str>,
    make: fn() -> Scene,
) -> Fault {
    Fault {
        name,
        says,
        remedy,
        make,
    }
}

/// A node on which it happened, and what must live as long.
struct Scene {
    node: Node,
    _parts: Vec<Box<dyn Any>>,
}

impl From<Node> for Scene {
    fn from(node: Node) -> Scene {
        Scene {
            node,
            _parts: Vec::new(),
        }
    }
}

impl Fault {
    /// The first line of explain, and whether it is right.
    fn explained(&self) -> (String, bool) {
        let scene = (self.make)();
        let output = explain(&scene.node, &["default/web"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let remedy = lines.next().and_then(|line| line.strip_prefix("remedy: "));
        let is_right = output.status.success()
            && first.starts_with("default/web: ")
            && self.says.iter().all(|part| first.contains(part))
            && !text.contains("geheim")
            && match self.remedy {
                Some(part) => remedy.is_some_and(|remedy| remedy.contains(part)),
                None => remedy.is_none(),
            };
        let mut shown = first.to_owned();
        match remedy {
            _ if !is_right => shown = format!("{text}{}", String::from_utf8_lossy(&output.stderr)),
            Some(remedy) => {
                let _ = write!(shown, "\n      {:36}   remedy: {remedy}", "");
            }
            None => {}
        }
        let place = scene.node.folder().display().to_string();
        (shown.replace(&place, "…"), is_right)
    }
}

#[test]
fn the_first_line_names_the_cause_of_each_fault_and_the_next_one_its_remedy() {
    // Side by side: some of them are a long wait.
    let groups = [planned::FAULTS, called::FAULTS, leased::FAULTS];
    let reported: Vec<(&Fault, (String, bool))> = std::thread::scope(|scope| {
        let explain = |group: &'static [Fault]| group.iter().map(|one| (one, one.explained()));
        let threads = groups.map(|group| scope.spawn(move || explain(group).collect::<Vec<_>>()));
        let joined = threads.map(|thread| thread.join().expect("no fault panics"));
        joined.into_iter().flatten().collect()
    });
    // Not `println!`, which libtest captures.
    let mut table = std::io::stdout().lock();
    for (fault, (line, is_right)) in &reported {
        let mark = if *is_right { "ok" } else { "WRONG" };
        writeln!(table, "{mark:5} {:36} {line}", fault.name).expect("write a line");
    }
    let right = reported
        .iter()
        .filter(|(_, (_, is_right))| *is_right)
        .count();
    let number = reported.len();
    writeln!(
        table,
        "{right} of {number} faults explained by the first line"
    )
    .expect("write a line");
    assert_eq!(right, number);
}
