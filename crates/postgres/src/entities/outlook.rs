//! What capture would do under a changed declaration, told before anybody starts it (OP-17).
//!
//! It compares what is declared with what the checkpoint knows to be captured and with the tables as they are. Law: a
//! declaration under which capture would stop for every table, or under which rows would silently be another table's,
//! is unsafe and named with its reason; one table that cannot be copied yet hinders no other. Pure: it asks nobody.

use std::collections::BTreeSet;

use antiphon_model::{Code, EntityType, PublicationMark};

use super::EntityStatus;
use crate::{CaptureMethod, trigger_capture::METHOD};

/// What would become of a declared type, or of a table that is declared no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// It is captured and goes on.
    GoesOn,
    /// It is copied, and streamed from then on.
    Copied,
    /// Its changes are no longer captured; declared again it needs a new epoch.
    Left,
    /// It alone is not captured until its table is mended.
    Fails,
    /// Capture of every table would stop, or show rows that are not this type's.
    Unsafe,
}

impl Prospect {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Prospect::GoesOn => "goes_on",
            Prospect::Copied => "copied",
            Prospect::Left => "left",
            Prospect::Fails => "fails",
            Prospect::Unsafe => "unsafe",
        }
    }
}

/// A line of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The type; empty for a table that is declared no more.
    pub entity_type: String,
    /// The table.
    pub table: String,
    /// What would become of it.
    pub prospect: Prospect,
    /// The code by which it would be known, where something is wrong.
    pub code: Option<Code>,
    /// Why, in words.
    pub detail: String,
}

/// What is known of the present capture.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The checkpoint's marks; none before the first capture of an epoch.
    pub marks: Option<PublicationMark>,
    /// The types whose copy is complete.
    pub copied: BTreeSet<String>,
}

/// Tells what would become of each declared type, and of the tables that are captured and not declared.
pub fn outlook(
    declared: &[(EntityType, EntityStatus)],
    known: &Known,
    method: CaptureMethod,
    publication: &str,
) -> Vec<Outlook> {
    let mut told: Vec<Outlook> =
        declared.iter().map(|(entity, status)| one(entity, status, known, (method, publication))).collect();
    let names: BTreeSet<String> = declared.iter().map(|(entity, _)| entity.table.to_string()).collect();
    let marks = known.marks.iter().flat_map(|marks| &marks.tables);
    let left = marks.filter(|(table, mark)| *table != METHOD && !mark.is_empty() && !names.contains(*table));
    told.extend(left.map(|(table, _)| Outlook {
        entity_type: String::new(),
        table: table.clone(),
        prospect: Prospect::Left,
        code: None,
        detail: "captured now and not declared: declared again later, it needs `antiphon resync`".to_owned(),
    }));
    told
}

fn one(
    entity: &EntityType,
    status: &EntityStatus,
    known: &Known,
    (method, publication): (CaptureMethod, &str),
) -> Outlook {
    let table = entity.table.to_string();
    let tell = |prospect, code, detail: String| Outlook {
        entity_type: entity.name.clone(),
        table: table.clone(),
        prospect,
        code,
        detail,
    };
    let stops = |detail: String| tell(Prospect::Unsafe, Some(Code::PublicationChanged), detail);
    let problem = status.problem.clone();
    let Some(marks) = &known.marks else {
        return match problem {
            Some(problem) => tell(Prospect::Fails, Some(Code::TableUnfit), problem),
            None => tell(Prospect::Copied, None, String::new()),
        };
    };
    if marks.tables.contains_key(METHOD) == method.decodes() {
        return stops("the log was captured by another method so far: `antiphon resync` begins anew".to_owned());
    }
    match (marks.tables.get(&table), problem) {
        (Some(mark), _) if mark.is_empty() => {
            let why = "was captured once and not declared since: what was written meanwhile is missing";
            stops(format!("{table} {why}; `antiphon resync` begins anew"))
        }
        (Some(_), problem) if !status.in_publication => {
            let why = problem.unwrap_or_else(|| format!("the publication {publication} no longer carries it"));
            stops(format!("{table} is captured, and gone: {why}"))
        }
        (Some(_), Some(problem)) => tell(Prospect::Fails, Some(Code::TableUnfit), problem),
        (Some(_), None) => tell(Prospect::GoesOn, None, String::new()),
        (None, Some(problem)) => tell(Prospect::Fails, Some(Code::TableUnfit), problem),
        (None, None) if known.copied.contains(&entity.name) => {
            let why = "was copied from another table, whose rows readers would keep";
            tell(
                Prospect::Unsafe,
                Some(Code::ConfigInvalid),
                format!("{} {why}; `antiphon resync` begins anew", entity.name),
            )
        }
        (None, None) => tell(Prospect::Copied, None, String::new()),
    }
}
