//! Natural numbers of any size, as far as reading and writing fractions exactly needs them.
//!
//! Law: leading zeros are never kept, so that the longer of two is the greater. It refuses to be fast: what is usual is
//! computed without it.

use std::cmp::Ordering;

/// A number, its lowest 32 bits first and without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Large(Vec<u32>);

impl Large {
    pub(super) fn of(number: u64) -> Large {
        let mut large = Large(vec![number as u32, (number >> 32) as u32]);
        large.trim();
        large
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// How many binary digits it has.
    pub(super) fn bits(&self) -> i32 {
        let highest = self.0.last().map_or(0, |part| part.leading_zeros());
        (self.0.len() as i32) * 32 - highest as i32
    }

    /// Multiplies by a small number and adds another.
    pub(super) fn times(&mut self, factor: u32, plus: u32) {
        let mut carried = u64::from(plus);
        for part in &mut self.0 {
            carried += u64::from(*part) * u64::from(factor);
            *part = carried as u32;
            carried >>= 32;
        }
        if carried > 0 {
            self.0.push(carried as u32);
        }
    }

    /// Multiplies by a power of ten.
    pub(super) fn times_ten(&mut self, power: i32) {
        (0..power).for_each(|_| self.times(10, 0));
    }

    /// Multiplies by a power of two.
    pub(super) fn double(&mut self, times: i32) {
        if !self.0.is_empty() {
            self.0.splice(0..0, (0..times / 32).map(|_| 0));
            self.times(1 << (times % 32), 0);
        }
    }

    pub(super) fn add(&mut self, other: &Large) {
        let mut carried = 0;
        for at in 0..self.0.len().max(other.0.len()) {
            if at == self.0.len() {
                self.0.push(0);
            }
            carried += u64::from(self.0[at]) + u64::from(other.0.get(at).copied().unwrap_or(0));
            self.0[at] = carried as u32;
            carried >>= 32;
        }
        if carried > 0 {
            self.0.push(carried as u32);
        }
    }

    /// Takes a number away that is not greater.
    pub(super) fn subtract(&mut self, other: &Large) {
        let mut lent = 0;
        for (at, part) in self.0.iter_mut().enumerate() {
            let less = i64::from(*part) - i64::from(other.0.get(at).copied().unwrap_or(0)) - lent;
            *part = less as u32;
            lent = i64::from(less < 0);
        }
        self.trim();
    }

    pub(super) fn compare(&self, other: &Large) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}
