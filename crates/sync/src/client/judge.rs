//! What is to be done where an edit meets another's (CORE-07): one function for answers and for arriving activities.
//!
//! Laws: equal values are no conflict; a value that went back to where the edit began is none either; only a later edit
//! under `lww` keeps its id; a person is asked rather than anything typed is overwritten in silence.

use super::{Change, Entry, Theirs, same, words::Strategy};
use crate::json::Value;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ruling {
    /// The server holds what is wanted.
    Same,
    /// Send it again upon their value, under a new id.
    Rebase,
    /// Send it again upon their value, under its id: it is the later one.
    Stands,
    /// Their value is the later one.
    Yield,
    /// Send this instead, upon their value.
    Merged(Value),
    /// A person decides.
    Ask,
}

/// Rules on an entry that is known to have had no effect, against the newest value of its field or row.
pub(super) fn judge(entry: &Entry, strategy: Strategy, theirs: &Theirs, delete_asks: bool) -> Ruling {
    if theirs.gone {
        return if matches!(entry.change, Change::Delete { .. }) { Ruling::Same } else { Ruling::Ask };
    }
    let (mine, base) = match &entry.change {
        Change::Delete { .. } if delete_asks => return Ruling::Ask,
        // What is applied to whatever is there, or has nothing to be compared with.
        Change::Delete { .. } | Change::Create { .. } | Change::Add { .. } | Change::Elements { .. } => {
            return Ruling::Rebase;
        }
        Change::Value { value, .. } => (value, entry.base.as_ref()),
    };
    if same(mine, &theirs.value) {
        return Ruling::Same;
    }
    if base.is_some_and(|base| same(base, &theirs.value)) {
        return Ruling::Rebase;
    }
    match strategy {
        Strategy::Manual => Ruling::Ask,
        Strategy::Text => merged(base, mine, &theirs.value).map_or(Ruling::Ask, Ruling::Merged),
        Strategy::Lww | Strategy::Counter | Strategy::Set => match &theirs.id {
            Some(id) if entry.id.as_str() <= id.as_str() => Ruling::Yield,
            _ => Ruling::Stands,
        },
    }
}

fn merged(base: Option<&Value>, mine: &Value, theirs: &Value) -> Option<Value> {
    let (base, mine, theirs) = (base?.as_str()?, mine.as_str()?, theirs.as_str()?);
    let pieces = crate::merge::merge_text(base, mine, theirs);
    crate::merge::clean(&pieces).map(Value::String)
}
