//! What a person does in a tab that does not lead to edits that only the leader may change; and what a person did that no
//! save holds yet (CORE-08, CORE-16).
//!
//! Laws: a wish is repeated until the leader has done it and saved it, and doing it twice does no harm; what a leader did
//! and could not save before it was outdone is done again, once, upon what the store holds.

use crate::json::Object;

use super::super::{
    Client, Decision, Edit, EntityKey, EntryKey, Now, State, Undecided,
    message::{What, Wish},
};

/// Things that a person did which no save holds are kept up to so many; older ones are in memory as entries anyway.
const UNSAVED_MAX: usize = 1_000;
/// Wishes of others that wait at most; more are repeated by whoever has them.
const INBOX_MAX: usize = 1_000;

/// What a person did in a leading instance since the last save.
#[derive(Debug, Default)]
pub(in crate::client) struct Unsaved {
    deeds: Vec<Deed>,
    /// So many of them are in the save that is under way.
    covered: usize,
}

#[derive(Debug)]
enum Deed {
    Edit {
        edit: Edit,
        /// The text that its person saw, where it is an edit of one text.
        seen: Option<String>,
        group: Option<EntryKey>,
    },
    Wish(Wish),
}

impl Unsaved {
    fn push(&mut self, deed: Deed) {
        if self.deeds.len() >= UNSAVED_MAX {
            self.deeds.remove(0);
            self.covered = self.covered.saturating_sub(1);
        }
        self.deeds.push(deed);
    }

    /// Tells whether an edit of a row is among what was done.
    fn is_about(&self, entity: &EntityKey) -> bool {
        self.deeds.iter().any(|deed| matches!(deed, Deed::Edit { edit, .. } if edit.entity() == entity))
    }

    /// All that was done is part of the save that begins.
    pub(in crate::client) fn cover(&mut self) {
        self.covered = self.deeds.len();
    }

    /// The save is durable, or did not happen.
    pub(in crate::client) fn settle(&mut self, durable: bool) {
        let covered = std::mem::take(&mut self.covered);
        if durable {
            self.deeds.drain(..covered);
        }
    }
}

/// Returns the text that an edit of one text is made upon.
fn seen(edit: &Edit, before: Option<&Object>) -> Option<String> {
    let Edit::Set { fields, .. } = edit else { return None };
    let (field, _) = fields.iter().next().filter(|_| fields.len() == 1)?;
    before?.get(field)?.as_str().map(str::to_owned)
}

impl Client {
    /// Makes an edit upon a row as its person sees it, and notes a leader's until it is saved.
    ///
    /// Whoever was outdone and could not save an edit of a row goes on as if it led: what is typed there now is typed upon
    /// what nobody else has (seed 80019).
    pub(in crate::client) fn make_noted(&mut self, now: Now, edit: Edit, before: Option<&Object>) -> Option<EntryKey> {
        let leads = self.leading.is_some() || self.tabs.unsaved.is_about(edit.entity());
        let noted = leads.then(|| (edit.clone(), seen(&edit, before)));
        let group = self.make_as(now, edit, leads);
        if let Some((edit, seen)) = noted {
            self.tabs.unsaved.push(Deed::Edit { edit, seen, group: group.clone() });
        }
        group
    }

    /// Does what a person wishes where this one leads, else asks the leader for it.
    pub(in crate::client) fn wish(&mut self, now: Now, wish: Wish) {
        if self.leading.is_some() {
            self.tabs.unsaved.push(Deed::Wish(wish));
            return;
        }
        self.tabs.wished += 1;
        self.tabs.wishes.push((self.tabs.wished, wish));
        self.tabs.wishes_due = true;
        self.drive(now);
    }

    /// Decides in a tab that does not lead: as far as can be seen here, it is possible.
    pub(in crate::client) fn wish_decided(
        &mut self,
        now: Now,
        key: &str,
        seen: Option<&str>,
        decision: Decision,
    ) -> Result<(), Undecided> {
        let entry = self.outbox.find(key).filter(|entry| entry.state == State::Conflicted);
        let Some((entry, theirs)) = entry.and_then(|entry| entry.theirs.as_ref().map(|theirs| (entry, theirs))) else {
            return Err(Undecided::NoConflict);
        };
        if theirs.id.as_deref() != seen {
            return Err(Undecided::Newer);
        }
        let possible = match (&decision, theirs.gone) {
            (Decision::KeepMine, gone) => !gone,
            (Decision::Merge(_), gone) => !gone && entry.mine().is_some(),
            (Decision::KeepTheirs, _) => true,
            (Decision::Restore, gone) => gone,
        };
        if !possible {
            return Err(Undecided::NotPossible);
        }
        self.wish(now, Wish::Decide { key: key.to_owned(), seen: seen.map(str::to_owned), decision });
        Ok(())
    }

    /// Tells the leader what was added and wished, once it is in the store.
    pub(super) fn say_what_was_done(&mut self) {
        if std::mem::take(&mut self.tabs.hint) {
            self.share(What::Added);
        }
        // Wishes may be about edits that are only here.
        if self.tabs.wishes_due && !self.outbox.has_fresh() {
            self.tabs.wishes_due = false;
            self.share(What::Wishes { wishes: self.tabs.wishes.clone() });
        }
    }

    /// Edits of this instance are in the store, and the leader does not know.
    pub(in crate::client) fn has_added_edits(&mut self) {
        self.tabs.hint = true;
    }

    /// Does what others wish.
    pub(super) fn grant_wishes(&mut self, now: Now) {
        let mut wishes = std::mem::take(&mut self.tabs.inbox);
        wishes.truncate(INBOX_MAX);
        for (source, number, wish) in wishes {
            if self.tabs.done.get(&source).is_none_or(|done| *done < number) {
                self.tabs.done.insert(source.clone(), number);
                self.grant(now, wish);
            }
            self.tabs.to_thank.insert(source, number);
        }
    }

    /// Does what a person wished in another tab, or before this one led; what is not possible any more is not done.
    pub(super) fn grant(&mut self, now: Now, wish: Wish) {
        match wish {
            Wish::Decide { key, seen, decision } => {
                // Decided in two tabs, or changed meanwhile: the conflict is shown as it is now.
                drop(self.decide(now, &key, seen.as_deref(), decision));
            }
            Wish::Retry { key } => drop(self.retry(now, &key)),
            Wish::Discard { key } => drop(self.discard(now, &key)),
        }
    }

    /// Forgets what is in entries that nobody else knows: they are added as they are.
    pub(super) fn keep_fresh(&mut self) {
        // Whoever leads now is told of them until it has taken them in, though the first word is lost (seed 36963).
        for key in self.outbox.keys(&|entry| self.outbox.is_fresh(&entry.key)) {
            self.outbox.update(&key, &mut self.dirty, |entry| entry.added = true);
        }
        let Unsaved { deeds, covered } = std::mem::take(&mut self.tabs.unsaved);
        for (at, deed) in deeds.into_iter().enumerate() {
            if matches!(&deed, Deed::Edit { group: Some(group), .. } if self.is_fresh_group(group)) {
                continue;
            }
            self.tabs.unsaved.deeds.push(deed);
            self.tabs.unsaved.covered += usize::from(at < covered);
        }
    }

    /// Does again what no save holds, upon what the store holds.
    pub(super) fn do_again(&mut self, now: Now) {
        for deed in std::mem::take(&mut self.tabs.unsaved).deeds {
            match deed {
                Deed::Edit { edit, seen, .. } => self.edit_again(now, edit, seen.as_deref()),
                Deed::Wish(wish) => {
                    self.tabs.wished += 1;
                    self.tabs.wishes.push((self.tabs.wished, wish));
                    self.tabs.wishes_due = true;
                }
            }
        }
    }

    /// What others wrote meanwhile is met by what was typed, not covered by the text as a whole.
    fn edit_again(&mut self, now: Now, edit: Edit, seen: Option<&str>) {
        let shown = self.view(edit.entity());
        let upon = seen.and_then(|seen| self.begun_upon(&edit, seen, shown.as_ref()));
        let edit = upon.as_ref().and_then(|upon| upon.merged(&edit)).unwrap_or(edit);
        let entity = edit.entity().clone();
        let made = self.make(now, edit);
        if let (Some(upon), Some(group)) = (upon, &made) {
            self.ground(now, group, &entity, upon);
        }
    }

    /// Tells whether all entries of a group are here and nowhere else.
    fn is_fresh_group(&self, group: &str) -> bool {
        let keys = self.outbox.group(group);
        !keys.is_empty() && keys.iter().all(|key| self.outbox.is_fresh(key))
    }
}
