//! `ipamctl pool edit`: by flags, or in an editor. Guarded by the etag against a change in between.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use ipam_server::wire::pool::fields::{self, Kind};
use ipam_server::wire::pool::update;
use proto::ipam::v1::{Pool, UpdatePoolRequest};

use super::file;
use super::flags::ConfigFlags;
use super::read::get;
use super::table::COLUMNS;
use crate::error::CliError;
use crate::note::{note, note_dry_run};
use crate::out::{Out, yaml};
use crate::remote::Remote;

/// Changes a pool: the fields of the flags, or, without a flag, the whole pool as YAML in $VISUAL or $EDITOR (default vi).
///
/// A pool that somebody else changed in between is left as it is: STALE_GENERATION.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ipamctl pool edit blue --ipv4-range 10.20.0.10-10.20.0.99 --label team=ran\n  EDITOR=nano ipamctl pool edit blue"
)]
pub(crate) struct EditArgs {
    /// The pool's name.
    name: String,
    #[command(flatten)]
    config: ConfigFlags,
    /// Only checks and shows what would be done; changes nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: EditArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let present = get(remote, args.name).await?;
    let mut pool = present.clone();
    let mask = if args.config == ConfigFlags::default() {
        let before = editable(&present)?;
        let asked = before.clone();
        let edited = tokio::task::spawn_blocking(move || edit(&asked)).await;
        let edited =
            edited.unwrap_or_else(|stopped| Err(editor_failed("", stopped.to_string())))?;
        if edited.text == before {
            edited.forget();
            note(&format!("pool {} is not changed", present.name));
            return Ok(());
        }
        pool = edited.pool(&present)?;
        edited.forget();
        Vec::new()
    } else {
        args.config.apply(&mut pool)?
    };
    pool.etag = present.etag;
    let request = remote.request(UpdatePoolRequest {
        pool: Some(pool),
        update_mask: mask,
        validate_only: args.dry_run,
    });
    let pool = remote
        .answer(remote.pools().await?.update_pool(request))
        .await?;
    out.one(COLUMNS, &pool)?;
    out.flush()?;
    note_dry_run(args.dry_run);
    Ok(())
}

/// What an editor shows above a pool.
fn head() -> String {
    let immutable: Vec<_> = fields::paths(Kind::Immutable).collect();
    format!(
        "# Change the pool, save and leave; an unchanged file changes nothing.\n\
         # These fields cannot be changed: {}. `ipamctl pool cordon` changes the state.\n",
        immutable.join(", ")
    )
}

/// What an editor shows of a pool.
fn editable(pool: &Pool) -> Result<String, CliError> {
    let value = serde_json::to_value(update::configuration(pool)).map_err(CliError::Encode)?;
    Ok(format!("{}{}", head(), yaml(&value)?))
}

/// A file that somebody edited. The file stays if it cannot be used: nobody's work is lost.
struct Edited {
    path: PathBuf,
    text: String,
}

impl Edited {
    fn pool(&self, present: &Pool) -> Result<Pool, CliError> {
        let wrong = |problem: String| CliError::Content {
            place: self.path.display().to_string(),
            problem,
        };
        let pools = file::parse(&self.text).map_err(|found| found.in_file(&self.path));
        let mut pools = pools?;
        let pool = match (pools.pop(), pools.is_empty()) {
            (Some(entry), true) => entry.pool,
            _ => return Err(wrong("it must hold one pool".to_owned())),
        };
        match update::changed_immutable(present, &pool) {
            Some(field) => Err(wrong(format!(
                "{field} cannot be changed; make another pool"
            ))),
            None => Ok(pool),
        }
    }

    fn forget(&self) {
        // A file that is left in the temporary folder harms nobody.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn edit(text: &str) -> Result<Edited, CliError> {
    let path = std::env::temp_dir().join(format!(
        "ipamctl-{}-{:08x}.yaml",
        std::process::id(),
        fastrand::u32(..)
    ));
    write(&path, text).map_err(|source| CliError::File {
        doing: "written",
        path: path.clone(),
        source,
    })?;
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| "vi".to_owned());
    // By the shell, as git and kubectl do: an editor may have arguments.
    let ended = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(&path)
        .status()
        .map_err(|error| editor_failed(&editor, format!("cannot be started: {error}")))?;
    if !ended.success() {
        return Err(editor_failed(&editor, format!("ended with {ended}")));
    }
    let text = std::fs::read_to_string(&path).map_err(|source| CliError::File {
        doing: "read",
        path: path.clone(),
        source,
    })?;
    Ok(Edited { path, text })
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

fn editor_failed(editor: &str, why: String) -> CliError {
    CliError::Editor {
        editor: editor.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_shows_configuration_only_and_reads_it_back() {
        let pool = Pool {
            name: "blue".to_owned(),
            etag: "7".to_owned(),
            quarantine: Some(pbjson_types::Duration {
                seconds: 60,
                nanos: 0,
            }),
            ..Pool::default()
        };
        let text = editable(&pool).expect("YAML");
        assert_eq!(text, format!("{}name: blue\nquarantine: 60s\n", head()));
        let edited = Edited {
            path: PathBuf::from("x.yaml"),
            text,
        };
        let read = edited.pool(&pool).expect("the same pool");
        assert_eq!(
            (read.name, read.quarantine),
            (pool.name.clone(), pool.quarantine)
        );
        let other = Edited {
            path: PathBuf::from("x.yaml"),
            text: "name: red".to_owned(),
        };
        let error = other.pool(&pool).expect_err("another name").to_string();
        assert_eq!(error, "x.yaml: name cannot be changed; make another pool");
    }
}
