//! Set operations converge without a merge (CORE-07).
//!
//! After any order of arrival in which operations on one element keep theirs (each device sends its own in order), a
//! set has the same elements; between devices the later arrival decides about an element, and all see one order.
//! Counters are sums by the database, and a sum needs no order.

use antiphon_sync::elements;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// What one operation adds and removes.
type Operation = (Vec<u8>, Vec<u8>);

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    vec((vec(0..12_u8, 0..4), vec(0..12_u8, 0..4)), 0..12)
}

fn values(numbers: &[u8]) -> Vec<Value> {
    numbers.iter().map(|number| json!(number)).collect()
}

fn applied(base: &[u8], operations: &[Operation]) -> Vec<Value> {
    let apply = |set: Vec<Value>, (add, remove): &Operation| elements(&set, &values(add), &values(remove));
    operations.iter().fold(elements(&values(base), &[], &[]), apply)
}

fn sorted(mut set: Vec<Value>) -> Vec<Value> {
    set.sort_by_key(Value::as_u64);
    set
}

/// The operation as one of another device, which names other elements: those of the second half.
fn elsewhere((add, remove): &Operation) -> Operation {
    let other = |numbers: &[u8]| numbers.iter().map(|number| number + 12).collect();
    (other(add), other(remove))
}

/// Two devices' operations, each in its own order, as they happen to arrive.
fn interleaved(one: &[Operation], other: &[Operation], turns: &[bool]) -> Vec<Operation> {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    let mut turns = turns.iter().cycle();
    let mut all = Vec::new();
    while one.peek().is_some() || other.peek().is_some() {
        let first = turns.next() == Some(&true);
        let next = if first { one.next().or_else(|| other.next()) } else { other.next().or_else(|| one.next()) };
        all.extend(next.cloned());
    }
    all
}

proptest! {
    #[test]
    fn a_set_has_the_same_elements_after_any_order_of_arrival_between_elements_core_07(
        base in vec(0..24_u8, 0..8), one in operations(), other in operations(), turns in vec(any::<bool>(), 1..16),
    ) {
        let other: Vec<Operation> = other.iter().map(elsewhere).collect();
        let in_turn: Vec<Operation> = one.iter().chain(&other).cloned().collect();
        let mixed = applied(&base, &interleaved(&one, &other, &turns));
        prop_assert_eq!(sorted(mixed), sorted(applied(&base, &in_turn)));
    }

    #[test]
    fn additions_alone_and_removals_alone_need_no_order_core_07(
        base in vec(0..12_u8, 0..8),
        (sent, arrived) in operations().prop_flat_map(|sent| (Just(sent.clone()), Just(sent).prop_shuffle())),
    ) {
        for only in [|(add, _): &Operation| (add.clone(), vec![]), |(_, remove): &Operation| (vec![], remove.clone())] {
            let [sent, arrived] = [&sent, &arrived].map(|all| all.iter().map(only).collect::<Vec<Operation>>());
            prop_assert_eq!(sorted(applied(&base, &sent)), sorted(applied(&base, &arrived)));
        }
    }

    #[test]
    fn a_set_operation_applied_twice_in_a_row_changes_nothing_more_core_07(base in vec(0..12_u8, 0..8), one in operations()) {
        // What an operation adds wins over what it removes, and each element is there once.
        for operation in &one {
            let once = applied(&base, std::slice::from_ref(operation));
            let twice = applied(&base, &[operation.clone(), operation.clone()]);
            prop_assert_eq!(sorted(once.clone()), sorted(twice));
            let added = values(&operation.0);
            prop_assert!(added.iter().all(|element| once.iter().filter(|other| *other == element).count() == 1));
        }
    }
}
