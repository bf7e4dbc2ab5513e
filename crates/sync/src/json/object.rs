//! An object: its members in their order, each name once.
//!
//! Laws: a value that comes again under a name takes the first one's place; a member that is taken out leaves its place
//! to the last one, as in serde_json's objects, so that what is written stays the same to the byte. Two objects are
//! equal whatever their orders are.

use crate::{json::Value, ordered::sort_by};

/// Up to so many members are compared each with each.
const FEW: usize = 32;

/// Values by name, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Object {
    members: Vec<(String, Value)>,
}

impl Object {
    /// Makes an empty one.
    pub const fn new() -> Object {
        Object { members: Vec::new() }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&String, &Value)> + ExactSizeIterator + Clone {
        self.members.iter().map(|(name, value)| (name, value))
    }

    /// The names.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &String> + ExactSizeIterator + Clone {
        self.members.iter().map(|(name, _)| name)
    }

    /// The values.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Value> + ExactSizeIterator + Clone {
        self.members.iter().map(|(_, value)| value)
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|(held, _)| held == name)
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.place(name).map(|place| &self.members[place].1)
    }

    /// The value of that name, to be changed.
    pub fn value_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.place(name).map(|place| &mut self.members[place].1)
    }

    /// Whether there is a value of that name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// Puts a value under a name, in the place of one that was there.
    pub fn insert(&mut self, name: String, value: Value) {
        match self.place(&name) {
            Some(place) => self.members[place].1 = value,
            None => self.members.push((name, value)),
        }
    }

    /// Takes a value out; the last member comes into its place.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.place(name).map(|place| self.members.swap_remove(place).1)
    }

    /// Keeps the members that are to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&String, &Value) -> bool) {
        self.members.retain(|(name, value)| keep(name, value));
    }

    /// The places of members, in the order of names; of one name the first comes first.
    fn by_name(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.len()).collect();
        let key = |place: &usize| (self.members[*place].0.as_str(), *place);
        sort_by(&mut places, |one, other| key(one) < key(other));
        places
    }

    /// Tells whether no name is there twice, if that is soon told.
    fn is_plainly_settled(&self) -> bool {
        let is_first = |(at, (name, _)): (usize, &(String, Value))| self.place(name) == Some(at);
        self.len() <= FEW && self.members.iter().enumerate().all(is_first)
    }

    /// Puts the last of those with one name in the place of the first.
    fn settle(&mut self) {
        if self.is_plainly_settled() {
            return;
        }
        let mut again = vec![false; self.len()];
        let mut first = 0;
        for place in self.by_name() {
            if place > first && self.members[place].0 == self.members[first].0 {
                self.members.swap(place, first);
                again[place] = true;
            } else {
                first = place;
            }
        }
        let mut again = again.into_iter();
        self.members.retain(|_| again.next() != Some(true));
    }

    /// Tells whether both have the same names, with values of which `same` says that they are.
    pub fn all_same(&self, other: &Object, same: fn(&Value, &Value) -> bool) -> bool {
        if self.len() != other.len() {
            return false;
        }
        if self.keys().eq(other.keys()) {
            return self.values().zip(other.values()).all(|(one, other)| same(one, other));
        }
        self.by_name().into_iter().zip(other.by_name()).all(|(one, two)| {
            let (one, two) = (&self.members[one], &other.members[two]);
            one.0 == two.0 && same(&one.1, &two.1)
        })
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        self.all_same(other, Value::eq)
    }
}

impl Extend<(String, Value)> for Object {
    fn extend<I: IntoIterator<Item = (String, Value)>>(&mut self, members: I) {
        self.members.extend(members);
        self.settle();
    }
}

impl FromIterator<(String, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(members: I) -> Object {
        let mut object = Object { members: members.into_iter().collect() };
        object.settle();
        object
    }
}

impl<const N: usize> From<[(&str, Value); N]> for Object {
    fn from(members: [(&str, Value); N]) -> Object {
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

impl<'a> IntoIterator for &'a Object {
    type Item = (&'a String, &'a Value);
    type IntoIter =
        std::iter::Map<std::slice::Iter<'a, (String, Value)>, fn(&'a (String, Value)) -> (&'a String, &'a Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.iter().map(|(name, value)| (name, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;
    use crate::form;

    /// Members with names that come again, few or more than are compared each with each.
    fn members() -> impl Strategy<Value = Vec<(String, u32)>> {
        let some = |most: usize| proptest::collection::vec(("[a-c]{0,4}", any::<u32>()), 0..most);
        prop_oneof![some(8), some(4 * FEW)]
    }

    fn of(members: &[(String, u32)]) -> Object {
        members.iter().map(|(name, value)| (name.clone(), Value::from(*value))).collect()
    }

    fn plain(members: &[(String, u32)]) -> Map<String, serde_json::Value> {
        members.iter().map(|(name, value)| (name.clone(), (*value).into())).collect()
    }

    proptest! {
        #[test]
        fn an_object_holds_what_serdes_holds_in_the_same_order_core_12(
            held in members(), more in members(), names in proptest::collection::vec("[a-c]{0,2}", 0..20),
        ) {
            let (mut ours, mut serdes) = (of(&held), plain(&held));
            prop_assert_eq!(form::text(&ours), serde_json::to_string(&serdes).unwrap());
            ours.extend(of(&more));
            serdes.extend(plain(&more));
            for name in &names {
                prop_assert_eq!(ours.get(name).cloned().map(serde_json::Value::from), serdes.get(name).cloned());
                prop_assert_eq!(ours.remove(name).map(serde_json::Value::from), serdes.remove(name));
                ours.insert(name.repeat(2), 7.into());
                serdes.insert(name.repeat(2), 7.into());
            }
            ours.retain(|name, _| name.len() != 3);
            serdes.retain(|name, _| name.len() != 3);
            prop_assert_eq!(form::text(&ours), serde_json::to_string(&serdes).unwrap());
        }

        #[test]
        fn objects_are_equal_where_serdes_are_whatever_their_order_core_12(
            mut one in members(), other in members(), turn in 0..40usize,
        ) {
            prop_assert_eq!(of(&one) == of(&other), plain(&one) == plain(&other));
            let held = of(&one);
            one = held.iter().map(|(name, value)| (name.clone(), u32::try_from(value.as_u64().unwrap()).unwrap())).collect();
            let places = one.len().max(1);
            one.rotate_left(turn % places);
            prop_assert_eq!(&of(&one), &held);
            if let Some((_, value)) = one.first_mut() {
                *value ^= 1;
                prop_assert_ne!(of(&one), held);
            }
        }
    }

    /// Time of this thread on a processor, in nanoseconds, where the system says: other processes take theirs.
    fn used_ns() -> Option<u64> {
        std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
    }

    /// Reads and compares an object of many members, in an order that is not that of their names, and each name twice.
    fn handles(many: u32) -> Option<u64> {
        let names = (0..many).chain(0..many).map(|at| at.wrapping_mul(2_654_435_761));
        let members: Vec<String> = names.map(|name| format!("\"{name}\":{name}")).collect();
        let text = format!("{{{}}}", members.join(","));
        let began = used_ns();
        let held: Value = form::from_text(&text).unwrap();
        let Value::Object(object) = &held else { panic!("{held} is no object") };
        assert_eq!(object.len(), many as usize);
        let turned: Object = object.iter().rev().map(|(name, value)| (name.clone(), value.clone())).collect();
        assert_eq!(&turned, object);
        assert!(crate::client::same(&Value::Object(turned), &held));
        Some(used_ns()?.saturating_sub(began?))
    }

    #[test]
    fn a_document_with_many_members_is_read_and_compared_in_the_time_of_sorting_core_11() {
        let (some, many) = (handles(4_000), handles(40_000));
        // Ten times as many take thirteen times as long; where each name is compared with each, a hundred times.
        assert!(many <= some.map(|some| some * 50), "{some:?} and {many:?} ns");
    }
}
