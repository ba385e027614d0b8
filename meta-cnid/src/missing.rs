//! NetworkAttachmentDefinitions that the watch does not have. One may be so new that the watch has yet to report it: the API server is
//! asked, for few at a time, and that there is none is remembered for some seconds. A pod that names what does not exist
//! costs the API server no more.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use meta_cni::cluster::{ClusterError, Nad, NadName};
use meta_cni::limits::GETS_AT_ONCE;
use tokio::sync::Semaphore;

/// How long an answer counts. The watch reports a network that is made meanwhile.
const LIFE: Duration = Duration::from_secs(10);
/// Names that are remembered at most.
const NAMES: usize = 4096;

/// What is known to be missing. Clones share everything.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    turns: Arc<Semaphore>,
    until: Arc<Mutex<HashMap<NadName, Instant>>>,
}

impl Default for Missing {
    fn default() -> Missing {
        Missing {
            turns: Arc::new(Semaphore::new(GETS_AT_ONCE)),
            until: Arc::default(),
        }
    }
}

impl Missing {
    /// The answer of `ask`, unless it is known that there is no such network.
    ///
    /// # Errors
    /// That of `ask`; [`ClusterError::NotFound`].
    pub(super) async fn or_ask(
        &self,
        name: &NadName,
        ask: impl Future<Output = Result<Nad, ClusterError>>,
    ) -> Result<Nad, ClusterError> {
        // Nobody closes it; without a turn, the question is asked all the same.
        let _turn = self.turns.acquire().await.ok();
        if self.is_known(name, Instant::now()) {
            return Err(ClusterError::NotFound {
                what: format!("network-attachment-definition {name}"),
            });
        }
        let answer = ask.await;
        if let Err(ClusterError::NotFound { .. }) = answer {
            self.note(name, Instant::now());
        }
        answer
    }

    fn is_known(&self, name: &NadName, now: Instant) -> bool {
        self.lock().get(name).is_some_and(|until| now < *until)
    }

    fn note(&self, name: &NadName, now: Instant) {
        let mut known = self.lock();
        if known.len() >= NAMES {
            known.retain(|_, until| now < *until);
        }
        if known.len() < NAMES {
            known.insert(name.clone(), now + LIFE);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NadName, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    fn name(number: usize) -> NadName {
        NadName {
            namespace: "shop".to_owned(),
            name: format!("n{number}"),
        }
    }

    fn not_found() -> ClusterError {
        ClusterError::NotFound {
            what: "network".to_owned(),
        }
    }

    #[tokio::test]
    async fn few_are_asked_for_at_a_time_and_each_once() {
        let missing = Missing::default();
        let (asked, now, most) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            let running = now.fetch_add(1, Ordering::Relaxed) + 1;
            most.fetch_max(running, Ordering::Relaxed);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            now.fetch_sub(1, Ordering::Relaxed);
            Err(not_found())
        };
        let names: Vec<_> = (0..40).map(name).collect();
        for _ in 0..2 {
            let answers = join_all(names.iter().map(|name| missing.or_ask(name, ask()))).await;
            assert!(answers.iter().all(Result::is_err));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 40);
        assert_eq!(most.load(Ordering::Relaxed), GETS_AT_ONCE);
    }

    #[tokio::test]
    async fn other_answers_are_not_remembered_and_none_for_long() {
        let missing = Missing::default();
        let away = async {
            Err(ClusterError::Invalid {
                what: "network".to_owned(),
                remedy: None,
                source: "no".into(),
            })
        };
        assert!(missing.or_ask(&name(1), away).await.is_err());
        let now = Instant::now();
        assert!(!missing.is_known(&name(1), now));
        missing.note(&name(1), now);
        assert!(missing.is_known(&name(1), now));
        assert!(!missing.is_known(&name(1), now + LIFE));
        for number in 0..NAMES + 10 {
            missing.note(&name(number), now);
        }
        assert_eq!(missing.lock().len(), NAMES);
        missing.note(&name(NAMES + 10), now + LIFE);
        assert_eq!(missing.lock().len(), 1);
    }
}
