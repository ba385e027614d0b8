//! A small file system for `stateDir`: full, without room for files, or read-only.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;

use crate::node::Node;

/// A tmpfs at a node's `stateDir`. Dropping it takes it away.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts it, with this size and number of files as mount options.
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn mount(node: &Node, size: &str) -> Disk {
        let disk = Disk {
            path: node.state_dir(),
        };
        disk.run("mount", &["-t", "tmpfs", "-o", size, "tmpfs"]);
        disk
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let status = Command::new(program)
            .args(arguments)
            .arg(&self.path)
            .status();
        let status = status.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(status.success(), "{program} {arguments:?}: {status}");
    }

    /// Leaves no byte.
    ///
    /// # Panics
    /// When it does not come to be full.
    pub fn fill(&self) {
        let mut file = File::create(self.path.join("filler")).expect("make a file");
        while let Ok(1..) = file.write(&[0; 512]) {}
        let error = file.write(&[0]).expect_err("it is full");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    /// Leaves no room for a file.
    ///
    /// # Panics
    /// When it does not come to be full.
    pub fn fill_with_files(&self) {
        let made = (0..).map(|name: u32| File::create_new(self.path.join(name.to_string())));
        let error = made.filter_map(Result::err).next();
        let error = error.expect("it is full");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    /// Lets nobody write, or everybody again.
    ///
    /// # Panics
    /// When it cannot be mounted so.
    pub fn set_read_only(&self, read_only: bool) {
        let mode = if read_only { "ro" } else { "rw" };
        self.run("mount", &["-o", &format!("remount,{mode}")]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.run("umount", &["--lazy"]);
    }
}
