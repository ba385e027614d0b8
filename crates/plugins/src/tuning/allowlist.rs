//! The kernel settings that the administrator of the node allows: regular expressions in a file, one a line.

use std::fs;
use std::io;
use std::path::Path;

use regex::bytes::RegexBuilder;

use crate::failure::Failure;

/// As the reference plugin has it.
const FILE: &str = "/etc/cni/tuning/allowlist.conf";

/// Checks that the file, if it exists, has each of the settings.
///
/// # Errors
/// [`Failure::Field`] that names the first one that it has not; [`Failure::File`].
pub(super) fn check<'n>(names: impl Iterator<Item = &'n String>) -> Result<(), Failure> {
    check_in(Path::new(FILE), names)
}

fn check_in<'n>(path: &Path, names: impl Iterator<Item = &'n String>) -> Result<(), Failure> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|source| Failure::File {
            doing: "read",
            path: path.to_owned(),
            source,
        })?,
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.collect();
    for name in names {
        if !is_allowed(name, &lines, path)? {
            let problem = format!(
                "{name} is not allowed on this node; have its administrator add it to {}",
                path.display()
            );
            return Err(Failure::field("sysctl", problem));
        }
    }
    Ok(())
}

fn is_allowed(name: &str, lines: &[&str], path: &Path) -> Result<bool, Failure> {
    for line in lines {
        // In Go, classes such as \d have ASCII only.
        let read = RegexBuilder::new(line).unicode(false).build();
        let expression = read.map_err(|error| {
            let problem = format!(
                "{} has {line:?}, which is no regular expression: {error}",
                path.display()
            );
            Failure::field("sysctl", problem)
        })?;
        if expression.is_match(name.as_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_allowed_if_a_line_matches_a_part_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("allowlist.conf");
        let is_allowed = |name: &str| check_in(&path, [name.to_owned()].iter()).is_ok();
        assert!(is_allowed("net.ipv4.ip_forward"));
        fs::write(&path, "\n ^net.ipv4.conf.IFNAME.[a-z_]*$ \nsomaxconn\n").unwrap();
        assert!(is_allowed("net.ipv4.conf.IFNAME.arp_filter"));
        assert!(is_allowed("net.core.somaxconn"));
        assert!(!is_allowed("net.ipv4.ip_forward"));
        assert!(check_in(&path, [].iter()).is_ok());
        fs::write(&path, "somaxconn\n(").unwrap();
        assert!(is_allowed("net.core.somaxconn"));
        assert!(!is_allowed("net.ipv4.ip_forward"));
    }
}
