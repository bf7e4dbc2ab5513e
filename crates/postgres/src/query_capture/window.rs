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
    /// The clocks of looks as they would be had none been set back, and the highest value read before each; both rise.
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

    /// Takes in a read that began with `look`, `step` behind its clock, and came to its end, `highest` being the highest
    /// value that it met.
    pub(super) fn end(&mut self, look: Look, step: i64, highest: Option<Value>) {
        let before = self.watermark.clone();
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
            Kind::Ranked => self.ranked(look, step, before),
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

    /// What was read before everybody who runs had begun. Whoever begins between a look and the read that follows it may
    /// stay below what that read meets: only what was read before the look counts.
    fn ranked(&mut self, look: Look, step: i64, before: Option<Value>) -> Option<From> {
        // By a clock that was set back nobody's beginning can be told from an earlier one's, until it has caught up.
        let passed = self.looks.back().map(|(clock, _)| *clock).or(self.clock).unwrap_or(look.clock);
        self.looks.push_back((passed.max(look.clock.saturating_add(step)), before));
        let known = self.looks.iter().rev().find(|(clock, _)| *clock <= look.oldest);
        let next = known.and_then(|(_, value)| value.as_ref()).map(|value| From::Value(value.text.clone()));
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
        window.end(look(100 * S, 100 * S), 0, Some(value(99 * S)));
        assert_eq!(window.begin(0), From::Moment(97 * S), "nobody runs: from the highest value, and the margin");
        window.end(look(110 * S, 60 * S), 0, Some(value(109 * S)));
        assert_eq!(window.begin(0), From::Moment(58 * S), "who has run since 60 writes nothing older");
        window.end(look(120 * S, 120 * S), 0, Some(value(119 * S)));
        assert_eq!((window.begin(0), window.watermark().unwrap().micros), (From::Moment(117 * S), 119 * S));
        window.end(Look { prepared: true, ..look(130 * S, 130 * S) }, 0, Some(value(129 * S)));
        assert_eq!(window.begin(0), From::Moment(117 * S), "a prepared one holds what held before it");
    }

    #[test]
    fn a_clock_that_steps_back_widens_the_window_and_never_moves_the_highest_value_pl_06() {
        let mut window = Window::new(Kind::Timed, None, From::Beginning, None);
        window.end(look(1_000 * S, 1_000 * S), 0, Some(value(1_000 * S)));
        // Ten seconds later by our clock, the source says an hour less.
        let now = look(1_010 * S - 3_600 * S, 1_010 * S - 3_600 * S);
        let step = window.step(now, Some(Duration::from_secs(10)));
        assert_eq!(step, 3_600 * S);
        assert_eq!(window.begin(step), From::Moment((1_000 - 2 - 3_600) * S), "what was written since is read");
        window.end(now, step, None);
        assert_eq!(window.watermark().unwrap().micros, 1_000 * S);
        assert_eq!(window.step(look(now.clock + S, now.clock + S), Some(Duration::from_secs(1))), 0);
        assert_eq!(window.begin(0), From::Moment((1_010 - 2 - 3_600) * S), "until the clock has caught up");
        // Without knowing how long ago, what the clock itself says is the least.
        assert_eq!(window.step(look(now.clock - 5 * S, now.clock), None), 5 * S);
    }

    #[test]
    fn values_without_a_clock_are_bounded_by_what_was_there_before_pl_04_pl_06() {
        let mut window = Window::new(Kind::Ranked, Some(value(5)), From::Value("5".into()), None);
        window.end(look(10, 10), 0, Some(value(50)));
        assert_eq!(window.begin(0), From::Value("5".into()), "who begins right after the look may stay below 50");
        window.end(look(20, 20), 0, Some(value(60)));
        assert_eq!(window.begin(0), From::Value("50".into()), "who begins at 20 writes above what was read before");
        window.end(look(30, 15), 0, Some(value(70)));
        assert_eq!(window.begin(0), From::Value("5".into()), "who runs since 15 began after the look at 10");
        window.end(look(40, 35), 0, Some(value(80)));
        assert_eq!(window.begin(0), From::Value("60".into()));
        window.end(look(12, 12), 0, Some(value(90)));
        assert_eq!(window.begin(0), From::Value("5".into()), "12 may be before 20 or after 40");
        window.end(look(50, 50), 0, Some(value(95)));
        assert_eq!(window.begin(0), From::Value("90".into()));
        // Who began right before the clock was set back has a later beginning than the looks that follow.
        window.end(look(25, 55), 35, Some(value(96)));
        assert_eq!(window.begin(0), From::Value("90".into()), "60 by the clock of before");
    }

    proptest! {
        #[test]
        fn prop_every_value_that_commits_late_lies_in_the_window_pl_04(
            steps in prop::collection::vec(((0_usize..3, 0_usize..3, 0_usize..8), (0_usize..3, 0_usize..3, 0_usize..8)), 1..60),
            timed in any::<bool>(),
        ) {
            let kind = if timed { Kind::Timed } else { Kind::Ranked };
            let from = if timed { From::Moment(0) } else { From::Value("0".into()) };
            let mut window = Window::new(kind, Some(value(0)), from, None);
            let mut world = World { timed, ..World::default() };
            for (before, between) in steps {
                world.pass(before);
                let now = look(world.clock, world.running.iter().map(|(at, _)| *at).min().unwrap_or(world.clock));
                // Some begin and end after the look and before the read.
                world.pass(between);
                let from = match window.begin(0) {
                    From::Beginning => i64::MIN,
                    From::Moment(at) => at + MARGIN_MICROS,
                    From::Value(text) => text.parse().unwrap(),
                };
                let unread = world.committed.iter().copied().filter(|value| !world.read.contains(value));
                let (found, missed): (Vec<i64>, Vec<i64>) = unread.partition(|value| *value >= from);
                prop_assert!(missed.is_empty(), "{missed:?} lie below {from}");
                world.read.extend(found);
                window.end(now, 0, world.read.iter().max().copied().map(value));
            }
        }
    }

    /// Transactions that begin and end; each takes its value at its beginning, a time or a sequence's number.
    #[derive(Default)]
    struct World {
        timed: bool,
        clock: i64,
        number: i64,
        running: Vec<(i64, i64)>,
        committed: Vec<i64>,
        read: Vec<i64>,
    }

    impl World {
        fn pass(&mut self, (begun, ended, which): (usize, usize, usize)) {
            for _ in 0..begun {
                (self.clock, self.number) = (self.clock + 1, self.number + 1);
                self.running.push((self.clock, if self.timed { self.clock } else { self.number }));
            }
            for _ in 0..ended.min(self.running.len()) {
                let ended = self.running.remove(which % self.running.len());
                self.committed.push(ended.1);
            }
            self.clock += 1;
        }
    }
}
