//! From which value of its cursor column a table is read again, so that no row is missed that commits late (CAP-40).
//!
//! A row is stamped when its transaction begins and becomes visible when it ends: what was read up to may have been
//! passed by rows with older values (PL-04). Whoever was running when the table was looked at began after a known moment,
//! so its values lie above a known bound, and the next look begins there. Laws: the highest value read never goes back;
//! a source's clock that steps back widens what is read again and loses nothing (PL-06); nothing here asks a clock.

use std::{collections::VecDeque, time::Duration};

/// Rounded values, values of an application's own clock, and the moment in which a transaction is not reported yet.
pub(super) const MARGIN_MICROS: i64 = 2_000_000;
/// A clock that falls behind by more than this has stepped back.
const STEP_MICROS: i64 = 1_000_000;
/// So many looks are remembered; with more, the oldest are told apart less finely.
const LOOKS_MAX: usize = 1_024;

/// What a cursor's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Moments of the source's clock: whoever runs writes nothing older than its own beginning.
    Timed,
    /// Values that only rise, such as those of a sequence, or a time without its zone: whoever runs writes nothing below
    /// what was there before it began.
    Ranked,
}

/// A place in a cursor's values, as Postgres prints them; moments also as microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// As it is printed.
    pub(super) text: String,
    /// Microseconds since 1970, of a moment; 0 otherwise.
    pub(super) micros: i64,
}

/// What was seen before a table was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The source's clock, in microseconds.
    pub(super) clock: i64,
    /// When the oldest transaction that was running began; the clock where none was.
    pub(super) oldest: i64,
    /// Whether prepared transactions wait, whose beginning is not known.
    pub(super) prepared: bool,
}

/// The lower bound of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Everything.
    Beginning,
    /// Moments from here on, in microseconds.
    Moment(i64),
    /// Values from here on, as printed.
    Value(String),
}

/// How far a table was read.
#[derive(Clone, Debug)]
pub(super) struct Window {
    kind: Kind,
    /// The highest value read.
    watermark: Option<Value>,
    /// Below this, everything that ever commits was read.
    from: From,
    /// The highest clock seen, and the highest value read then; both rise.
    looks: VecDeque<(i64, Option<Value>)>,
    /// The clock of the last look.
    clock: Option<i64>,
}

impl Window {
    /// Goes on from what was kept; `clock` is the source's at the last look, where there was one.
    pub(super) fn new(kind: Kind, watermark: Option<Value>, from: From, clock: Option<i64>) -> Window {
        Window { kind, watermark, from, looks: VecDeque::new(), clock }
    }

    /// The highest value read.
    pub(super) fn watermark(&self) -> Option<&Value> {
        self.watermark.as_ref()
    }

    /// The source's clock at the last look.
    pub(super) fn clock(&self) -> Option<i64> {
        self.clock
    }

    /// What to keep of where the next read begins.
    pub(super) fn from(&self) -> &From {
        &self.from
    }

    /// By how much the clock has stepped back since the last look, which was so long ago by our own clock.
    pub(super) fn step(&self, look: Look, since: Option<Duration>) -> i64 {
        let Some(before) = self.clock else { return 0 };
        let since = since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
        let behind = before.saturating_add(since).saturating_sub(look.clock);
        if behind > STEP_MICROS { behind } else { 0 }
    }

    /// Returns where to read from.
    pub(super) fn begin(&self, step: i64) -> From {
        match &self.from {
            From::Moment(at) => From::Moment(at.saturating_sub(MARGIN_MICROS).saturating_sub(step)),
            other => other.clone(),
        }
    }

    /// Takes in a read that began with `look` and came to its end, `highest` being the highest value that it met.
    pub(super) fn end(&mut self, look: Look, highest: Option<Value>) {
        let risen = |highest: &Value| match (self.kind, &self.watermark) {
            (Kind::Timed, Some(before)) => highest.micros > before.micros,
            _ => true,
        };
        self.watermark = highest.filter(risen).or(self.watermark.take());
        let next = match self.kind {
            Kind::Timed => {
                let read = self.watermark.as_ref().map_or(i64::MAX, |value| value.micros);
                Some(From::Moment(read.min(look.oldest).min(look.clock)))
            }
            Kind::Ranked => self.ranked(look),
        };
        self.from = match (next, &self.from) {
            (None, from) => from.clone(),
            // A prepared transaction was running or not there at the look before: its values lie above what held then.
            (Some(From::Moment(next)), From::Moment(from)) if look.prepared => From::Moment(next.min(*from)),
            (Some(_), from) if look.prepared => from.clone(),
            (Some(next), _) => next,
        };
        self.clock = Some(look.clock);
    }

    /// What was read when everybody who runs had not begun yet.
    fn ranked(&mut self, look: Look) -> Option<From> {
        // By a clock that was set back nobody's beginning can be told from an earlier one's, until it has caught up.
        let known = self.looks.iter().rev().find(|(clock, _)| *clock < look.oldest);
        let next = known.and_then(|(_, value)| value.as_ref()).map(|value| From::Value(value.text.clone()));
        let before = self.looks.back().map(|(clock, _)| *clock).or(self.clock).unwrap_or(look.clock);
        let highest = before.max(look.clock);
        self.looks.push_back((highest, self.watermark.clone()));
        if self.looks.len() > LOOKS_MAX {
            // To leave looks out reads more again, never less.
            let mut index = 0;
            self.looks.retain(|_| {
                index += 1;
                index % 2 == 0
            });
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(micros: i64) -> Value {
        Value { text: micros.to_string(), micros }
    }

    fn look(clock: i64, oldest: i64) -> Look {
        Look { clock, oldest, prepared: false }
    }

    const S: i64 = 1_000_000;

    #[test]
    fn who_runs_keeps_the_window_open_at_its_own_beginning_pl_04() {
        let mut window = Window::new(Kind::Timed, None, From::Beginning, None);
        window.end(look(100 * S, 100 * S), Some(value(99 * S)));
        assert_eq!(window.begin(0), From::Moment(97 * S), "nobody runs: from the highest value, and the margin");
        window.end(look(110 * S, 60 * S), Some(value(109 * S)));
        assert_eq!(window.begin(0), From::Moment(58 * S), "who has run since 60 writes nothing older");
        window.end(look(120 * S, 120 * S), Some(value(119 * S)));
        assert_eq!((window.begin(0), window.watermark().unwrap().micros), (From::Moment(117 * S), 119 * S));
        window.end(Look { prepared: true, ..look(130 * S, 130 * S) }, Some(value(129 * S)));
        assert_eq!(window.begin(0), From::Moment(117 * S), "a prepared one holds what held before it");
    }

    #[test]
    fn a_clock_that_steps_back_widens_the_window_and_never_moves_the_highest_value_pl_06() {
        let mut window = Window::new(Kind::Timed, None, From::Beginning, None);
        window.end(look(1_000 * S, 1_000 * S), Some(value(1_000 * S)));
        // Ten seconds later by our clock, the source says an hour less.
        let now = look(1_010 * S - 3_600 * S, 1_010 * S - 3_600 * S);
        let step = window.step(now, Some(Duration::from_secs(10)));
        assert_eq!(step, 3_600 * S);
        assert_eq!(window.begin(step), From::Moment((1_000 - 2 - 3_600) * S), "what was written since is read");
        window.end(now, None);
        assert_eq!(window.watermark().unwrap().micros, 1_000 * S);
        assert_eq!(window.step(look(now.clock + S, now.clock + S), Some(Duration::from_secs(1))), 0);
        assert_eq!(window.begin(0), From::Moment((1_010 - 2 - 3_600) * S), "until the clock has caught up");
        // Without knowing how long ago, what the clock itself says is the least.
        assert_eq!(window.step(look(now.clock - 5 * S, now.clock), None), 5 * S);
    }

    #[test]
    fn values_without_a_clock_are_bounded_by_what_was_there_before_pl_04_pl_06() {
        let mut window = Window::new(Kind::Ranked, None, From::Value("5".into()), None);
        window.end(look(10, 10), Some(value(50)));
        assert_eq!(window.begin(0), From::Value("5".into()), "who began before the first look may write anything");
        window.end(look(20, 20), Some(value(60)));
        assert_eq!(window.begin(0), From::Value("50".into()), "who begins now writes above what was there at 10");
        window.end(look(30, 15), Some(value(70)));
        assert_eq!(window.begin(0), From::Value("50".into()), "who runs since 15 too");
        window.end(look(40, 35), Some(value(80)));
        assert_eq!(window.begin(0), From::Value("70".into()));
        window.end(look(12, 12), Some(value(90)));
        assert_eq!(window.begin(0), From::Value("50".into()), "12 may be before 20 or after 40");
        window.end(look(50, 50), Some(value(95)));
        assert_eq!(window.begin(0), From::Value("90".into()));
    }

    proptest! {
        #[test]
        fn prop_every_value_that_commits_late_lies_in_the_window_pl_04(
            steps in prop::collection::vec((0_usize..3, 0_usize..3, 0_usize..8, 1_i64..5), 1..60),
            timed in any::<bool>(),
        ) {
            // Transactions begin and end; one takes its value when it begins (a time) or later (a sequence's number).
            let kind = if timed { Kind::Timed } else { Kind::Ranked };
            let (mut clock, mut number) = (1_000 * S, 0_i64);
            let from = if timed { From::Moment(clock) } else { From::Value("0".into()) };
            let mut window = Window::new(kind, None, from, None);
            let mut running: Vec<(i64, i64)> = Vec::new();
            let (mut committed, mut read): (Vec<i64>, Vec<i64>) = Default::default();
            for (begun, ended, which, passed) in steps {
                clock += passed * S;
                for _ in 0..begun {
                    number += 1;
                    running.push((clock, if timed { clock } else { number }));
                }
                for _ in 0..ended.min(running.len()) {
                    committed.push(running.remove(which % running.len()).1);
                }
                let now = look(clock, running.iter().map(|(at, _)| *at).min().unwrap_or(clock));
                let from = match window.begin(window.step(now, None)) {
                    From::Beginning => i64::MIN,
                    From::Moment(at) => at,
                    From::Value(text) => text.parse().unwrap(),
                };
                let (found, missed): (Vec<i64>, Vec<i64>) =
                    committed.iter().filter(|value| !read.contains(value)).partition(|value| **value >= from);
                prop_assert!(missed.is_empty(), "{missed:?} lie below {from}");
                read.extend(found);
                window.end(now, read.iter().max().copied().map(value));
                clock += 1;
            }
        }
    }
}
