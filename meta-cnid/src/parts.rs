//! The tasks of an agent. All are owned here, and none ends by itself but by failing.

use std::future::Future;

use tokio::task::JoinSet;

use super::AgentError;

/// How a task ended.
pub(super) type Ended = Result<(), AgentError>;

/// Tasks that work until they are stopped, and tasks that serve calls, which finish what was begun.
#[derive(Default)]
pub(super) struct Parts {
    working: JoinSet<Ended>,
    serving: JoinSet<Ended>,
}

impl Parts {
    /// Adds a task that works.
    pub(super) fn work(&mut self, task: impl Future<Output = Ended> + Send + 'static) {
        self.working.spawn(task);
    }

    /// Adds a task that serves calls until it is asked to stop.
    pub(super) fn serve(&mut self, task: impl Future<Output = Ended> + Send + 'static) {
        self.serving.spawn(task);
    }

    /// Waits for a task to end.
    pub(super) async fn first_to_end(&mut self) -> Ended {
        tokio::select! {
            ended = first_to_end(&mut self.working) => ended,
            ended = first_to_end(&mut self.serving) => ended,
        }
    }

    /// Ends the tasks that work.
    pub(super) async fn stop_work(&mut self) {
        self.working.shutdown().await;
    }

    /// Waits until all that serve have ended.
    pub(super) async fn served(&mut self) {
        while self.serving.join_next().await.is_some() {}
    }
}

async fn first_to_end(tasks: &mut JoinSet<Ended>) -> Ended {
    match tasks.join_next().await {
        Some(Ok(ended)) => ended,
        Some(Err(panic)) => Err(AgentError::Ended {
            part: "a task",
            source: Box::new(panic),
        }),
        None => std::future::pending().await,
    }
}

/// What a task's own error means for the agent.
pub(super) fn ended<E: std::error::Error + Send + Sync + 'static>(
    part: &'static str,
    result: Result<(), E>,
) -> Ended {
    result.map_err(|source| AgentError::Ended {
        part,
        source: Box::new(source),
    })
}

/// Does what is not for the threads of the async runtime: work with files.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
