//! meta-cni itself, as the runtime finds it: there, and as old as this program.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cni::error::with_causes;
use cni::plugins::Executables;

use super::finding::{Area, Finding};
use super::plugins::missing;

/// meta-cni as the runtime finds it in `dirs`: its version, or what is wrong with it. `own` is this program.
pub(super) fn inspect(dirs: &[PathBuf], own: &Path, limit: Duration) -> Result<String, Finding> {
    let executables = Executables::in_folders(dirs.to_vec());
    let path = executables.find("meta-cni").map_err(|error| {
        let (cause, remedy) = missing("meta-cni", &error);
        Finding::fault(Area::Configuration, cause, remedy).seen("the runtime cannot start it")
    })?;
    if is_same_file(&path, own) {
        return Ok(env!("CARGO_PKG_VERSION").to_owned());
    }
    let answer = executables
        .run_by_hand("meta-cni", "--version", Instant::now() + limit)
        .map_err(|error| with_causes(&error));
    let text = answer.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    match text.as_deref().map(|text| text.split_whitespace().nth(1)) {
        Ok(Some(version)) => Ok(version.to_owned()),
        Ok(None) => Err(mute(&path, "it wrote nothing of the kind")),
        Err(why) => Err(mute(&path, why)),
    }
}

fn mute(path: &Path, why: &str) -> Finding {
    let cause = format!("{} does not report its version: {why}", path.display());
    Finding::fault(Area::Configuration, cause, "install meta-cni there again")
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
            inspect(&dirs, own, limit)
                .unwrap_err()
                .cause
                .starts_with("plugin \"meta-cni\" is not in")
        );
        script(dir.path(), "meta-cni", 0o755, "echo odd >&2; exit 1");
        let mute = inspect(&dirs, own, limit).unwrap_err().cause;
        assert!(
            mute.contains("does not report its version") && mute.contains("odd"),
            "{mute}"
        );
        script(dir.path(), "meta-cni", 0o755, "sleep 60");
        let hangs = inspect(&dirs, own, Duration::from_millis(50))
            .unwrap_err()
            .cause;
        assert!(hangs.contains("was stopped"), "{hangs}");
        script(dir.path(), "meta-cni", 0o755, "echo meta-cni 9.9.9");
        let version = inspect(&dirs, own, limit).unwrap();
        assert_eq!(version, "9.9.9");
        assert!(check(&version).unwrap().cause.contains("9.9.9"));
        let same = inspect(&dirs, &dir.path().join("meta-cni"), limit).unwrap();
        assert_eq!(check(&same), None);
    }
}
