//! The one policy function: which columns of a row a reader may see and write (house 14, MUT-05).
//!
//! Rules add up: each grants columns to roles, for every row or for those that a condition picks. What no rule grants
//! is denied. A type without rules has the plain ones: viewers read everything, all others read and write everything.
//! Laws: key columns are seen with any other column, because the id shows them anyway; the columns that conditions read
//! are known by name (`policy_columns`), so that the log can keep them, old and new.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{EntityType, Role};

/// A set of columns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Columns {
    /// Every column that may leave the server.
    All,
    /// These; none where it is empty.
    Some(BTreeSet<String>),
}

impl Default for Columns {
    fn default() -> Columns {
        Columns::none()
    }
}

impl Columns {
    /// Returns the empty set.
    pub const fn none() -> Columns {
        Columns::Some(BTreeSet::new())
    }

    /// Makes a set of names.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Columns {
        Columns::Some(names.into_iter().map(str::to_owned).collect())
    }

    /// Tells whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        matches!(self, Columns::Some(names) if names.is_empty())
    }

    /// Tells whether a column is in the set.
    pub fn contains(&self, column: &str) -> bool {
        match self {
            Columns::All => true,
            Columns::Some(names) => names.contains(column),
        }
    }

    fn add(&mut self, other: &Columns) {
        match (&mut *self, other) {
            (Columns::All, _) => {}
            (_, Columns::All) => *self = Columns::All,
            (Columns::Some(own), Columns::Some(more)) => own.extend(more.iter().cloned()),
        }
    }
}

/// Which rows a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Those whose column holds the reader's `sub`.
    Owner {
        /// The column.
        column: String,
    },
    /// Those whose column holds one of these values, as Postgres prints them.
    OneOf {
        /// The column.
        column: String,
        /// The values.
        values: Vec<String>,
    },
}

impl Condition {
    /// Returns the column that it reads.
    pub fn column(&self) -> &str {
        match self {
            Condition::Owner { column } | Condition::OneOf { column, .. } => column,
        }
    }

    fn holds(&self, subject: &str, value: Option<&str>) -> bool {
        match self {
            Condition::Owner { .. } => value == Some(subject),
            Condition::OneOf { values, .. } => value.is_some_and(|value| values.iter().any(|one| one == value)),
        }
    }
}

/// What some members may do with some rows of a type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Who; everyone in the organisation where it is empty.
    pub roles: Vec<Role>,
    /// Which rows; all of them where it is absent.
    pub when: Option<Condition>,
    /// Columns that may be seen.
    pub read: Columns,
    /// Columns that may be written.
    pub write: Columns,
    /// Whether such rows may be created.
    pub create: bool,
    /// Whether such rows may be deleted.
    pub delete: bool,
}

/// Who reads or writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reader {
    /// The `sub`.
    pub subject: String,
    /// The role in the organisation.
    pub role: Role,
}

/// Which rows of a type a role may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight<'a> {
    /// Every row.
    Every,
    /// Those that one of these conditions picks; none where there is none.
    Where(Vec<&'a Condition>),
}

/// What a reader may do with one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Columns that may be seen; the key is among them where any is.
    pub read: Columns,
    /// Columns that may be written.
    pub write: Columns,
    /// Whether the row may be created.
    pub create: bool,
    /// Whether it may be deleted.
    pub delete: bool,
}

impl EntityType {
    /// Returns what a reader may do with a row; `value` gives the texts of its columns.
    pub fn rights<'a>(&self, reader: &Reader, value: impl Fn(&str) -> Option<&'a str>) -> Rights {
        let picks = |rule: &&Rule| match &rule.when {
            None => true,
            Some(condition) => condition.holds(&reader.subject, value(condition.column())),
        };
        self.sum(self.rules_of(reader.role).filter(picks), reader.role)
    }

    /// Returns what a reader may do with a row that fits every condition: the most there is.
    pub fn rights_at_most(&self, role: Role) -> Rights {
        self.sum(self.rules_of(role), role)
    }

    /// Returns what a reader may do with every row, whatever it holds; `None` where that depends on the row.
    pub fn rights_of_all(&self, role: Role) -> Option<Rights> {
        self.rules_of(role).all(|rule| rule.when.is_none()).then(|| self.rights_at_most(role))
    }

    /// Returns the rows of which a role may see something, or this column where one is named.
    pub fn sight(&self, role: Role, column: Option<&str>) -> Sight<'_> {
        if self.rules.is_empty() {
            return Sight::Every;
        }
        let mut conditions = Vec::new();
        for rule in self.rules_of(role).filter(|rule| self.shows_by(rule, column)) {
            match &rule.when {
                None => return Sight::Every,
                Some(condition) => conditions.push(condition),
            }
        }
        Sight::Where(conditions)
    }

    /// Tells whether a role may see a column in every row of which it may see anything: what lists may compare.
    pub fn reads_throughout(&self, role: Role, column: &str) -> bool {
        if self.rules.is_empty() {
            return true;
        }
        let mut seeing = self.rules_of(role).filter(|rule| !rule.read.is_empty()).peekable();
        let everywhere = |rule: &Rule| rule.when.is_none() && self.shows_by(rule, Some(column));
        seeing.peek().is_some()
            && (self.rules_of(role).any(everywhere) || seeing.all(|rule| self.shows_by(rule, Some(column))))
    }

    fn shows_by(&self, rule: &Rule, column: Option<&str>) -> bool {
        let key = |column: &str| self.key.iter().any(|key| key == column);
        !rule.read.is_empty() && column.is_none_or(|column| key(column) || rule.read.contains(column))
    }

    /// Returns the rules for a role.
    pub fn rules_of(&self, role: Role) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.roles.is_empty() || rule.roles.contains(&role))
    }

    /// Returns the columns that conditions read, each once, in order.
    pub fn policy_columns(&self) -> BTreeSet<&str> {
        self.rules.iter().filter_map(|rule| rule.when.as_ref()).map(Condition::column).collect()
    }

    fn sum<'a>(&self, rules: impl Iterator<Item = &'a Rule>, role: Role) -> Rights {
        if self.rules.is_empty() {
            let write = if role.writes() { Columns::All } else { Columns::none() };
            return Rights { read: Columns::All, write, create: role.writes(), delete: role.writes() };
        }
        let mut rights = Rights::default();
        for rule in rules {
            rights.read.add(&rule.read);
            rights.write.add(&rule.write);
            rights.create |= rule.create;
            rights.delete |= rule.delete;
        }
        if let Columns::Some(names) = &mut rights.read
            && !names.is_empty()
        {
            names.extend(self.key.iter().cloned());
        }
        rights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RelationName, Tenancy};

    fn entity(rules: Vec<Rule>) -> EntityType {
        EntityType {
            name: "task".into(),
            table: RelationName { schema: "public".into(), name: "tasks".into() },
            org: Tenancy::Column("org".into()),
            key: vec!["id".into()],
            tx: "tx".into(),
            hidden: Vec::new(),
            sync: crate::Sync::All,
            filter: Vec::new(),
            together: Vec::new(),
            refs: Default::default(),
            fields: Default::default(),
            rules,
            polling: Default::default(),
        }
    }

    fn rights(entity: &EntityType, role: Role, owner: &str) -> Rights {
        entity.rights(&Reader { subject: "bob".into(), role }, |column| (column == "owner").then_some(owner))
    }

    #[test]
    fn without_rules_viewers_read_and_all_others_write_mut_05() {
        let plain = entity(Vec::new());
        assert_eq!(rights(&plain, Role::Viewer, "x").write, Columns::none());
        assert_eq!(rights(&plain, Role::Viewer, "x").read, Columns::All);
        assert_eq!(rights(&plain, Role::Member, "x").write, Columns::All);
    }

    #[test]
    fn what_no_rule_grants_is_denied_and_grants_add_up_mut_05() {
        let own = Rule {
            when: Some(Condition::Owner { column: "owner".into() }),
            read: Columns::All,
            write: Columns::of(["title"]),
            delete: true,
            ..Rule::default()
        };
        let names = Rule { roles: vec![Role::Viewer, Role::Member], read: Columns::of(["title"]), ..Rule::default() };
        let entity = entity(vec![own, names]);
        let own = rights(&entity, Role::Member, "bob");
        assert_eq!((own.read, own.write, own.create, own.delete), (Columns::All, Columns::of(["title"]), false, true));
        let other = rights(&entity, Role::Member, "alice");
        assert_eq!((other.read, other.write.is_empty()), (Columns::of(["id", "title"]), true));
        assert!(rights(&entity, Role::Owner, "alice").read.is_empty());
        assert_eq!(entity.rights_of_all(Role::Viewer), None);
        assert_eq!(entity.policy_columns().into_iter().collect::<Vec<_>>(), ["owner"]);
    }

    #[test]
    fn sight_is_what_rights_say_of_some_row_and_comparing_needs_every_row_mut_05() {
        let owner = Condition::Owner { column: "owner".into() };
        let own = Rule { when: Some(owner.clone()), read: Columns::All, ..Rule::default() };
        let public = Condition::OneOf { column: "state".into(), values: vec!["public".into()] };
        let titles = |when| Rule { roles: vec![Role::Viewer], when, read: Columns::of(["title"]), ..Rule::default() };
        let partly = entity(vec![own.clone(), titles(Some(public.clone()))]);
        assert_eq!(partly.sight(Role::Viewer, None), Sight::Where(vec![&owner, &public]));
        assert_eq!(partly.sight(Role::Viewer, Some("owner")), Sight::Where(vec![&owner]));
        assert_eq!(partly.sight(Role::Viewer, Some("id")), Sight::Where(vec![&owner, &public]), "the key shows anyway");
        assert!(partly.reads_throughout(Role::Viewer, "title") && !partly.reads_throughout(Role::Viewer, "owner"));
        assert!(partly.reads_throughout(Role::Member, "owner"), "members see their own rows only");
        let whole = entity(vec![own, titles(None)]);
        assert_eq!(whole.sight(Role::Viewer, None), Sight::Every);
        assert_eq!(whole.sight(Role::Viewer, Some("owner")), Sight::Where(vec![&owner]));
        assert!(whole.reads_throughout(Role::Viewer, "title") && !whole.reads_throughout(Role::Viewer, "owner"));
        let nothing = entity(vec![Rule { write: Columns::All, ..Rule::default() }]);
        assert_eq!(nothing.sight(Role::Owner, None), Sight::Where(Vec::new()));
        assert!(!nothing.reads_throughout(Role::Owner, "id"));
    }
}
