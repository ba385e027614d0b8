//! meta-cni itself, as the runtime finds it: there, and as old as this program.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::finding::{Area, Finding};
use super::plugins::{absent, missing};
use crate::cni::exec::{HostExec, while_not_busy};

/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(5);

/// meta-cni as the runtime finds it in `dirs`: its version, or what is wrong with it. `own` is this program.
pub(super) fn look(dirs: &[PathBuf], own: &Path, limit: Duration) -> Result<String, Finding> {
    let exec = HostExec {
        dirs: dirs.to_vec(),
        limit,
    };
    let Ok(path) = exec.find("meta-cni") else {
        let (cause, remedy) = missing("meta-cni", &absent(dirs, "meta-cni"));
        return Err(
            Finding::fault(Area::Configuration, cause, remedy).seen("the runtime cannot start it")
        );
    };
    if is_same_file(&path, own) {
        return Ok(env!("CARGO_PKG_VERSION").to_owned());
    }
    version_of(&path, limit).ok_or_else(|| {
        let cause = format!("{} does not tell its version", path.display());
        Finding::fault(Area::Configuration, cause, "install meta-cni there again")
    })
}

/// Whether the plugin of the runtime is as old as this program.
pub(super) fn check(plugin: &str) -> Option<Finding> {
    let own = env!("CARGO_PKG_VERSION");
    let cause = format!("the runtime runs meta-cni {plugin}; this is meta-cni {own}");
    let remedy = "install one version in all places: what one writes, an older one may not read";
    (plugin != own).then(|| Finding::warning(Area::Plugin, cause, remedy))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    id(one).is_some_and(|one| Some(one) == id(other))
}

/// The second word of what `path --version` prints.
fn version_of(path: &Path, limit: Duration) -> Option<String> {
    let mut process = Process::new(path);
    process
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = while_not_busy(|| process.spawn()).ok()?;
    let end = Instant::now() + limit;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() >= end {
            let _ended_meanwhile = child.kill();
            break;
        }
        thread::sleep(LOOK);
    }
    let output = child.wait_with_output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::plugins::tests::script;
    use super::*;

    #[test]
    fn the_runtimes_meta_cni_is_found_and_its_version_asked() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().to_owned()];
        let limit = Duration::from_secs(10);
        let own = Path::new("/proc/self/exe");
        assert!(
            look(&dirs, own, limit)
                .unwrap_err()
                .cause
                .starts_with("plugin \"meta-cni\" is not in")
        );
        script(dir.path(), "meta-cni", 0o755, "echo meta-cni 9.9.9");
        let version = look(&dirs, own, limit).unwrap();
        assert_eq!(version, "9.9.9");
        assert!(check(&version).unwrap().cause.contains("9.9.9"));
        let same = look(&dirs, &dir.path().join("meta-cni"), limit).unwrap();
        assert_eq!(check(&same), None);
    }
}
