//! Calls to an etcd cluster: the last good member first, the next one if it fails, within a deadline; a token for each call if
//! etcd has users. Every call is a transaction that may be sent again: what it writes depends on what it compares.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dial::files::Files;
use proto::etcd::etcdserverpb::auth_client::AuthClient;
use proto::etcd::etcdserverpb::kv_client::KvClient;
use proto::etcd::etcdserverpb::{
    AuthenticateRequest, ResponseHeader, TxnRequest, TxnResponse, WatchRequest, WatchResponse,
    watch_client::WatchClient,
};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Streaming};

use super::endpoint::Member;
use super::failure::Failure;

/// How long one member may take for one call: then the next member is tried, with the same call.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);
/// The pause after all members failed.
const PAUSE: Duration = Duration::from_millis(100);
/// A page of long values is longer than tonic's limit of 4 MiB.
const ANSWER_BYTES: usize = 1 << 30;

/// A name and the file of its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The file; read whenever a token is needed.
    pub password_file: PathBuf,
}

/// A client of one cluster.
#[derive(Debug)]
pub(super) struct Client {
    /// At least one.
    members: Vec<Member>,
    /// The member that answered last.
    good: AtomicUsize,
    /// Of the cluster; 0: nothing was seen of it.
    cluster: AtomicU64,
    user: Option<User>,
    token: Mutex<Option<MetadataValue<Ascii>>>,
}

impl Client {
    /// A client of members by host and port; nothing is connected yet.
    ///
    /// # Errors
    /// What is wrong with a member's name.
    pub(super) fn new(
        members: &[String],
        files: Option<Files>,
        user: Option<User>,
    ) -> Result<Client, String> {
        let files = files.map(Arc::new);
        let members = members.iter().map(|name| Member::new(name, files.clone()));
        Ok(Client {
            members: members.collect::<Result<_, _>>()?,
            good: AtomicUsize::new(0),
            cluster: AtomicU64::new(0),
            user,
            token: Mutex::default(),
        })
    }

    /// Has a transaction made. An error leaves it open whether it was made, or will be.
    ///
    /// # Errors
    /// [`Failure`]; a transient one when `until` is over.
    pub(super) async fn txn(
        &self,
        request: &TxnRequest,
        until: Instant,
    ) -> Result<TxnResponse, Failure> {
        let (mut tried, mut last) = (0, None);
        loop {
            let (at, member) = self.member();
            let limit = until.min(Instant::now() + ATTEMPT_LIMIT);
            let answered = timeout_at(limit, self.attempt(member, request)).await;
            let failure = match answered {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(failure)) if !failure.is_transient() => return Err(failure),
                Ok(Err(failure)) => failure,
                // The end of the time says nothing of the member.
                Err(_) if limit == until => last.unwrap_or_else(|| silent(member)),
                Err(_) => silent(member),
            };
            tracing::debug!(%failure, "the next member of etcd is tried");
            self.next_member(at);
            tried += 1;
            if Instant::now() >= until {
                return Err(failure);
            }
            last = Some(failure);
            if tried % self.members.len() == 0 {
                let pause = PAUSE.mul_f64(0.5 + fastrand::f64());
                tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
            }
        }
    }

    /// Asks one member, with another token if the one that it got has ended.
    async fn attempt(&self, member: &Member, request: &TxnRequest) -> Result<TxnResponse, Failure> {
        let mut client =
            KvClient::new(member.channel.clone()).max_decoding_message_size(ANSWER_BYTES);
        let token = self.token(member).await?;
        let sent = client.txn(self.request(request.clone(), &token)).await;
        let answer = match sent.map_err(|status| self.failure(member, &status)) {
            Err(Failure::Token) if self.user.is_some() => {
                self.forget(&token);
                let token = self.token(member).await?;
                let sent = client.txn(self.request(request.clone(), &token)).await;
                sent.map_err(|status| self.failure(member, &status))?
            }
            answer => answer?,
        };
        let answer = answer.into_inner();
        self.check_cluster(member, answer.header.as_ref())?;
        Ok(answer)
    }

    /// Opens a stream of changes at the member that answered last, and at the next one when this is called again. The
    /// stream ends when the member has no leader.
    pub(super) async fn watch(
        &self,
        request: WatchRequest,
    ) -> Result<Streaming<WatchResponse>, Failure> {
        let (_, member) = self.member();
        let opened = timeout(ATTEMPT_LIMIT, async {
            let token = self.token(member).await?;
            let mut client = WatchClient::new(member.channel.clone());
            // The stream of requests stays open: its end would end the watch.
            let requests = futures_util::StreamExt::chain(
                tokio_stream::once(request),
                tokio_stream::pending(),
            );
            let opened = client.watch(self.request(requests, &token)).await;
            opened.map_err(|status| self.failure(member, &status))
        });
        let opened = opened.await.unwrap_or_else(|_| Err(silent(member)));
        Ok(opened?.into_inner())
    }

    /// The member that answered last.
    fn member(&self) -> (usize, &Member) {
        let at = self.good.load(Ordering::Relaxed) % self.members.len();
        (at, &self.members[at])
    }

    /// Leaves a member that failed, if nobody did before.
    fn next_member(&self, failed: usize) {
        let next = (failed + 1) % self.members.len();
        // Somebody else has left it already.
        let _ = self
            .good
            .compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn failure(&self, member: &Member, status: &tonic::Status) -> Failure {
        match (Failure::of(&member.name, status), member.refusal()) {
            (Failure::Away { member, .. }, Some(problem)) => Failure::Away { member, problem },
            (failure, _) => failure,
        }
    }

    /// Refuses a member that is of another cluster than the first one that answered: its revisions mean nothing.
    fn check_cluster(
        &self,
        member: &Member,
        header: Option<&ResponseHeader>,
    ) -> Result<(), Failure> {
        let cluster = header.map_or(0, |header| header.cluster_id);
        let seen = self
            .cluster
            .compare_exchange(0, cluster, Ordering::Relaxed, Ordering::Relaxed);
        match seen {
            Err(first) if first != cluster => Err(Failure::OtherCluster {
                member: member.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn request<T>(&self, message: T, token: &Option<MetadataValue<Ascii>>) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        // A member that has no leader answers so at once.
        metadata.insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = token {
            metadata.insert("token", token.clone());
        }
        request
    }

    /// A token, if etcd has users.
    async fn token(&self, member: &Member) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        let Some(user) = &self.user else {
            return Ok(None);
        };
        if let Some(token) = self.kept_token().clone() {
            return Ok(Some(token));
        }
        let password = read_password(user)?;
        let request = AuthenticateRequest {
            name: user.name.clone(),
            password,
        };
        let mut client = AuthClient::new(member.channel.clone());
        let token = match client.authenticate(self.request(request, &None)).await {
            Ok(answer) => answer.into_inner().token,
            // Users are not asked for their names there.
            Err(status) if status.message().contains("authentication is not enabled") => {
                return Ok(None);
            }
            Err(status) => return Err(self.failure(member, &status)),
        };
        let mut token: MetadataValue<Ascii> = token.parse().map_err(|_| Failure::Refused {
            member: member.name.clone(),
            problem: "its token is not text".to_owned(),
        })?;
        token.set_sensitive(true);
        *self.kept_token() = Some(token.clone());
        Ok(Some(token))
    }

    fn kept_token(&self) -> std::sync::MutexGuard<'_, Option<MetadataValue<Ascii>>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops a token that has ended, unless there is another one already.
    fn forget(&self, token: &Option<MetadataValue<Ascii>>) {
        let mut kept = self.kept_token();
        if *kept == *token {
            *kept = None;
        }
    }
}

fn silent(member: &Member) -> Failure {
    let problem = member.refusal();
    Failure::Away {
        member: member.name.clone(),
        problem: problem.unwrap_or_else(|| "no answer".to_owned()),
    }
}

fn read_password(user: &User) -> Result<String, Failure> {
    let file = &user.password_file;
    let wrong = |problem: String| Failure::File {
        problem: format!("{} (--etcd-password-file): {problem}", file.display()),
    };
    let bytes = dial::regular::read(file).map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not text".to_owned()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
