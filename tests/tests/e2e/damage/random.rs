//! A damage at a random place of a random file.

use std::fs;
use std::path::Path;
use std::process::Command;

use e2e::IpamServer;
use fastrand::Rng;
use tempfile::TempDir;

use crate::damage::scene::{
    self, Leases, content, copy, export, exported, lease_batch, release_some, rounds, seed,
};

const ROUNDS: usize = 300;
/// The bytes of a block of a disk.
const BLOCK: usize = 4096;

/// A store of a server that ended, and the leases that it had acknowledged.
struct Original {
    name: &'static str,
    folder: TempDir,
    leases: Leases,
}

impl Original {
    async fn make(name: &'static str, batches: usize, fat: usize, killed: bool) -> Original {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let mut server = IpamServer::start_on(&folder.path().join("store"));
        server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
        for batch in 0..batches {
            // What a restart writes and removes lies between them.
            if batch == batches / 2 {
                server.stop();
                server.restart();
            }
            lease_batch(&server, &format!("pod-{batch}"), 50, fat).await;
        }
        release_some(&server).await;
        let leases = scene::leases(&server).await;
        if killed {
            server.kill9();
        } else {
            server.stop();
        }
        Original {
            name,
            folder,
            leases,
        }
    }

    fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }
}

async fn originals() -> Vec<Original> {
    vec![
        Original::make("small, stopped", 6, 0, false).await,
        Original::make("small, killed", 6, 0, true).await,
        // Longer than a segment: a base was written beside the commits.
        Original::make("long, killed", 40, 4000, true).await,
    ]
}

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    LastByteCut,
    LastByteZeroed,
    BitFlipped,
    ZeroBlock,
    GarbageBlock,
    Halved,
    Removed,
    /// A snapshot that was not finished lies beside it.
    HalfSnapshot,
}

const DAMAGES: [Damage; 8] = [
    Damage::LastByteCut,
    Damage::LastByteZeroed,
    Damage::BitFlipped,
    Damage::ZeroBlock,
    Damage::GarbageBlock,
    Damage::Halved,
    Damage::Removed,
    Damage::HalfSnapshot,
];

/// Damages a random file; returns its name and where it was hit.
fn damage(store: &Path, damage: Damage, random: &mut Rng) -> (String, usize) {
    let files: Vec<_> = content(store).into_iter().collect();
    let (name, mut bytes) = random.choice(files).expect("a file");
    let path = store.join(&name);
    // A place that holds something: most of a segment of the journal is a hole.
    let used: Vec<usize> = bytes
        .chunks(BLOCK)
        .enumerate()
        .filter(|(_, block)| **block != [0; BLOCK][..block.len()])
        .map(|(number, _)| number * BLOCK)
        .collect();
    let start = random.choice(used).unwrap_or(0);
    let end = (start + BLOCK).min(bytes.len());
    let length = bytes.len();
    let place = match damage {
        Damage::LastByteCut => {
            bytes.truncate(length.saturating_sub(1));
            length
        }
        Damage::LastByteZeroed => {
            if let Some(last) = bytes.last_mut() {
                *last = 0;
            }
            length
        }
        Damage::BitFlipped if length > 0 => {
            let place = random.usize(start..end);
            bytes[place] ^= 1 << random.u8(0..8);
            place
        }
        Damage::ZeroBlock => {
            bytes[start..end].fill(0);
            start
        }
        Damage::GarbageBlock => {
            random.fill(&mut bytes[start..end]);
            start
        }
        Damage::Halved => {
            bytes.truncate(length / 2);
            length / 2
        }
        Damage::BitFlipped | Damage::Removed => {
            fs::remove_file(&path).expect("remove a file");
            return (name, 0);
        }
        Damage::HalfSnapshot => {
            let half = store.join("snap.00000000000FFFFF.generating");
            fs::write(half, &bytes[..length.min(100)]).expect("write half a snapshot");
            return (name, 0);
        }
    };
    fs::write(path, bytes).expect("write the damage");
    (name, place)
}

/// Asserts that all leases were saved, or that the export says that it is not everything. `may_lose` is for damages
/// that take the only copy along.
fn assert_saved(store: &Path, leases: &Leases, may_lose: bool, what: &str) -> bool {
    let output = export(store, &[]);
    let saved = exported(&output);
    let text = String::from_utf8_lossy(&output.stderr);
    let lost = leases
        .iter()
        .filter(|(id, lease)| saved.get(*id) != Some(lease));
    let lost = lost.count();
    assert!(
        lost == 0 || (may_lose && output.status.code() == Some(1)),
        "{what}: {lost} of {} leases are not saved: {} {text}",
        leases.len(),
        output.status
    );
    lost == 0
}

#[tokio::test]
async fn no_random_damage_loses_a_lease_in_silence() {
    let seed = seed("random damages");
    let originals = originals().await;
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let store = folder.path().join("store");
    let (mut served, mut refused, mut saved) = (0, 0, 0);
    for round in 0..rounds(ROUNDS) {
        let mut random = Rng::with_seed(seed.wrapping_add(round as u64));
        // The long one takes its time.
        let original = match round % 10 {
            9 => &originals[2],
            _ => &originals[random.usize(..2)],
        };
        copy(&original.store(), &store);
        let kind = DAMAGES[round % DAMAGES.len()];
        let (file, place) = damage(&store, kind, &mut random);
        let what = format!(
            "round {round} (seed {seed}): {kind:?} in {file} at {place} of the store {}",
            original.name
        );
        let before = content(&store);
        match IpamServer::try_start_on(&store) {
            Ok(mut server) => {
                let found = scene::leases(&server).await;
                assert!(found == original.leases, "{what}: served without a word");
                server.assert_consistent().await;
                server.kill9();
                served += 1;
            }
            Err(log) => {
                assert!(log.contains("is damaged ("), "{what}: {log}");
                assert!(log.contains("ipamctl export --offline"), "{what}: {log}");
                assert!(content(&store) == before, "{what}: the start changed it");
                // The last commits of a server that was killed may be in one segment alone.
                let may_lose = file.starts_with("journal-") && kind == Damage::Removed;
                saved += usize::from(assert_saved(&store, &original.leases, may_lose, &what));
                assert!(content(&store) == before, "{what}: the export changed it");
                refused += 1;
            }
        }
    }
    eprintln!(
        "random damages: {served} served whole, {refused} refused, of which {saved} were saved whole; lost in silence: 0"
    );
}

/// A folder that is mounted over itself, read-only.
struct ReadOnly<'a>(&'a Path);

impl ReadOnly<'_> {
    fn mount(folder: &Path) -> ReadOnly<'_> {
        mount(&["--bind"], &[folder, folder]);
        mount(&["-o", "remount,bind,ro"], &[folder]);
        ReadOnly(folder)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0).status();
        assert!(unmounted.expect("run umount").success());
    }
}

fn mount(options: &[&str], folders: &[&Path]) {
    let mounted = Command::new("mount").args(options).args(folders).status();
    assert!(mounted.expect("run mount").success());
}

#[tokio::test]
async fn a_damaged_store_on_a_read_only_file_system_is_saved_too() {
    let original = Original::make("read-only", 4, 0, true).await;
    let store = original.store();
    let base = content(&store)
        .into_keys()
        .find(|name| name.starts_with("base-"));
    let base = store.join(base.expect("a base"));
    let mut bytes = fs::read(&base).expect("read the base");
    bytes.truncate(bytes.len() / 2);
    fs::write(&base, bytes).expect("cut the base");
    let log = IpamServer::try_start_on(&store).expect_err("it is damaged");
    assert!(log.contains("is damaged ("), "{log}");
    let _read_only = ReadOnly::mount(&store);
    assert_saved(&store, &original.leases, false, "read-only");
    // Without room for a copy it says so.
    let small = tempfile::tempdir().expect("make a temporary folder");
    mount(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], &[small.path()]);
    let scratch = small.path().display().to_string();
    let output = export(&store, &["--scratch-dir", &scratch]);
    let unmounted = Command::new("umount").arg(small.path()).status();
    assert!(unmounted.expect("run umount").success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && text.contains("no room") && text.contains(&scratch),
        "{text}"
    );
}
