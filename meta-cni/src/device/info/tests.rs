//! Device info files in a folder of the test.

use std::os::unix::fs::symlink;

use serde_json::json;
use tempfile::TempDir;

use super::*;

const INFO: &str = r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:00:00.1"}}"#;

fn files() -> (TempDir, DeviceInfoFiles) {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("devinfo");
    fs::create_dir_all(base.join("dp")).unwrap();
    (dir, DeviceInfoFiles { base })
}

fn copy(files: &DeviceInfoFiles, device: &str) -> Result<Option<PathBuf>, DeviceError> {
    let path = files.cni_path("default/blue", "c1", "net1")?;
    Ok(files
        .copy_for_cni("intel.com/sriov", device, &path)?
        .then_some(path))
}

#[test]
fn a_file_is_copied_read_back_and_removed() {
    let (_dir, files) = files();
    let from = files.base.join("dp/intel.com-sriov-dev-1-device.json");
    fs::write(&from, INFO).unwrap();
    let path = copy(&files, "dev/1").unwrap().unwrap();
    assert_eq!(path, files.base.join("cni/default-blue-c1_net1"));
    assert_eq!(path, files.cni_path("default/blue", "c1", "net1").unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), INFO);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o444
    );
    let value = files.read(&path).unwrap().unwrap();
    assert_eq!(value["pci"], json!({"pci-address": "0000:00:00.1"}));
    // A try that was killed left its copy: the next one replaces it.
    fs::write(&from, r#"{"type":"vdpa"}"#).unwrap();
    copy(&files, "dev/1").unwrap();
    assert_eq!(files.read(&path).unwrap().unwrap()["type"], "vdpa");
    assert_eq!(fs::read_dir(files.base.join("cni")).unwrap().count(), 1);
    files.remove(&path).unwrap();
    files.remove(&path).unwrap();
    assert_eq!(files.read(&path).unwrap(), None);
    assert!(from.exists());
}

#[test]
fn a_device_that_nobody_describes_has_no_file() {
    let (_dir, files) = files();
    assert_eq!(copy(&files, "dev1").unwrap(), None);
    assert!(!files.base.join("cni").exists());
}

#[test]
fn names_cannot_lead_elsewhere() {
    let (_dir, files) = files();
    let cni = files.base.join("cni");
    for network in ["../../etc", "..", ".", "/etc/passwd", "a/../b"] {
        let path = files.cni_path(network, "c1", "net1").unwrap();
        assert_eq!(path.parent(), Some(cni.as_path()), "{network}");
    }
    let long = "n".repeat(300);
    for (network, container_id, ifname) in [
        ("", "c1", "net1"),
        ("net", "", "net1"),
        ("net", "c1", ""),
        ("a\0b", "c1", "net1"),
        (long.as_str(), "c1", "net1"),
    ] {
        let error = files.cni_path(network, container_id, ifname).unwrap_err();
        assert!(matches!(error, DeviceError::Name { .. }));
        assert!(error.to_string().len() < 300);
    }
    let secret = files.base.join("secret");
    fs::write(&secret, INFO).unwrap();
    for path in [
        secret,
        cni.join("../secret"),
        cni.join("x/y"),
        cni.join(".."),
        cni.clone(),
        PathBuf::from("/etc/passwd"),
        PathBuf::from(""),
    ] {
        assert!(
            matches!(files.read(&path), Err(DeviceError::OutsideFolder { .. })),
            "{path:?}"
        );
        assert!(matches!(
            files.remove(&path),
            Err(DeviceError::OutsideFolder { .. })
        ));
    }
}

#[test]
fn what_is_no_json_object_is_refused_by_name() {
    let (dir, files) = files();
    let from = files.base.join("dp/intel.com-sriov-dev1-device.json");
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(FILE_BYTES as usize));
    for text in ["", "[]", "null", "{", &large] {
        fs::write(&from, text).unwrap();
        let error = copy(&files, "dev1").unwrap_err();
        assert!(matches!(error, DeviceError::Malformed { .. }), "{error:?}");
        assert!(error.to_string().contains("dev1-device.json"));
    }
    fs::remove_file(&from).unwrap();
    let elsewhere = dir.path().join("elsewhere.json");
    fs::write(&elsewhere, "{}").unwrap();
    symlink(elsewhere, &from).unwrap();
    let error = copy(&files, "dev1").unwrap_err();
    assert!(matches!(error, DeviceError::File { .. }), "{error:?}");
}
