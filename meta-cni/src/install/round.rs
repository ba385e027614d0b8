//! One look at the node, and what has to be done: the same at the first installation, after an update, and when something
//! changed. What is as it should be is left alone.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::changes::Changes;
use super::claim::Claim;
use super::conf;
use super::executables::Executables;
use super::place::Places;
use super::primary::{self, Found, Primary};
use super::receipt::Receipt;
use super::wake::Wake;
use super::{AGENT_INTERVAL, INTERVAL, InstallError, Options, agent};

/// The program that runs.
const OWN: &str = "/proc/self/exe";

/// An installation at work.
pub(super) struct Installer<'o> {
    options: &'o Options,
    places: Places,
    settings: Map<String, Value>,
    executables: Executables,
    claim: Claim,
    /// Whether it has put something there.
    has_installed: bool,
}

/// What a round came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Everything is in its place.
    Done,
    /// Something must happen first; it is checked again after a pause.
    Waits { what: String, pause: Duration },
    /// A later installer works on this node, or an uninstall has taken away what this one put there.
    Superseded,
}

impl<'o> Installer<'o> {
    /// Reads what the options name, and claims the node.
    pub(super) fn begin(
        options: &'o Options,
        changes: &Changes<'_>,
    ) -> Result<Installer<'o>, InstallError> {
        let places = options.folders.places();
        let settings = match &options.settings {
            Some(path) => conf::read_settings(path)?,
            None => Map::new(),
        };
        let claim = Claim::make(&places, changes)?;
        for folder in [&places.conf_dir, &places.bin_dir] {
            changes.sweep(&places.here(folder));
        }
        Ok(Installer {
            executables: Executables::of(own_folder(options)?),
            options,
            places,
            settings,
            claim,
            has_installed: false,
        })
    }

    /// Changes in the folders of this node wake from now on.
    pub(super) fn watch(&self, wake: &Wake) {
        let places = &self.places;
        for folder in [&places.conf_dir, &places.primary_dir, &places.bin_dir] {
            wake.on_changes_in(&places.here(folder));
        }
    }

    /// Does what has to be done now.
    pub(super) fn round(&mut self, changes: &mut Changes<'_>) -> Result<State, InstallError> {
        let mut receipt = Receipt::read(&self.places)?;
        let is_uninstalled = self.has_installed && receipt.entries.is_empty();
        if is_uninstalled || !self.claim.holds() {
            return Ok(State::Superseded);
        }
        self.executables
            .install(&self.places, &mut receipt, changes)?;
        self.has_installed = !receipt.entries.is_empty();
        let primary = match self.primary(changes)? {
            Ok(primary) => primary,
            Err(waits) => return Ok(waits),
        };
        if let Some(waits) = self.wait_for_agent() {
            return Ok(waits);
        }
        let version = self.options.cni_version.map(|version| version.as_str());
        let text = conf::text(&self.places, &primary, version, &self.settings);
        conf::install(&self.places, &text, &primary, &mut receipt, changes)?;
        // Last: from now on ours is the first.
        primary::move_aside(&self.places, &mut receipt, changes)?;
        Ok(State::Done)
    }

    /// The primary network, or what is waited for.
    fn primary(&self, changes: &mut Changes<'_>) -> Result<Result<Primary, State>, InstallError> {
        let Found { primary, skipped } =
            primary::find(&self.places, self.options.primary.as_deref())?;
        if let Some(primary) = primary {
            for skipped in &skipped {
                changes.report.warn(&format!("{skipped}; it is skipped"))?;
            }
            return Ok(Ok(primary));
        }
        let folder = self.places.primary_dir.display();
        let but = match skipped.as_slice() {
            [] => String::new(),
            some => format!(" ({})", some.join("; ")),
        };
        let what = format!(
            "for the primary network's configuration in {folder}{but}; is its DaemonSet running? --primary names the file"
        );
        Ok(Err(State::Waits {
            what,
            pause: INTERVAL,
        }))
    }

    /// Before the first configuration. Later, an ADD waits for the agent itself.
    fn wait_for_agent(&self) -> Option<State> {
        let socket = self.places.agent_socket.as_deref()?;
        if self.places.here(&self.places.conf()).exists() {
            return None;
        }
        let why = agent::answers(&self.places.here(socket)).err()?;
        let what = format!(
            "before the configuration is written: {why}; is meta-cnid running on this node? --agent-socket \"\" does without it"
        );
        Some(State::Waits {
            what,
            pause: AGENT_INTERVAL,
        })
    }

    /// Ends the claim.
    pub(super) fn end(self, changes: &mut Changes<'_>) -> Result<(), InstallError> {
        self.claim.end(changes)
    }
}

/// The folder of the executables to install.
fn own_folder(options: &Options) -> Result<PathBuf, InstallError> {
    match &options.from {
        Some(folder) => Ok(folder.clone()),
        None => {
            let own = std::fs::read_link(OWN).map_err(InstallError::read(OWN.as_ref()))?;
            Ok(own.parent().unwrap_or(&own).to_owned())
        }
    }
}
