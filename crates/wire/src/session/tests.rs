//! Claims about the session, each by a short script of inputs at given times.

use antiphon_model::POSTGRES_EPOCH_MICROS;
use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn session() -> Session {
    Session::new(Config::default(), Lsn::new(100), ms(0), Micros(POSTGRES_EPOCH_MICROS))
}

fn keepalive(end: u64, reply: bool) -> Input {
    let mut frame = BytesMut::new();
    frame.put_u8(b'k');
    frame.put_u64(end);
    frame.put_i64(7);
    frame.put_u8(u8::from(reply));
    Input::CopyData(frame.freeze())
}

fn log_data(start: u64, payload: &[u8]) -> Input {
    let mut frame = BytesMut::new();
    frame.put_u8(b'w');
    frame.put_u64(start);
    frame.put_u64(start);
    frame.put_i64(7);
    frame.put_slice(payload);
    Input::CopyData(frame.freeze())
}

fn drain(session: &mut Session) -> Vec<Output> {
    std::iter::from_fn(|| session.poll()).collect()
}

/// Reads (written, flushed, applied, reply) out of a status.
fn status(output: &Output) -> (u64, u64, u64, bool) {
    let Output::Send(bytes) = output else { panic!("not a status: {output:?}") };
    let field = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    (field(1), field(9), field(17), bytes[33] == 1)
}

#[test]
fn a_keepalive_that_asks_is_answered_at_once_with_what_is_durable_cap_14() {
    let mut session = session();
    session.handle(ms(1), Input::Acknowledge(Lsn::new(110))).unwrap();
    session.handle(ms(2), keepalive(200, true)).unwrap();
    let outputs = drain(&mut session);
    assert_eq!(outputs[0], Output::Progress { lsn: Lsn::new(200), server_time: Micros(POSTGRES_EPOCH_MICROS + 7) });
    assert_eq!(status(&outputs[1]), (200, 110, 110, false));
    assert_eq!(outputs.len(), 2);
}

#[test]
fn the_end_of_log_data_is_never_acknowledged_pg_06() {
    let mut session = session();
    session.handle(ms(1), log_data(500, b"payload")).unwrap();
    assert_eq!(drain(&mut session), [Output::Payload(Bytes::from_static(b"payload"))]);
    session.handle(ms(5_000), Input::Tick).unwrap();
    assert_eq!(status(&drain(&mut session)[0]), (500, 0, 0, false));
}

#[test]
fn an_open_transaction_holds_back_progress() {
    let mut session = session();
    session.transaction_open(true);
    session.handle(ms(1), keepalive(200, false)).unwrap();
    assert_eq!(drain(&mut session), []);
    session.transaction_open(false);
    session.handle(ms(2), keepalive(200, false)).unwrap();
    assert_eq!(drain(&mut session).len(), 1);
}

#[test]
fn acknowledgements_within_ten_milliseconds_share_one_status_and_never_go_back() {
    let mut session = session();
    session.handle(ms(100), Input::Acknowledge(Lsn::new(110))).unwrap();
    assert_eq!(status(&drain(&mut session)[0]).1, 110);
    session.handle(ms(101), Input::Acknowledge(Lsn::new(120))).unwrap();
    session.handle(ms(102), Input::Acknowledge(Lsn::new(130))).unwrap();
    session.handle(ms(103), Input::Acknowledge(Lsn::new(105))).unwrap();
    assert_eq!(drain(&mut session), []);
    assert_eq!(session.deadline(), ms(110));
    session.handle(ms(110), Input::Tick).unwrap();
    assert_eq!(status(&drain(&mut session)[0]).1, 130);
    assert_eq!(session.acknowledged(), Lsn::new(130));
}

#[test]
fn a_silent_server_is_asked_and_then_declared_dead_once_pg_36() {
    let mut session = session();
    session.handle(ms(14_999), Input::Tick).unwrap();
    assert!(drain(&mut session).iter().all(|output| !status(output).3));
    session.handle(ms(15_000), Input::Tick).unwrap();
    assert!(status(&drain(&mut session)[0]).3);
    session.handle(ms(30_000), Input::Tick).unwrap();
    let dead = Output::Dead { silent_for: ms(30_000) };
    assert_eq!(drain(&mut session).iter().filter(|output| **output == dead).count(), 1);
    session.handle(ms(31_000), Input::Tick).unwrap();
    assert!(!drain(&mut session).contains(&dead));
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let mut session = session();
    for second in 1..100 {
        session.handle(ms(second * 1000), log_data(500 + second, b"")).unwrap();
    }
    let outputs = drain(&mut session);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Dead { .. })));
    let statuses = outputs.iter().filter(|output| matches!(output, Output::Send(_))).count();
    assert!((18..=20).contains(&statuses), "a status every five seconds, found {statuses}");
}

#[test]
fn a_caller_that_reads_nothing_blames_nobody_and_still_sends_statuses_pg_35() {
    let mut session = session();
    for second in 1..100 {
        session.handle(ms(second * 1000), Input::Unread).unwrap();
    }
    let outputs = drain(&mut session);
    assert!(outputs.iter().all(|output| matches!(output, Output::Send(_))), "{outputs:?}");
    assert!((18..=20).contains(&outputs.len()), "a status every five seconds, found {}", outputs.len());
    session.handle(ms(99_000 + 30_000), Input::Tick).unwrap();
    assert!(drain(&mut session).iter().any(|output| matches!(output, Output::Dead { .. })));
}

proptest! {
    #[test]
    fn prop_acknowledged_stays_below_durable_and_deadlines_lie_ahead(
        steps in prop::collection::vec((0u8..6, 0u64..2_000, 0u64..8_000), 1..200)
    ) {
        let mut session = session();
        let (mut now, mut durable, mut told) = (Duration::ZERO, 0, 0);
        for (kind, position, wait) in steps {
            now += ms(wait);
            let input = match kind {
                0 => { durable = durable.max(position); Input::Acknowledge(Lsn::new(position)) }
                1 => keepalive(position, false),
                2 => keepalive(position, true),
                3 => log_data(position, b"x"),
                4 => Input::Unread,
                _ => Input::Tick,
            };
            session.handle(now, input).unwrap();
            for output in drain(&mut session) {
                if let Output::Send(_) = output {
                    let (_, flushed, applied, _) = status(&output);
                    prop_assert!(flushed <= durable && flushed >= told && flushed == applied);
                    told = flushed;
                }
            }
            prop_assert!(session.deadline() > now, "a tick at the deadline would not advance");
        }
    }
}
