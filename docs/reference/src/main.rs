//! `make flags`: writes docs/src/flags.md, the flags of all executables, from the types that read them. A test compares the
//! page with the types.

mod flags;

use std::path::Path;
use std::{fs, io};

use clap::{Command, CommandFactory};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/flags.md");

/// The command line of each executable.
fn programs() -> [Command; 5] {
    [
        meta_cni::arguments::MetaCni::command(),
        meta_cni::arguments::MetaIpam::command(),
        meta_cnid::config::Arguments::command(),
        ipam_server::config::Arguments::command(),
        ipamctl::command(),
    ]
}

fn main() -> io::Result<()> {
    fs::write(Path::new(PAGE), flags::page(&programs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_flags_is_what_the_types_say() {
        let written = fs::read_to_string(PAGE).unwrap_or_default();
        let page = flags::page(&programs());
        let differs = written
            .lines()
            .zip(page.lines())
            .find(|(old, new)| old != new);
        assert_eq!(differs, None, "run `make flags`");
        assert!(written == page, "run `make flags`");
    }

    #[test]
    fn every_executable_completes_its_arguments_in_a_shell() {
        for program in programs() {
            let name = program.get_name();
            assert!(program.find_subcommand("completion").is_some(), "{name}");
        }
    }
}
