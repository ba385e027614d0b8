//! Cleans up after a test process that is killed, or ends while statics are still alive: a shell waits for the end
//! of a pipe that only this process holds open.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A shell that waits for the end of this process. Dropping it calls it off.
#[derive(Debug)]
pub(crate) struct Reaper(Child);

impl Reaper {
    /// Will kill a process.
    pub(crate) fn of_process(pid: u32) -> Reaper {
        Reaper::start("kill -KILL \"$0\"", OsStr::new(&pid.to_string()))
    }

    /// Will remove a folder, once those who write to it are dead too.
    pub(crate) fn of_folder(folder: &Path) -> Reaper {
        Reaper::start(
            "for i in 1 2 3 4 5 6 7 8 9; do rm -rf \"$0\" && break; sleep 0.1; done",
            folder.as_os_str(),
        )
    }

    /// Will end a cluster that `script` started under this name, with this folder.
    pub(crate) fn of_cluster(script: &Path, name: &str, folder: &Path) -> Reaper {
        let folder = folder.display();
        let work = format!("CLUSTER_NAME='{name}' CLUSTER_DIR='{folder}' exec \"$0\" stop");
        Reaper::start(&work, script.as_os_str())
    }

    /// The shell is the leader of a process group, so that no Ctrl-C reaches it, and holds none of our
    /// outputs open.
    fn start(work: &str, subject: &OsStr) -> Reaper {
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("read -r _; {work}"))
            .arg(subject)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start a shell");
        Reaper(child)
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _waited_for = self.0.wait();
    }
}
