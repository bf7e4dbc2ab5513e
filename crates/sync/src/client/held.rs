//! A subset as far as it was read: which of its pages came, what each had seen, and how it goes on (CORE-12).
//!
//! Laws: a row enters only where a page that covers its place did not see the change that brings it; beyond the last page
//! nothing enters, because the next page will bring it; a window that has lost rows reads on, one that has grown far
//! beyond its size is cut. Nothing about who wants the subset is in here.

use antiphon_model::{Visibility, Xid};
use serde::{Deserialize, Serialize};

use super::{
    rows::Row,
    subset::{Place, Subset},
    words::TypeShape,
};
use crate::{
    form::{Form, Written},
    json::{Object, Value},
    ordered::sort_by,
};

/// Rows of a page at most.
pub const PAGE_ROWS: usize = 1_000;
/// A window is not cut before it has grown by so many rows.
const SPARE_ROWS: usize = 10;

/// A page of a subset: the place of its last row and what it saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
struct Page {
    upto: Option<Place>,
    snapshot: Visibility,
}

/// A subset whose rows are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
pub struct Held {
    /// What it is.
    pub subset: Subset,
    /// When it was wanted last; greater is later.
    pub used: u64,
    #[serde(default)]
    pages: Vec<Page>,
    #[serde(default)]
    next: Option<String>,
    /// Whether its end was cut off: it cannot be read on from there, only anew.
    #[serde(default)]
    cut: bool,
    /// Whether all its rows are here, up to its window.
    #[serde(default)]
    whole: bool,
    /// Whether rows entered or left since its window was counted.
    #[serde(skip)]
    moved: bool,
}

/// What a subset says of a change of a row that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The row is not of it, or a page to come brings it.
    No,
    /// The row enters.
    Enters,
    /// The page that covers its place has seen the change, and the row was not in it.
    Seen,
}

impl Held {
    /// Begins a subset of which nothing was read.
    pub fn begin(subset: Subset, used: u64) -> Held {
        Held { subset, used, pages: Vec::new(), next: None, cut: false, whole: false, moved: false }
    }

    /// Tells whether all its rows are here, up to its window.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Returns what is to be asked next: where the page before ended, and how many rows; `None` where it is whole.
    pub fn wants(&self) -> Option<(Option<String>, usize)> {
        let rows = self.subset.window_rows.map_or(PAGE_ROWS, |rows| rows.clamp(1, PAGE_ROWS));
        (!self.whole).then(|| (self.next.clone(), rows))
    }

    /// Takes note of a page whose rows have been put in place; `last` is the last of them.
    pub fn page(&mut self, next: Option<String>, last: Option<Place>, snapshot: Visibility) {
        let upto = if next.is_some() { last } else { None };
        self.pages.push(Page { upto, snapshot });
        self.whole = next.is_none();
        self.next = next;
        self.moved = true;
    }

    /// Forgets what was read: it is listed from its beginning, while its rows stay.
    pub fn restart(&mut self) {
        (self.next, self.cut, self.whole) = (None, false, false);
        self.pages.clear();
    }

    /// Tells whether a row that is here is of it, as far as it was read.
    pub fn keeps(&self, shape: &TypeShape, id: &str, data: &Object) -> bool {
        if !self.subset.matches(shape, data) {
            return false;
        }
        // While it is being read, what is here already stays for the pages that will bring it.
        let reading = !self.whole && !self.cut;
        reading || self.page_of(shape, &self.subset.place(id, data)).is_some()
    }

    /// Says whether a change brings in a row that is not here.
    pub fn entry(&self, shape: &TypeShape, id: &str, data: &Object, xid: Xid) -> Entry {
        if !self.subset.matches(shape, data) {
            return Entry::No;
        }
        match self.page_of(shape, &self.subset.place(id, data)) {
            None => Entry::No,
            Some(page) if page.snapshot.sees(xid) => Entry::Seen,
            Some(_) => Entry::Enters,
        }
    }

    fn page_of(&self, shape: &TypeShape, place: &Place) -> Option<&Page> {
        let covers = |page: &&Page| match &page.upto {
            Some(upto) => self.subset.order(shape, place, upto).is_le(),
            None => true,
        };
        self.pages.iter().find(covers)
    }

    /// Takes note that a row was in it before a change, or is after it.
    pub fn moved(&mut self) {
        self.moved |= self.subset.window_rows.is_some();
    }

    /// Tells whether its window is to be counted.
    pub fn is_uncounted(&self) -> bool {
        self.moved && self.subset.window_rows.is_some()
    }

    /// Counts its window: one with too few rows reads on, one with far too many is cut, and tells so.
    pub fn count<'a>(&mut self, shape: &TypeShape, rows: impl Iterator<Item = (&'a String, &'a Row)>) -> bool {
        let Some(window_rows) = self.subset.window_rows else { return false };
        if !std::mem::take(&mut self.moved) || self.pages.is_empty() {
            return false;
        }
        let more = self.next.is_some() || self.cut;
        let measure = self.subset.measure(shape);
        let inside = rows.filter(|(_, row)| self.subset.holds(&measure, &row.data));
        let places = inside.map(|(id, row)| self.subset.place(id, &row.data));
        let mut places: Vec<Place> = places.filter(|place| self.page_of(shape, place).is_some()).collect();
        if places.len() < window_rows && more {
            if self.cut {
                self.restart();
            }
            self.whole = false;
            return false;
        }
        self.whole = true;
        if places.len() <= window_rows.saturating_mul(2).max(window_rows + SPARE_ROWS) {
            return false;
        }
        sort_by(&mut places, |one, other| self.subset.compare(&measure, one, other).is_lt());
        // Some remain, so that the next row that leaves does not make it read anew.
        self.cut_behind(shape, places.swap_remove(window_rows + SPARE_ROWS / 2));
        true
    }

    fn cut_behind(&mut self, shape: &TypeShape, last: Place) {
        let behind = |page: &Page| match &page.upto {
            Some(upto) => self.subset.order(shape, &last, upto).is_le(),
            None => true,
        };
        if let Some(at) = self.pages.iter().position(behind) {
            self.pages.truncate(at + 1);
            self.pages[at].upto = Some(last);
            (self.next, self.cut) = (None, true);
        }
    }
}

/// Returns about how many bytes fields take.
pub fn bytes_of<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>) -> usize {
    fields.map(|(name, value)| name.len() + weight(value)).sum()
}

fn weight(value: &Value) -> usize {
    // A value in memory takes more than its text: 32 bytes for itself.
    32 + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Object(fields) => bytes_of(fields.iter()),
    }
}
