//! The rows as the server confirmed them, and how lists and activities change them (protocol 4, CORE-11, SY-19..22).
//!
//! Laws: a row never goes back: what the page that brought it has seen is not applied to it again; rows, position, epoch
//! and access change together; a list that begins anew is built beside the old rows and takes their place when it is
//! whole, so generations never mix. Nothing optimistic is in here.

mod parts;

use std::collections::VecDeque;

use antiphon_model::{Visibility, Xid};
use serde::{Deserialize, Serialize};

use super::{
    EntityKey,
    held::Held,
    keys,
    recent::Recent,
    store::{Dirty, Record},
    words::{Action, Activity, Item, Listed, Tx, TypeShape},
};
use crate::{
    form::{Form, Written},
    json::Object,
    ordered::OrderedMap,
};

/// Who wrote a row last, and which mutation each of its fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Form, Written)]
pub struct Versions {
    /// The newest mutation of the row.
    #[serde(default)]
    pub row: Option<String>,
    /// Who made it.
    #[serde(default)]
    pub actor: Option<String>,
    /// When it was committed, as the server wrote it.
    #[serde(default)]
    pub at: Option<String>,
    /// By field; `*` stands for those without an entry.
    #[serde(default)]
    pub fields: OrderedMap<String, String>,
}

impl Versions {
    fn of(tx: Option<&Tx>) -> Versions {
        let Some(tx) = tx else { return Versions::default() };
        let mut fields = tx.fields.clone();
        if !fields.contains_key("*") {
            fields.insert("*".into(), tx.transaction_id.clone());
        }
        Versions { row: Some(tx.transaction_id.clone()), actor: tx.actor.clone(), at: None, fields }
    }

    /// Returns the newest id of a field; `None` where it has none.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).or_else(|| self.fields.get("*")).map(String::as_str)
    }

    fn change(&mut self, activity: &Activity) {
        let tx = activity.tx.as_ref();
        let named = tx.and_then(|tx| tx.changed_field.as_ref());
        for field in activity.changed_keys.iter().chain(named) {
            match tx {
                Some(tx) => {
                    let id = tx.fields.get(field).unwrap_or(&tx.transaction_id);
                    self.fields.insert(field.clone(), id.clone());
                }
                None => drop(self.fields.remove(field)),
            }
        }
        self.row = tx.map(|tx| tx.transaction_id.clone());
        self.actor = tx.and_then(|tx| tx.actor.clone());
        self.at = activity.created_at.clone();
    }
}

/// A confirmed row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Form, Written)]
pub struct Row {
    /// Its fields.
    pub data: Object,
    /// Who wrote them.
    pub versions: Versions,
    /// Fields whose values are too long to come along; what was fetched apart is among the fields as well.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub omitted: Object,
    /// What the answer saw that brought it, where it came apart from the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<Visibility>,
    /// Which page of the list brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Option<usize>,
}

/// What an activity did to the rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrived {
    /// Nothing: it was known already, or is of no interest.
    Ignored,
    /// The row is there in a new form.
    Put,
    /// The row left.
    Gone(Box<Row>),
    /// All rows of the type left.
    Cleared(Vec<String>),
    /// The row is to be fetched before it can be shown.
    Incomplete,
}

/// What was seen of so many rows is remembered after they went; of more, an older form may show for a moment.
const LET_GO_MAX: usize = 256;

/// A page of a list: its last id and what it saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
struct Page {
    upto: Option<String>,
    snapshot: Visibility,
}

/// The rows of one type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TypeRows {
    /// By id.
    pub rows: OrderedMap<String, Row>,
    /// What is kept about them.
    pub marks: TypeMarks,
    /// What an answer saw of rows that are not here, the latest last: the stream may lag behind it.
    let_go: VecDeque<(String, Visibility)>,
    /// What the stream said lately; only of types that are kept in parts.
    pub recent: Recent,
}

/// What is kept about the rows of a type besides them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Form, Written)]
pub struct TypeMarks {
    /// The generation under which its rows are stored.
    pub generation: u32,
    /// Whether the list is whole.
    pub complete: bool,
    /// Everything up to here is in the rows.
    pub offset: u64,
    /// The number of the shape.
    pub schema: u32,
    /// Where the list goes on, while it is not whole.
    #[serde(default)]
    pub next: Option<String>,
    #[serde(default)]
    pages: Vec<Page>,
    /// The parts that are kept, by their keys; none where the whole type is.
    #[serde(default, skip_serializing_if = "OrderedMap::is_empty")]
    pub subsets: OrderedMap<String, Held>,
    /// Rows that were looked for and are not there, with what the answer saw; only of types that are kept in parts.
    #[serde(default, skip_serializing_if = "OrderedMap::is_empty")]
    pub absent: OrderedMap<String, Option<Visibility>>,
}

impl TypeRows {
    /// Takes over what was kept.
    pub fn kept(rows: OrderedMap<String, Row>, marks: TypeMarks) -> TypeRows {
        TypeRows { rows, marks, ..TypeRows::default() }
    }

    /// Begins an empty list.
    pub fn begin(generation: u32) -> TypeRows {
        let marks = TypeMarks { generation, offset: u64::MAX, ..TypeMarks::default() };
        TypeRows { marks, ..TypeRows::default() }
    }

    /// Takes a page; the caller has checked that it belongs to the same epoch and access as the pages before.
    pub fn page(&mut self, name: &str, shape: &TypeShape, listed: Listed, snapshot: Visibility, dirty: &mut Dirty) {
        if self.marks.pages.last().is_none_or(|page| page.snapshot != snapshot) {
            self.marks.pages.push(Page { upto: None, snapshot });
        }
        let page = self.marks.pages.len() - 1;
        let mut last = None;
        for item in listed.items {
            let Some(id) = shape.id_of(&item.data) else { continue };
            dirty.put(Record::row(self.marks.generation, name, &id));
            self.rows.insert(id.clone(), Row { page: Some(page), ..Row::listed(item, None) });
            last = Some(id);
        }
        self.marks.pages[page].upto = if listed.next.is_some() { last } else { None };
        // A page in the middle may have been asked for at a later head; the lowest position misses nothing.
        self.marks.offset = self.marks.offset.min(listed.offset);
        self.marks.schema = listed.schema;
        self.marks.complete = listed.next.is_none();
        self.marks.next = listed.next;
    }

    /// Tells whether what a row shows, or that it is not there, was read with a transaction in sight.
    pub fn saw(&self, shape: &TypeShape, id: &str, xid: Xid) -> bool {
        self.read_under(shape, id).is_some_and(|snapshot| snapshot.sees(xid))
    }

    /// Returns the snapshot under which what a row shows, or that it is not there, was read.
    pub fn read_under(&self, shape: &TypeShape, id: &str) -> Option<&Visibility> {
        let of_page = |page: usize| self.marks.pages.get(page).map(|page| &page.snapshot);
        let own = self.rows.get(id).and_then(|row| row.snapshot.as_ref().or_else(|| row.page.and_then(of_page)));
        let absent = || self.marks.absent.get(id).and_then(Option::as_ref);
        let let_go = || self.let_go.iter().rev().find(|(left, _)| left == id).map(|(_, snapshot)| snapshot);
        own.or_else(absent).or_else(let_go).or_else(|| self.page_of(shape, id))
    }

    fn page_of(&self, shape: &TypeShape, id: &str) -> Option<&Visibility> {
        let covers = |page: &&Page| page.upto.as_deref().is_none_or(|upto| keys::order(shape, id, upto).is_le());
        self.marks.pages.iter().find(covers).map(|page| &page.snapshot)
    }

    /// Takes a row that was fetched apart; `None` where there is none.
    pub fn fetched(&mut self, name: &str, id: &str, item: Option<Item>, snapshot: &Visibility, dirty: &mut Dirty) {
        dirty.put(Record::row(self.marks.generation, name, id));
        match item {
            Some(item) => drop(self.rows.insert(id.to_owned(), Row::listed(item, Some(snapshot.clone())))),
            None => {
                self.rows.remove(id);
                self.remember(id, snapshot.clone());
            }
        }
    }

    /// Remembers for a while what was seen of a row that is not here any more.
    fn remember(&mut self, id: &str, snapshot: Visibility) {
        if self.let_go.len() >= LET_GO_MAX {
            self.let_go.pop_front();
        }
        self.let_go.push_back((id.to_owned(), snapshot));
    }

    /// Takes an activity; those at or below the type's position change nothing.
    pub fn apply(&mut self, shape: &TypeShape, activity: &Activity, dirty: &mut Dirty) -> Arrived {
        let Some(id) = &activity.entity_id else { return self.clear(activity, dirty) };
        if self.saw(shape, id, activity.commit.xid) {
            return Arrived::Ignored;
        }
        let record = Record::row(self.marks.generation, &activity.entity_type, id);
        if activity.action == Action::Delete {
            let Some(row) = self.rows.remove(id) else { return Arrived::Ignored };
            dirty.put(record);
            return Arrived::Gone(Box::new(row));
        }
        let Some(data) = &activity.data else { return Arrived::Ignored };
        let known = self.rows.get_mut(id);
        if known.is_none() && !activity.unchanged.is_empty() {
            return Arrived::Incomplete;
        }
        match known {
            Some(row) if activity.action == Action::Update => row.update(activity, data),
            Some(row) => *row = Row { snapshot: row.snapshot.take(), page: row.page, ..Row::created(activity, data) },
            None => drop(self.rows.insert(id.clone(), Row::created(activity, data))),
        }
        dirty.put(record);
        Arrived::Put
    }

    /// Everything goes, but for what a page brought that had seen the truncation itself.
    fn clear(&mut self, activity: &Activity, dirty: &mut Dirty) -> Arrived {
        let xid = activity.commit.xid;
        let pages = &self.marks.pages;
        let newer = |row: &Row| {
            let page = || row.page.and_then(|page| pages.get(page)).map(|page| &page.snapshot);
            row.snapshot.as_ref().or_else(page).is_some_and(|snapshot| snapshot.sees(xid))
        };
        let ids: Vec<String> = self.rows.iter().filter(|(_, row)| !newer(row)).map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.rows.remove(id);
            dirty.put(Record::row(self.marks.generation, &activity.entity_type, id));
        }
        Arrived::Cleared(ids)
    }
}

impl Row {
    fn listed(item: Item, snapshot: Option<Visibility>) -> Row {
        Row { data: item.data, versions: Versions::of(item.tx.as_ref()), omitted: item.omitted, snapshot, page: None }
    }

    fn created(activity: &Activity, data: &Object) -> Row {
        let mut versions = Versions::of(activity.tx.as_ref());
        versions.at = activity.created_at.clone();
        Row { data: data.clone(), versions, omitted: activity.omitted.clone(), snapshot: None, page: None }
    }

    fn update(&mut self, activity: &Activity, data: &Object) {
        let Row { omitted, .. } = self;
        // The same value as before, which came apart.
        let same = |name: &String| activity.omitted.get(name).is_some_and(|about| omitted.get(name) == Some(about));
        // What is neither here nor named is not for this reader any more.
        self.data.retain(|name, _| data.contains_key(name) || activity.unchanged.contains(name) || same(name));
        self.omitted.retain(|name, _| activity.unchanged.contains(name));
        for (name, value) in data {
            self.data.insert(name.clone(), value.clone());
            self.omitted.remove(name);
        }
        self.omitted.extend(activity.omitted.clone());
        self.versions.change(activity);
    }

    /// Tells whether the value of a field is too long to come along, and is not here.
    pub(super) fn lacks(&self, field: &str) -> bool {
        self.omitted.contains_key(field) && !self.data.contains_key(field)
    }

    /// Tells whether a value is not here that is too long to come with its row, or not surely what the server holds.
    pub(super) fn is_partly(&self) -> bool {
        self.omitted.iter().any(|(name, about)| about.is_null() || self.lacks(name))
    }

    /// Returns the name of a row of a list.
    pub fn key_of(name: &str, shape: &TypeShape, item: &Item) -> Option<EntityKey> {
        shape.id_of(&item.data).map(|id| EntityKey::new(name, id))
    }
}
