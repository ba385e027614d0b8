//! A socket in the file system that stays reachable: its file is made again when somebody removed it, and it is
//! bound anew when the folder is gone.

use std::path::Path;
use std::time::Duration;

use process::socket::{PathState, Published, SocketError};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::{ListenError, Open, bind_unix, publish};
use crate::readiness::Readiness;

/// How often the socket is checked.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps a socket reachable until it is dropped, and its file is removed with it. Listeners that take the place of the
/// first one go to `listeners`; why nobody reaches the server is shown by `readiness`.
pub async fn keep(
    mut socket: Published,
    listeners: mpsc::Sender<UnixListener>,
    readiness: Readiness,
) {
    let path = socket.path().to_owned();
    let subject = format!("unix://{}", path.display());
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        match socket.check().await {
            Ok(PathState::Ours | PathState::Lost) => readiness.solved(&subject),
            Ok(PathState::Taken) => readiness.report(
                &subject,
                format!("another process listens at {}; stop it", path.display()),
            ),
            Err(error) => {
                report(&readiness, &subject, &error);
                let Some(listener) = bind_anew(&path, &readiness, &subject).await else {
                    continue;
                };
                socket = listener.1;
                if listeners.send(listener.0).await.is_err() {
                    return;
                }
                readiness.solved(&subject);
                tracing::warn!(socket = %path.display(), "the socket's folder was lost: the socket is bound anew");
            }
        }
    }
}

async fn bind_anew(
    path: &Path,
    readiness: &Readiness,
    subject: &str,
) -> Option<(UnixListener, Published)> {
    let bound = async { publish(bind_unix(path).await?).await };
    match bound.await {
        Ok(Open::Unix(listener, socket)) => Some((listener, socket)),
        Ok(Open::Tcp(_)) => None,
        Err(ListenError::Io { source, .. }) => {
            let path = path.to_owned();
            report(readiness, subject, &SocketError { path, source });
            None
        }
        Err(error) => {
            readiness.report(subject, error.to_string());
            None
        }
    }
}

fn report(readiness: &Readiness, subject: &str, error: &SocketError) {
    readiness.report(
        subject,
        format!("nobody reaches the server: {error}: {}", error.source),
    );
}
