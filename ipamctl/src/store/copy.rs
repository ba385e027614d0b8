//! `ipamctl store copy`: a whole store into an empty one of another kind.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipam_server::config::EtcdOptions;
use ipam_server::store::StoreKind;
use ipam_server::store::copy::{Began, Control, Copied, CopyError, Place, copy};
use serde::Serialize;

use crate::error::CliError;
use crate::note::note_dry_run;
use crate::out::{Column, Out};
use crate::progress::bar;

/// Copies a whole store into an empty one: pools, reservations, leases, history, revision, and which store it is.
///
/// No server may have either store open. What was copied is read again and compared with the source by counts and a checksum; no
/// server opens the target before that. A copy that was interrupted goes on when the same command is run again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ipamctl store copy --from sled:/var/lib/ipam-server --to etcd://etcd-1,etcd-2,etcd-3/meta-cni.io/ipam \\\n      --etcd-ca ca.crt --etcd-cert tls.crt --etcd-key tls.key\n  ipamctl store copy --from etcd://localhost/meta-cni.io/ipam --to sled:/var/lib/ipam-server --dry-run"
)]
pub(crate) struct CopyArgs {
    /// The store to copy: sled:FOLDER or etcd://HOST:PORT,HOST:PORT/PREFIX.
    #[arg(long, value_name = "STORE")]
    from: String,
    /// The empty store: as --from.
    #[arg(long, value_name = "STORE")]
    to: String,
    /// Authorities of etcd's certificates, PEM. Without it etcd must be on loopback.
    #[arg(long, env = "IPAM_SERVER_ETCD_CA", value_name = "FILE")]
    etcd_ca: Option<PathBuf>,
    /// Certificate for etcd, PEM. [default: none]
    #[arg(long, env = "IPAM_SERVER_ETCD_CERT", value_name = "FILE")]
    etcd_cert: Option<PathBuf>,
    /// Key of --etcd-cert, PEM.
    #[arg(long, env = "IPAM_SERVER_ETCD_KEY", value_name = "FILE")]
    etcd_key: Option<PathBuf>,
    /// User in etcd; needs --etcd-password-file. [default: none]
    #[arg(long, env = "IPAM_SERVER_ETCD_USER", value_name = "NAME")]
    etcd_user: Option<String>,
    /// File with the password of --etcd-user.
    #[arg(long, env = "IPAM_SERVER_ETCD_PASSWORD_FILE", value_name = "FILE")]
    etcd_password_file: Option<PathBuf>,
    /// Only checks whether the store can be copied; changes nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What was copied, as programs read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    from: String,
    to: String,
    target: Began,
    dry_run: bool,
    pools: u64,
    reservations: u64,
    leases: u64,
    events: u64,
    revision: u64,
    checksum: String,
}

const COLUMNS: &[Column<Outcome>] = &[
    Column {
        heading: "POOLS",
        wide: false,
        cell: |at, _| at.pools.to_string(),
    },
    Column {
        heading: "RESERVATIONS",
        wide: false,
        cell: |at, _| at.reservations.to_string(),
    },
    Column {
        heading: "LEASES",
        wide: false,
        cell: |at, _| at.leases.to_string(),
    },
    Column {
        heading: "EVENTS",
        wide: false,
        cell: |at, _| at.events.to_string(),
    },
    Column {
        heading: "REVISION",
        wide: false,
        cell: |at, _| at.revision.to_string(),
    },
    Column {
        heading: "CHECKSUM",
        wide: false,
        cell: |at, _| match at.checksum.get(..16) {
            Some(begin) => begin.to_owned(),
            None => at.checksum.clone(),
        },
    },
];

pub(super) async fn run(args: CopyArgs, out: &mut Out) -> Result<(), CliError> {
    let dry_run = args.dry_run;
    let (from, to) = places(args)?;
    let names = (from.to_string(), to.to_string());
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let mut copying = tokio::task::spawn_blocking(move || {
        let progress = bar("copy", Some(0));
        let show = |done, all| {
            progress.set_length(all);
            progress.set_position(done);
        };
        let control = Control {
            progress: &show,
            stop: &stopped,
        };
        let copied = copy(&from, &to, dry_run, &control);
        progress.finish_and_clear();
        copied
    });
    let copied = tokio::select! {
        copied = &mut copying => copied,
        _ = tokio::signal::ctrl_c() => {
            // It ends behind the group that is being written.
            stop.store(true, Ordering::Relaxed);
            copying.await
        }
    };
    let copied = copied.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    let Copied { sum, began } = copied.map_err(failure)?;
    let outcome = Outcome {
        from: names.0,
        to: names.1,
        target: began,
        dry_run,
        pools: sum.pools,
        reservations: sum.reservations,
        leases: sum.leases,
        events: sum.events,
        revision: sum.revision,
        checksum: sum.checksum,
    };
    out.one(COLUMNS, &outcome)?;
    out.flush()?;
    note_dry_run(dry_run);
    Ok(())
}

fn failure(error: CopyError) -> CliError {
    match error {
        CopyError::Store(error) => CliError::Store(error),
        CopyError::Same { .. } => CliError::argument("--to", error.to_string()),
        CopyError::NoStore { .. } => CliError::NotFound {
            what: error.to_string(),
        },
        error => CliError::Copy(error),
    }
}

/// The two places; the flags of etcd are those of each that is in etcd.
fn places(args: CopyArgs) -> Result<(Place, Place), CliError> {
    let options = EtcdOptions {
        ca: args.etcd_ca,
        cert: args.etcd_cert,
        key: args.etcd_key,
        user: args.etcd_user,
        password_file: args.etcd_password_file,
    };
    let from = place("--from", &args.from, &options)?;
    Ok((from, place("--to", &args.to, &options)?))
}

fn place(flag: &'static str, text: &str, options: &EtcdOptions) -> Result<Place, CliError> {
    let folder = text.strip_prefix("sled:");
    if let Some(folder) = folder.filter(|folder| !folder.is_empty()) {
        return Ok(Place::Sled(folder.into()));
    }
    let wrong = || {
        let problem = format!("{text:?} is not sled:FOLDER or etcd://HOST:PORT,HOST:PORT/PREFIX");
        CliError::argument(flag, problem)
    };
    if !text.starts_with("etcd:") {
        return Err(wrong());
    }
    let kind: StoreKind = text
        .parse()
        .map_err(|problem: String| CliError::argument(flag, problem))?;
    let settings = options.clone().settle(&kind);
    let settings = settings.map_err(|error| CliError::argument(flag, error.to_string()))?;
    settings.map(Place::Etcd).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_folder_or_a_prefix_of_etcd() {
        let none = EtcdOptions::default();
        let read = |text: &str| place("--to", text, &none);
        assert_eq!(read("sled:/a b").unwrap().to_string(), "sled:/a b");
        let whole = "etcd://127.0.0.1:2379/x";
        assert_eq!(read("etcd://127.0.0.1/x").unwrap().to_string(), whole);
        for (text, words) in [
            ("/var/lib/ipam-server", "is not sled:FOLDER"),
            ("sled:", "is not sled:FOLDER"),
            ("memory", "is not sled:FOLDER"),
            ("etcd://a,,b", "is not HOST"),
            ("etcd://10.0.0.1", "--etcd-ca"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let error = error.to_string();
            let is_as_expected = error.starts_with("--to: ") && error.contains(words);
            assert!(is_as_expected, "{error}");
        }
    }
}
