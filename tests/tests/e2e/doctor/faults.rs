//! Faults with real parts, one after the other: the first line must name each. The table goes to the test's output.

mod addresses;
mod cluster;
mod configuration;
mod networks;
mod records;

use std::io::Write;

use crate::doctor::scene::Scene;

/// A fault, and what the first line says of it.
struct Fault {
    name: &'static str,
    /// Whether it is a warning: something that does not keep pods from starting yet.
    is_warning: bool,
    /// Parts of the first line.
    says: &'static [&'static str],
    make: fn() -> Scene,
}

const fn fault(name: &'static str, says: &'static [&'static str], make: fn() -> Scene) -> Fault {
    Fault {
        name,
        is_warning: false,
        says,
        make,
    }
}

const fn warning(name: &'static str, says: &'static [&'static str], make: fn() -> Scene) -> Fault {
    Fault {
        is_warning: true,
        ..fault(name, says, make)
    }
}

impl Fault {
    /// The first line, and whether it is right.
    fn diagnosed(&self) -> (String, bool) {
        let scene = (self.make)();
        let output = scene.doctor(&[]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let first = text.lines().next().unwrap_or_default();
        let (begin, status) = if self.is_warning {
            ("warning: ", 0)
        } else {
            ("fault: ", 1)
        };
        let is_right = first.starts_with(begin)
            && self.says.iter().all(|part| first.contains(part))
            && output.status.code() == Some(status)
            && text.contains("\n  remedy: ");
        let place = scene.node.folder().display().to_string();
        let shown = if is_right { first } else { text.as_str() };
        (shown.replace(&place, "…"), is_right)
    }
}

#[test]
fn the_first_line_names_each_fault() {
    let all: Vec<&Fault> = [
        configuration::FAULTS,
        cluster::FAULTS,
        networks::FAULTS,
        addresses::FAULTS,
        records::FAULTS,
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(all.len() >= 20, "{}", all.len());
    // Not `println!`, which libtest captures.
    let mut table = std::io::stdout().lock();
    let mut right = 0;
    for fault in &all {
        let (line, is_right) = fault.diagnosed();
        right += usize::from(is_right);
        let mark = if is_right { "ok" } else { "WRONG" };
        writeln!(table, "{mark:5} {:34} {line}", fault.name).expect("write a line");
    }
    writeln!(
        table,
        "{right} of {} faults named in the first line",
        all.len()
    )
    .expect("write a line");
    assert_eq!(right, all.len());
}
