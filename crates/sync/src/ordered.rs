//! A map and a set in order, for code that a page loads: a list of boxes, searched by halves.
//!
//! The standard library's trees bring eight kilobytes of code for each pair of types, and the client has forty pairs:
//! they were a quarter of what a page loads. Here an insertion moves pointers only, one memory move for the whole list,
//! which at ten thousand entries is less than the search around it. What comes in order, as lists do, is put at the end.
//! Law: iteration is in the order of keys, as of the trees that this stands in for.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    ops::{Bound, Index, RangeBounds},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Sorts in place; equal items come in any order. The standard library's sorts are faster, and weigh twenty times as much.
pub(crate) fn sort_by<T>(items: &mut [T], mut is_before: impl FnMut(&T, &T) -> bool) {
    let mut sift = |items: &mut [T], mut at: usize| loop {
        let mut child = 2 * at + 1;
        if child + 1 < items.len() && is_before(&items[child], &items[child + 1]) {
            child += 1;
        }
        if child >= items.len() || !is_before(&items[at], &items[child]) {
            return;
        }
        items.swap(at, child);
        at = child;
    };
    (0..items.len() / 2).rev().for_each(|at| sift(items, at));
    for end in (1..items.len()).rev() {
        items.swap(0, end);
        sift(&mut items[..end], 0);
    }
}

/// Where what is looked for is, or where it would be; compiled once for all maps.
fn search(len: usize, compare: &mut dyn FnMut(usize) -> Ordering) -> Result<usize, usize> {
    // What comes in order is behind all others: that is looked at first.
    if len == 0 || compare(len - 1).is_lt() {
        return Err(len);
    }
    let (mut from, mut to) = (0, len);
    while from < to {
        let middle = from + (to - from) / 2;
        match compare(middle) {
            Ordering::Less => from = middle + 1,
            Ordering::Greater => to = middle,
            Ordering::Equal => return Ok(middle),
        }
    }
    Err(from)
}

/// A map in the order of its keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderedMap<K, V> {
    pairs: Vec<Box<(K, V)>>,
}

/// A set in order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderedSet<K> {
    map: OrderedMap<K, ()>,
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> OrderedMap<K, V> {
        OrderedMap { pairs: Vec::new() }
    }
}

impl<K, V> OrderedMap<K, V> {
    /// Makes an empty one.
    pub const fn new() -> OrderedMap<K, V> {
        OrderedMap { pairs: Vec::new() }
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.pairs.clear();
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + ExactSizeIterator + Clone {
        self.pairs.iter().map(|pair| (&pair.0, &pair.1))
    }

    /// The pairs in order, their values to be changed.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&K, &mut V)> + ExactSizeIterator {
        self.pairs.iter_mut().map(|pair| (&pair.0, &mut pair.1))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator + Clone {
        self.pairs.iter().map(|pair| &pair.0)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator + Clone {
        self.pairs.iter().map(|pair| &pair.1)
    }

    /// The values in the order of their keys, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> + ExactSizeIterator {
        self.pairs.iter_mut().map(|pair| &mut pair.1)
    }

    /// The values alone.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = V> + ExactSizeIterator {
        self.pairs.into_iter().map(|pair| pair.1)
    }

    /// The keys alone.
    pub fn into_keys(self) -> impl DoubleEndedIterator<Item = K> + ExactSizeIterator {
        self.pairs.into_iter().map(|pair| pair.0)
    }

    /// The first pair.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.pairs.first().map(|pair| (&pair.0, &pair.1))
    }

    /// The last pair.
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.pairs.last().map(|pair| (&pair.0, &pair.1))
    }

    /// Takes the first pair out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (!self.pairs.is_empty()).then(|| *self.pairs.remove(0))
    }

    /// Keeps the pairs for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.pairs.retain_mut(|pair| keep(&pair.0, &mut pair.1));
    }
}

impl<K: Ord, V> OrderedMap<K, V> {
    /// Where a key is, or where it would be.
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        search(self.pairs.len(), &mut |at| {
            self.pairs.get(at).map_or(Ordering::Greater, |pair| pair.0.borrow().cmp(key))
        })
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().and_then(|place| self.pairs.get(place)).map(|pair| &pair.1)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        self.pairs.get_mut(place).map(|pair| &mut pair.1)
    }

    /// Whether a key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).is_ok()
    }

    /// Gives a key a value, and returns the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(place) => self.pairs.get_mut(place).map(|pair| mem::replace(&mut pair.1, value)),
            Err(place) => {
                self.pairs.insert(place, Box::new((key, value)));
                None
            }
        }
    }

    /// Takes a key out, and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|place| self.pairs.remove(place).1)
    }

    /// The place of a key, there or not.
    pub fn entry(&mut self, key: K) -> OrderedEntry<'_, K, V> {
        OrderedEntry { map: self, key }
    }

    /// The pairs of a range of keys, in order.
    pub fn range<Q: Ord + ?Sized>(&self, range: impl RangeBounds<Q>) -> impl DoubleEndedIterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let at = |key: &Q, beyond: bool| match self.place(key) {
            Ok(place) => place + usize::from(beyond),
            Err(place) => place,
        };
        let from = match range.start_bound() {
            Bound::Included(key) => at(key, false),
            Bound::Excluded(key) => at(key, true),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(key) => at(key, true),
            Bound::Excluded(key) => at(key, false),
            Bound::Unbounded => self.pairs.len(),
        };
        self.pairs.get(from..to).unwrap_or_default().iter().map(|pair| (&pair.0, &pair.1))
    }
}

/// The place of a key in a map, there or not.
pub struct OrderedEntry<'a, K, V> {
    map: &'a mut OrderedMap<K, V>,
    key: K,
}

impl<'a, K: Ord, V> OrderedEntry<'a, K, V> {
    /// The value, which is made where there is none.
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'a mut V {
        let place = match self.map.place(&self.key) {
            Ok(place) => place,
            Err(place) => {
                self.map.pairs.insert(place, Box::new((self.key, make())));
                place
            }
        };
        &mut self.map.pairs[place].1
    }

    /// The value, or this one where there is none.
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    /// The value, or its type's default where there is none.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }
}

impl<K: Ord + Borrow<Q>, Q: Ord + ?Sized, V> Index<&Q> for OrderedMap<K, V> {
    type Output = V;

    /// Returns the value of a key that is there, as of every map; a test's convenience, and a panic where it is not.
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key is there")
    }
}

impl<K: Ord, V> Extend<(K, V)> for OrderedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        for (key, value) in pairs {
            drop(self.insert(key, value));
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> OrderedMap<K, V> {
        let mut map = OrderedMap::new();
        map.extend(pairs);
        map
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for OrderedMap<K, V> {
    fn from(pairs: [(K, V); N]) -> OrderedMap<K, V> {
        pairs.into_iter().collect()
    }
}

impl<K, V> IntoIterator for OrderedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Map<std::vec::IntoIter<Box<(K, V)>>, fn(Box<(K, V)>) -> (K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs.into_iter().map(|pair| *pair)
    }
}

impl<'a, K, V> IntoIterator for &'a OrderedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, Box<(K, V)>>, fn(&'a Box<(K, V)>) -> (&'a K, &'a V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs.iter().map(|pair| (&pair.0, &pair.1))
    }
}

impl<'a, K, V> IntoIterator for &'a mut OrderedMap<K, V> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = std::iter::Map<std::slice::IterMut<'a, Box<(K, V)>>, fn(&'a mut Box<(K, V)>) -> (&'a K, &'a mut V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs.iter_mut().map(|pair| (&pair.0, &mut pair.1))
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for OrderedMap<K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Serialize, V: Serialize> Serialize for OrderedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, K: Ord + Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for OrderedMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OrderedMap<K, V>, D::Error> {
        BTreeMap::deserialize(deserializer).map(|map| map.into_iter().collect())
    }
}

impl<K> Default for OrderedSet<K> {
    fn default() -> OrderedSet<K> {
        OrderedSet::new()
    }
}

impl<K> OrderedSet<K> {
    /// Makes an empty one.
    pub const fn new() -> OrderedSet<K> {
        OrderedSet { map: OrderedMap::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.map.clear();
    }

    /// All in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator + Clone {
        self.map.keys()
    }

    /// The first.
    pub fn first(&self) -> Option<&K> {
        self.map.first_key_value().map(|(key, ())| key)
    }

    /// The last.
    pub fn last(&self) -> Option<&K> {
        self.map.last_key_value().map(|(key, ())| key)
    }

    /// Takes the first out.
    pub fn pop_first(&mut self) -> Option<K> {
        self.map.pop_first().map(|(key, ())| key)
    }

    /// Keeps those for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.map.retain(|key, ()| keep(key));
    }
}

impl<K: Ord> OrderedSet<K> {
    /// Whether it is there.
    pub fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.map.contains_key(key)
    }

    /// Puts one in; says whether it was not there.
    pub fn insert(&mut self, key: K) -> bool {
        self.map.insert(key, ()).is_none()
    }

    /// Takes one out; says whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.map.remove(key).is_some()
    }
}

impl<K: Ord> Extend<K> for OrderedSet<K> {
    fn extend<I: IntoIterator<Item = K>>(&mut self, keys: I) {
        for key in keys {
            self.insert(key);
        }
    }
}

impl<K: Ord> FromIterator<K> for OrderedSet<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> OrderedSet<K> {
        let mut set = OrderedSet::new();
        set.extend(keys);
        set
    }
}

impl<K: Ord, const N: usize> From<[K; N]> for OrderedSet<K> {
    fn from(keys: [K; N]) -> OrderedSet<K> {
        keys.into_iter().collect()
    }
}

impl<K> IntoIterator for OrderedSet<K> {
    type Item = K;
    type IntoIter = std::iter::Map<std::vec::IntoIter<Box<(K, ())>>, fn(Box<(K, ())>) -> K>;

    fn into_iter(self) -> Self::IntoIter {
        self.map.pairs.into_iter().map(|pair| pair.0)
    }
}

impl<'a, K> IntoIterator for &'a OrderedSet<K> {
    type Item = &'a K;
    type IntoIter = std::iter::Map<std::slice::Iter<'a, Box<(K, ())>>, fn(&'a Box<(K, ())>) -> &'a K>;

    fn into_iter(self) -> Self::IntoIter {
        self.map.pairs.iter().map(|pair| &pair.0)
    }
}

impl<K: fmt::Debug> fmt::Debug for OrderedSet<K> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter()).finish()
    }
}

impl<K: Serialize> Serialize for OrderedSet<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, K: Ord + Deserialize<'de>> Deserialize<'de> for OrderedSet<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OrderedSet<K>, D::Error> {
        BTreeSet::deserialize(deserializer).map(|set| set.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is done to a map: a key, and whether it is put, taken out, or looked up to be made.
    fn deeds() -> impl Strategy<Value = Vec<(u8, u8)>> {
        proptest::collection::vec((0..40u8, 0..3u8), 0..200)
    }

    proptest! {
        #[test]
        fn a_map_holds_what_the_tree_of_the_standard_library_holds_core_12(deeds in deeds(), from in 0..40u8, to in 0..40u8) {
            let (mut map, mut tree) = (OrderedMap::new(), BTreeMap::new());
            for (place, (key, deed)) in deeds.into_iter().enumerate() {
                match deed {
                    0 => prop_assert_eq!(map.insert(key, place), tree.insert(key, place)),
                    1 => prop_assert_eq!(map.remove(&key), tree.remove(&key)),
                    _ => prop_assert_eq!(*map.entry(key).or_insert(place), *tree.entry(key).or_insert(place)),
                }
                prop_assert_eq!(map.get(&key), tree.get(&key));
            }
            prop_assert!(map.iter().eq(tree.iter()));
            prop_assert_eq!(map.first_key_value(), tree.first_key_value());
            let (from, to) = (from.min(to), from.max(to));
            prop_assert!(map.range::<u8>(from..to).eq(tree.range(from..to)));
            prop_assert!(map.range::<u8>(from..=to).eq(tree.range(from..=to)));
            map.retain(|key, _| key % 2 == 0);
            tree.retain(|key, _| key % 2 == 0);
            prop_assert_eq!(map.pop_first(), tree.pop_first());
            prop_assert!(map.into_iter().eq(tree));
        }

        #[test]
        fn what_is_sorted_is_in_order_and_all_there_core_12(mut items in proptest::collection::vec(any::<u16>(), 0..300)) {
            let mut expected = items.clone();
            expected.sort_unstable();
            sort_by(&mut items, |one, other| one < other);
            prop_assert_eq!(items, expected);
        }
    }
}
