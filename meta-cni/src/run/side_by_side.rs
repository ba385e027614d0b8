//! Work on several items at once, in plain threads, with the outcomes in the items' order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Does `work` on every item, at most `workers` at once; this thread is one of them. Items are begun
/// in order. With `stop`, no further item is begun once one has failed: its outcome is then `None`.
pub(super) fn side_by_side<T: Sync, R: Send, E: Send>(
    items: &[T],
    workers: usize,
    stop: bool,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Vec<Option<Result<R, E>>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let span = tracing::Span::current();
    let worker = || {
        let _entered = span.enter();
        let mut done = Vec::new();
        while !(stop && failed.load(Ordering::Acquire)) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let outcome = work(item);
            if outcome.is_err() {
                failed.store(true, Ordering::Release);
            }
            done.push((index, outcome));
        }
        done
    };
    let done = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..workers.min(items.len()))
            .map(|_| scope.spawn(worker))
            .collect();
        let mut done = worker();
        for helper in helpers {
            match helper.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    let mut outcomes: Vec<_> = std::iter::repeat_with(|| None).take(items.len()).collect();
    for (index, outcome) in done {
        outcomes[index] = Some(outcome);
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn outcomes_stand_in_the_order_of_the_items() {
        for workers in [1, 2, 8] {
            let outcomes = side_by_side(&[1, 2, 3, 4, 5], workers, false, |n| {
                if n % 2 == 0 { Err(*n) } else { Ok(*n) }
            });
            assert_eq!(
                outcomes,
                [
                    Some(Ok(1)),
                    Some(Err(2)),
                    Some(Ok(3)),
                    Some(Err(4)),
                    Some(Ok(5))
                ]
            );
        }
    }

    #[test]
    fn as_many_as_allowed_are_at_work_at_once() {
        let barrier = Barrier::new(3);
        let outcomes = side_by_side(&[(), (), ()], 3, false, |()| {
            barrier.wait();
            Ok::<_, ()>(())
        });
        assert_eq!(outcomes.len(), 3);
    }

    #[test]
    fn nothing_is_begun_after_a_failure_if_so_asked() {
        let outcomes = side_by_side(
            &[1, 2, 3],
            1,
            true,
            |n| if *n == 2 { Err(()) } else { Ok(()) },
        );
        assert_eq!(outcomes, [Some(Ok(())), Some(Err(())), None]);
    }
}
