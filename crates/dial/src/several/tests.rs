use std::cell::RefCell;

use tokio::time::sleep;

use super::*;

/// What a server does with a call.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Answers after so many milliseconds.
    Answers(u64),
    /// Is of no use, for a moment or for good.
    IsAway(bool),
    /// Nothing.
    Hangs,
}

use Does::{Answers, Hangs, IsAway};

/// Who was asked when (milliseconds), and what came of it.
async fn asked(
    servers: &[Does],
    preferred: &Preferred,
    deadline: Option<u64>,
    patience: u64,
) -> (Vec<(u64, usize)>, Result<usize, Option<usize>>) {
    let begin = Instant::now();
    let log = RefCell::new(Vec::new());
    let time = Time {
        deadline: deadline.map(|millis| begin + Duration::from_millis(millis)),
        patience: begin + Duration::from_millis(patience),
    };
    let answer = ask(servers.len(), preferred, time, |at| {
        let millis = begin.elapsed().as_millis();
        log.borrow_mut().push((u64::try_from(millis).unwrap(), at));
        let does = servers[at];
        async move {
            match does {
                Answers(after) => {
                    sleep(Duration::from_millis(after)).await;
                    Ok(at)
                }
                IsAway(is_transient) => Err(Away {
                    why: at,
                    is_transient,
                }),
                Hangs => std::future::pending().await,
            }
        }
    });
    let answer = answer.await;
    (log.into_inner(), answer)
}

#[tokio::test(start_paused = true)]
async fn the_server_that_answered_last_is_asked_first() {
    let preferred = Preferred::default();
    let servers = [IsAway(true), Answers(1), Answers(1)];
    let (log, answer) = asked(&servers, &preferred, Some(5_000), 5_000).await;
    assert_eq!((log, answer), (vec![(0, 0), (0, 1)], Ok(1)));
    let (log, answer) = asked(&servers, &preferred, Some(5_000), 5_000).await;
    assert_eq!((log, answer), (vec![(0, 1)], Ok(1)));
    let servers = [Answers(1), Answers(1), IsAway(true)];
    let preferred = Preferred::new(2);
    let (log, answer) = asked(&servers, &preferred, None, 0).await;
    assert_eq!((log, answer), (vec![(0, 2), (0, 0)], Ok(0)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_has_its_share_of_the_time_and_may_still_be_the_first() {
    let preferred = Preferred::default();
    let servers = [Hangs, Hangs, Answers(10)];
    let (log, answer) = asked(&servers, &preferred, Some(3_000), 3_000).await;
    assert_eq!((log, answer), (vec![(0, 0), (1_000, 1), (2_000, 2)], Ok(2)));
    assert_eq!(preferred.get(), 2);
    let preferred = Preferred::default();
    let (log, answer) = asked(&[Answers(2_500), Hangs], &preferred, None, 0).await;
    assert_eq!((log, answer), (vec![(0, 0), (2_000, 1)], Ok(0)));
    assert_eq!(preferred.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_patient_asks_all_again_until_one_is_of_use() {
    let begin = Instant::now();
    let preferred = Preferred::default();
    let is_back = || begin.elapsed() > Duration::from_millis(400);
    let time = Time {
        deadline: Some(begin + Duration::from_secs(5)),
        patience: begin + Duration::from_secs(5),
    };
    let answer = ask(3, &preferred, time, |at| async move {
        match at {
            0 => std::future::pending().await,
            2 if is_back() => Ok(at),
            at => Err(Away {
                why: at,
                is_transient: true,
            }),
        }
    });
    // The first one hangs: its share of the time was 1.7 s.
    assert_eq!(answer.await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_twice_without_patience_or_without_hope() {
    let preferred = Preferred::default();
    let (log, answer) = asked(&[IsAway(true); 2], &preferred, Some(5_000), 0).await;
    assert_eq!((log, answer), (vec![(0, 0), (0, 1)], Err(Some(1))));
    let (log, answer) = asked(&[IsAway(false); 2], &preferred, Some(5_000), 5_000).await;
    assert_eq!((log, answer), (vec![(0, 0), (0, 1)], Err(Some(1))));
    let (log, answer) = asked(&[IsAway(true)], &preferred, Some(5_000), 120).await;
    let expected = vec![(0, 0), (50, 0), (100, 0), (150, 0)];
    assert_eq!((log, answer), (expected, Err(Some(0))));
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline() {
    for (servers, patience, expected) in [
        (&[Hangs][..], 0, None),
        (&[Hangs, Hangs, Hangs], 5_000, None),
        (&[IsAway(true), Hangs], 5_000, Some(0)),
        (&[IsAway(true)], 60_000, Some(0)),
    ] {
        let begin = Instant::now();
        let (_, answer) = asked(servers, &Preferred::default(), Some(3_000), patience).await;
        assert_eq!(answer, Err(expected), "{servers:?}");
        let took = begin.elapsed();
        assert!(
            took >= Duration::from_millis(2_950),
            "{servers:?}: {took:?}"
        );
        assert!(
            took <= Duration::from_millis(3_050),
            "{servers:?}: {took:?}"
        );
    }
}
