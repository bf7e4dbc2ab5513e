//! What a live list was said to hold, kept so that a change costs what changed, and not the list (CORE-12, DESK-08).
//!
//! Whoever shows a list asks what is different since it asked last. Laws: carrying the answers out one after another
//! gives exactly what `query` gives; a row is looked at again only where it was told as one that may look different, or
//! where the shape by which the list is measured is another. It decides nothing that `query` does not decide.

use std::{borrow::Cow, mem};

use super::{
    super::{
        Client, EntityKey,
        subset::{Measure, Place, Subset},
    },
    Subsets,
};
use crate::{
    form::Written,
    json::Object,
    ordered::{OrderedMap, OrderedSet, sort_by},
};

/// Where so many rows and more may look different, and a quarter of the list, it is made anew.
const ANEW_ROWS: usize = 64;

/// A row of a list as a person sees it, with its index.
pub type Come<'a> = (usize, (String, Cow<'a, Object>));

/// What is different about a list since it was asked about last.
#[derive(Debug, Written)]
pub struct Changes<'a> {
    /// Whether all of its rows are here.
    pub complete: bool,
    /// Why the list cannot be had: the server's code, or `NOT_COMPARABLE`.
    pub refused: Option<String>,
    /// Whether it begins empty: what was said before is void.
    pub anew: bool,
    /// Indices of rows that go, to be taken out in this order.
    pub gone: Vec<usize>,
    /// Rows that come, or come back, to be put in at their indices in this order.
    pub come: Vec<Come<'a>>,
    /// How many rows remain then; those behind them go.
    pub rows: usize,
}

/// What one list was said to hold.
#[derive(Debug, Default)]
pub(super) struct Showing {
    /// How its rows are measured; `None` where it is to be made anew.
    measure: Option<Measure>,
    /// All its rows in order, those beyond its window too.
    places: Vec<Place>,
    /// The same by id.
    by_id: OrderedMap<String, Place>,
    /// Rows that may look different by now.
    stale: OrderedSet<String>,
}

impl Showing {
    /// Takes note that a row may look different.
    fn may_differ(&mut self, row: &EntityKey) {
        if self.measure.is_none() {
            return;
        }
        self.stale.insert(row.entity_id.clone());
        if self.stale.len() > ANEW_ROWS.max(self.places.len() / 4) {
            (self.measure, self.stale) = (None, OrderedSet::new());
        }
    }

    /// Begins with these rows, and nothing said before.
    fn begin(&mut self, places: Vec<Place>) {
        self.stale.clear();
        self.by_id.clear();
        for place in &places {
            self.by_id.insert(place.id().to_owned(), place.clone());
        }
        self.places = places;
    }

    /// Returns how many rows are shown.
    fn len(&self, subset: &Subset) -> usize {
        self.places.len().min(subset.window_rows.unwrap_or(usize::MAX))
    }

    /// Takes rows out, and puts those that are still of the subset in where they belong; returns which indices go, each
    /// after those before it, and which come, in order.
    fn change(&mut self, subset: &Subset, measure: &Measure, mut places: Vec<Place>) -> (Vec<usize>, Vec<usize>) {
        // So many rows at the front are shown already; behind them everything is new to the window.
        let mut shown = self.len(subset);
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for id in mem::take(&mut self.stale) {
            let Some(former) = self.by_id.remove(&id) else { continue };
            let first = self.places.partition_point(|place| subset.compare(measure, place, &former).is_lt());
            // Keys that say the same number in other digits stand together.
            let Some(behind) = self.places.iter().skip(first).position(|place| *place == former) else { continue };
            let at = first + behind;
            self.places.remove(at);
            if at < shown {
                gone.push(at);
                shown -= 1;
            }
        }
        sort_by(&mut places, |one, other| subset.compare(measure, one, other).is_lt());
        for place in places {
            let at = self.places.partition_point(|other| subset.compare(measure, other, &place).is_lt());
            self.by_id.insert(place.id().to_owned(), place.clone());
            self.places.insert(at, place);
            if at <= shown {
                come.push(at);
                shown += 1;
            }
        }
        let rows = self.len(subset);
        come.retain(|at| *at < rows);
        come.extend(shown.min(rows)..rows);
        (gone, come)
    }
}

impl Subsets {
    /// Takes note that these rows may look different.
    pub(in super::super) fn may_differ(&mut self, rows: &[EntityKey]) {
        for (number, showing) in &mut self.showing {
            let Some((_, subset)) = self.wanted.get(number) else { continue };
            rows.iter().filter(|row| row.entity_type == subset.entity_type).for_each(|row| showing.may_differ(row));
        }
    }
}

impl Client {
    /// Returns what is different about a subset since this was asked last; `None` where there is no such subscription.
    pub fn changes(&mut self, subscription: u64) -> Option<Changes<'_>> {
        let (_, subset) = self.subsets.wanted.get(&subscription)?;
        let name = subset.entity_type.clone();
        let (complete, refused) = self.standing(subscription);
        let mut showing = self.subsets.showing.remove(&subscription).unwrap_or_default();
        let shape = self.schema.as_ref().and_then(|schema| schema.types.get(&name));
        let measure = shape.map(|shape| subset.measure(shape));
        let anew = measure.is_none() || showing.measure != measure;
        let (gone, come) = match &measure {
            Some(measure) if !anew => {
                let places = showing.stale.iter().filter_map(|id| self.place_of(subset, measure, id)).collect();
                showing.change(subset, measure, places)
            }
            _ => {
                showing.begin(measure.as_ref().map_or_else(Vec::new, |measure| self.places_of(subset, measure)));
                (Vec::new(), (0..showing.len(subset)).collect())
            }
        };
        let rows = showing.len(subset);
        showing.measure = measure;
        let ids: Vec<(usize, String)> = come.into_iter().map(|at| (at, showing.places[at].id().to_owned())).collect();
        self.subsets.showing.insert(subscription, showing);
        let row = |id: &str| self.shown_row(&EntityKey::new(&name, id));
        let come = ids.into_iter().filter_map(|(at, id)| row(&id).map(|row| (at, (id, row)))).collect();
        Some(Changes { complete, refused, anew, gone, come, rows })
    }

    /// Returns where the rows of a subset stand, in order and beyond its window.
    pub(super) fn places_of(&self, subset: &Subset, measure: &Measure) -> Vec<Place> {
        let name = &subset.entity_type;
        let confirmed = self.rows_of(name).into_iter().flat_map(|rows| rows.rows.keys());
        let only_here = self.outbox.entities().filter(|row| row.entity_type == *name && self.row(row).is_none());
        let ids = confirmed.chain(only_here.map(|row| &row.entity_id));
        let mut places: Vec<Place> = ids.filter_map(|id| self.place_of(subset, measure, id)).collect();
        sort_by(&mut places, |one, other| subset.compare(measure, one, other).is_lt());
        places
    }

    /// Returns where a row stands; `None` where it is not of the subset, or is not there.
    fn place_of(&self, subset: &Subset, measure: &Measure, id: &str) -> Option<Place> {
        let row = self.shown_row(&EntityKey::new(&subset.entity_type, id))?;
        subset.holds(measure, &row).then(|| subset.place(id, &row))
    }
}
