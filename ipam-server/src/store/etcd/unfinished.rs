//! The mark of a copy that is not finished: the key `copy`, from before the first group until the copy is verified. A server that
//! finds the key does not start.

use std::time::Duration;

use proto::etcd::etcdserverpb::TxnRequest;
use tokio::time::Instant;

use super::follow::ranges;
use super::keys::{delete, get, has, put, range};
use super::{EtcdSettings, EtcdStore, Shared, StoreError, connect};

/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What is below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Found {
    /// Nothing.
    Nothing,
    /// A copy that is not finished, with what its mark says.
    Unfinished(Vec<u8>),
    /// A store, or keys of something else.
    Other,
}

/// Says what is below a prefix, and changes nothing.
///
/// # Errors
/// [`StoreError::Unreachable`], [`StoreError::Denied`].
pub(in crate::store) fn look(settings: &EtcdSettings) -> Result<Found, StoreError> {
    let (runtime, shared) = connect(settings)?;
    let found = runtime.block_on(shared.found());
    runtime.shutdown_background();
    found
}

impl EtcdStore {
    /// Marks an empty prefix as a copy that is not finished. Whether it is marked so: else somebody else was first.
    ///
    /// # Errors
    /// As [`look`].
    pub(in crate::store) fn begin_copy(&self, mark: &[u8]) -> Result<bool, StoreError> {
        let keys = &self.shared.keys;
        let request = TxnRequest {
            compare: vec![has(keys.head(), None), has(keys.copy(), None)],
            success: vec![put(keys.copy(), mark.to_vec().into())],
            ..TxnRequest::default()
        };
        self.block_on(async {
            let sent = self.shared.client.txn(&request, Instant::now() + LIMIT);
            sent.await.map_err(|failure| self.shared.error(failure))?;
            // The transaction may have been sent twice.
            Ok(self.shared.copy_mark().await?.as_deref() == Some(mark))
        })
    }

    /// Removes the mark: the copy is a store.
    ///
    /// # Errors
    /// As [`look`].
    pub(in crate::store) fn finish_copy(&self) -> Result<(), StoreError> {
        let request = TxnRequest {
            success: vec![delete(self.shared.keys.copy(), Default::default())],
            ..TxnRequest::default()
        };
        self.block_on(async {
            let sent = self.shared.client.txn(&request, Instant::now() + LIMIT);
            sent.await.map_err(|failure| self.shared.error(failure))?;
            Ok(())
        })
    }
}

impl Shared {
    /// What the mark says, if there is one.
    pub(super) async fn copy_mark(&self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.found().await? {
            Found::Unfinished(mark) => Ok(Some(mark)),
            Found::Nothing | Found::Other => Ok(None),
        }
    }

    async fn found(&self) -> Result<Found, StoreError> {
        let (begin, end) = self.keys.everything();
        let request = TxnRequest {
            success: vec![get(self.keys.copy()), range(begin, end, 1, 0)],
            ..TxnRequest::default()
        };
        let answer = self.client.txn(&request, Instant::now() + LIMIT).await;
        let answer = answer.map_err(|failure| self.error(failure))?;
        let mut found = ranges(answer).into_iter().map(|(mut kvs, _)| kvs.pop());
        Ok(match (found.next().flatten(), found.next().flatten()) {
            (Some(mark), _) => Found::Unfinished(mark.value.to_vec()),
            (None, Some(_)) => Found::Other,
            (None, None) => Found::Nothing,
        })
    }
}
