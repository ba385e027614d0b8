//! Deployments that are scaled up and down all the time, until somebody says so.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};

use e2e::wait_until;

use crate::cluster::fixture::{Networks, PATIENCE, Site};

/// How many pods a Deployment has when it is scaled up.
const PODS: usize = 8;

/// A Deployment that is being scaled.
pub(crate) struct Load<'scope> {
    name: &'static str,
    state: &'scope State,
    thread: ScopedJoinHandle<'scope, ()>,
}

/// What [`Load`] and its thread share.
#[derive(Default)]
pub(crate) struct State {
    rounds: AtomicUsize,
    is_over: AtomicBool,
}

impl<'scope> Load<'scope> {
    /// Makes a Deployment and begins to scale it.
    pub(crate) fn begin(
        scope: &'scope Scope<'scope, '_>,
        site: &'scope Site,
        state: &'scope State,
        name: &'static str,
        networks: Networks,
    ) -> Load<'scope> {
        site.deployment(name, networks);
        let thread = scope.spawn(move || {
            while !state.is_over.load(Ordering::Relaxed) {
                site.scale(name, PODS);
                site.scale(name, 1);
                state.rounds.fetch_add(1, Ordering::Relaxed);
            }
            site.scale(name, 0);
        });
        Load {
            name,
            state,
            thread,
        }
    }

    /// Waits until it was scaled up and down twice more: once from its beginning to its end.
    #[track_caller]
    pub(crate) fn goes_on(&self) {
        let before = self.state.rounds.load(Ordering::Relaxed);
        wait_until(self.name, PATIENCE, || {
            let rounds = self.state.rounds.load(Ordering::Relaxed);
            assert!(!self.thread.is_finished(), "{} ended", self.name);
            (rounds >= before + 2).then_some(())
        });
    }

    /// Ends it, with all its pods.
    #[track_caller]
    pub(crate) fn end(self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        assert!(ended.is_ok() || thread::panicking(), "{} failed", self.name);
    }
}

/// A thread that is still scaling ends when the test fails.
pub(crate) struct EndsWith<'a>(pub(crate) [&'a State; 2]);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        for state in self.0 {
            state.is_over.store(true, Ordering::Relaxed);
        }
    }
}
