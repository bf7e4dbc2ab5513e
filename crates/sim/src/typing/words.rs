//! Where the words are that people typed (SIM-03, CORE-03, CORE-07): none of them is lost, and nobody's is taken out unseen.
//!
//! Each word is typed once in a run, so it can be looked for. Laws: what a person typed and did not take out is in the
//! database at some time, or in the outbox, or told in the journal; an edit that goes out takes out of the text that it
//! was made upon only what its person took out, or decided about; undo and redo take out only what their person typed.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_sync::{
    clean,
    client::{Change, Client, Edit, EntityKey, Entry, Line, Rule, State, Value},
    merge_text,
};

use crate::{Database, storage::Storage};

/// The fields in which people type.
const FIELDS: [&str; 2] = ["body", "title"];

/// Returns the words of a text that somebody typed.
pub(crate) fn words_of(text: &str) -> impl Iterator<Item = &str> {
    let typed = |word: &&str| word.starts_with('w') && word.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    text.split_whitespace().filter(typed)
}

/// What each row shows of a person's words.
type Seen = BTreeMap<EntityKey, BTreeSet<String>>;

/// What a person typed.
#[derive(Default)]
pub(crate) struct Words {
    /// Where each was typed, and in which tab: those that are to be found.
    typed: BTreeMap<String, (EntityKey, usize)>,
    /// Everything that was ever typed here.
    own: BTreeSet<String>,
    /// What was taken out here.
    removed: BTreeSet<String>,
    wrong: Option<String>,
}

impl Words {
    /// Returns what was found to be wrong since the last call.
    pub(crate) fn wrong(&mut self) -> Option<String> {
        self.wrong.take()
    }

    /// Notes an edit that was taken, upon the row as its person saw it.
    pub(crate) fn made(&mut self, edit: &Edit, before: Option<&Value>, seen: Option<&str>, tab: usize) {
        let entity = edit.entity();
        let text = |field: &str| before.and_then(|row| row[field].as_str()).unwrap_or_default();
        let changed: Vec<(&str, &str, &str)> = match edit {
            Edit::Set { fields, .. } => {
                let texts = FIELDS.iter().filter_map(|field| Some((*field, fields.get(field)?.as_str()?)));
                texts.map(|(field, value)| (text(field), seen.unwrap_or_else(|| text(field)), value)).collect()
            }
            Edit::Create { data, .. } => {
                FIELDS.iter().filter_map(|field| Some(("", "", data.get(field)?.as_str()?))).collect()
            }
            Edit::Delete { .. } => FIELDS.iter().map(|field| (text(field), text(field), "")).collect(),
            Edit::Add { .. } | Edit::Elements { .. } => Vec::new(),
        };
        if matches!(edit, Edit::Delete { .. }) {
            // Whoever deletes a row lets go of what is typed into it, in other tabs too.
            self.typed.retain(|_, (of, _)| of != entity);
        }
        for (held, old, new) in changed {
            let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (words_of(old).collect(), words_of(new).collect());
            for word in new.difference(&old) {
                self.typed.insert((*word).to_owned(), (entity.clone(), tab));
                self.removed.remove(*word);
            }
            // What others took out meanwhile is back by this edit, and may go with it.
            self.own.extend(new.difference(&words_of(held).collect()).map(|word| (*word).to_owned()));
            old.difference(&new).for_each(|word| self.take_out(word));
        }
    }

    fn take_out(&mut self, word: &str) {
        self.typed.remove(word);
        self.removed.insert(word.to_owned());
    }

    /// Returns what the rows show, to be compared after a person's own step.
    pub(crate) fn look(client: &Client) -> Seen {
        let rows = client.ids(super::KIND).into_iter().map(|id| EntityKey::new(super::KIND, id));
        let mut seen = Seen::new();
        for entity in rows {
            let Some(row) = client.view(&entity) else { continue };
            let texts = FIELDS.iter().filter_map(|field| row.get(field)?.as_str());
            let words: BTreeSet<String> = texts.flat_map(words_of).map(str::to_owned).collect();
            if !words.is_empty() {
                seen.insert(entity, words);
            }
        }
        seen
    }

    /// Notes what a person's own step took out; undo and redo take out only what was typed here.
    pub(crate) fn stepped(&mut self, client: &Client, before: &Seen, undo: bool) {
        let after = Words::look(client);
        let none = BTreeSet::new();
        for (entity, words) in before {
            let gone: Vec<&String> = words.difference(after.get(entity).unwrap_or(&none)).collect();
            // What others have taken out meanwhile was shown by the edit alone that goes.
            let confirmed = client.row(entity).map(|row| &row.data);
            let there = |word: &str| {
                let texts = FIELDS.iter().filter_map(|field| confirmed?.get(field)?.as_str());
                texts.flat_map(words_of).any(|held| held == word)
            };
            // What was taken out here before may be taken out again.
            let known = |word: &str| self.own.contains(word) || self.removed.contains(word);
            let others = gone.iter().find(|word| !known(word) && there(word));
            // Where a person is asked about the row, nothing goes before the answer: another text is shown (seed 70028).
            let is_asked = client.outbox().of(entity).any(|entry| entry.state == State::Conflicted);
            if let Some(word) = others.filter(|_| undo && !is_asked && after.contains_key(entity)) {
                let entries: Vec<&Entry> = client.outbox().of(entity).collect();
                self.wrong =
                    Some(format!("undo or redo took {word} out of {entity:?}, which others wrote; {entries:?}"));
            }
            gone.into_iter().for_each(|word| self.take_out(word));
        }
    }

    /// A rule or a person decided: what was typed and did not stand is told in the journal.
    pub(crate) fn decided(&mut self, line: &Line) {
        let texts = |value: &Value| -> Vec<String> {
            let words = |text: &str| words_of(text).map(str::to_owned).collect::<Vec<_>>();
            match value {
                Value::String(text) => words(text),
                Value::Object(row) => row.values().filter_map(Value::as_str).flat_map(words).collect(),
                _ => Vec::new(),
            }
        };
        let goes_on =
            matches!(line.rule, Rule::MineWins | Rule::Merged | Rule::NewId | Rule::Unchanged | Rule::TakenUp);
        if !goes_on {
            line.mine.iter().flat_map(texts).for_each(|word| drop(self.typed.remove(&word)));
        }
        if line.rule == Rule::MineWins {
            let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
            let theirs = text(line.theirs.as_ref().map(|theirs| &theirs.value));
            let texts_of = (text(line.base.as_ref()), text(line.mine.as_ref()), theirs);
            if let (Some("body"), (Some(base), Some(mine), Some(theirs))) = (line.field.as_deref(), &texts_of)
                && clean(&merge_text(base, mine, theirs)).is_some()
            {
                self.wrong = Some(format!("what could be merged was covered: {line:?}"));
            }
            // What another tab typed in the same words.
            line.theirs.iter().flat_map(|theirs| texts(&theirs.value)).for_each(|word| drop(self.typed.remove(&word)));
        }
        if matches!(line.rule, Rule::Decided | Rule::MineWins | Rule::OtherTab) {
            let theirs = line.theirs.iter().flat_map(|theirs| texts(&theirs.value));
            let all = theirs.chain(line.mine.iter().flat_map(texts)).chain(line.base.iter().flat_map(texts));
            self.removed.extend(all);
        }
    }

    /// Looks at a request before it leaves; returns what is wrong with it.
    pub(crate) fn handed(&self, client: &Client, body: &str, database: &Database) -> Option<String> {
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let mutations = body["mutations"].as_array().into_iter().flatten();
        let ids = mutations.filter_map(|mutation| mutation["tx"]["transactionId"].as_str());
        let mut entries = ids.filter_map(|id| client.outbox().by_id(id));
        entries.find_map(|entry| built_upon_another(entry, database).or_else(|| self.taken_unseen(entry)))
    }

    /// Says where an edit takes words out that its person left where they were.
    fn taken_unseen(&self, entry: &Entry) -> Option<String> {
        let (base, mine) = (entry.base.as_ref()?.as_str()?, entry.mine()?.as_str()?);
        let kept: BTreeSet<&str> = words_of(mine).collect();
        let mut gone = words_of(base).filter(|word| !kept.contains(word));
        let word = gone.find(|word| !self.removed.contains(*word))?;
        Some(format!("{word} is taken out by {entry:?}, and nobody here took it out"))
    }

    /// What was in the memory of a tab only is gone.
    pub(crate) fn tab_died(&mut self, tab: usize, storage: &Storage) {
        if self.typed.is_empty() {
            return;
        }
        let held: Vec<Entry> = storage.keys().iter().filter_map(|key| storage.entry(key)).collect();
        let held: BTreeSet<String> = held.iter().flat_map(words_in).collect();
        self.typed.retain(|word, (_, at)| *at != tab || held.contains(word));
    }

    /// Returns the first word that is nowhere; `written` are those that the database has held.
    pub(crate) fn lost(&mut self, client: Option<&Client>, written: &BTreeSet<String>) -> Option<String> {
        if let Some(wrong) = self.wrong() {
            return Some(wrong);
        }
        let held: BTreeSet<String> =
            client.iter().flat_map(|client| client.outbox().iter()).flat_map(words_in).collect();
        let lost = self.typed.iter().find(|(word, _)| !written.contains(*word) && !held.contains(*word));
        lost.map(|(word, (entity, _))| format!("{word} was typed into {entity:?}, and is nowhere"))
    }
}

fn words_in(entry: &Entry) -> Vec<String> {
    let texts: Vec<&str> = match &entry.change {
        Change::Value { value, .. } => value.as_str().into_iter().collect(),
        Change::Create { data } => data.values().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    texts.into_iter().flat_map(words_of).map(str::to_owned).collect()
}

/// Says where an edit expects the version of a text that is there, and was made upon another text.
pub(crate) fn built_upon_another(entry: &Entry, database: &Database) -> Option<String> {
    // What may not be read has no text here.
    let (field, base) = (entry.change.field()?, entry.base.as_ref().filter(|_| entry.mine().is_some())?.as_str()?);
    let (written, held) = database.text(&entry.entity.entity_type, &entry.entity.entity_id, field)?;
    let differs = written.is_some() && written == entry.expected && Some(base) != held.as_deref();
    differs.then(|| format!("{entry:?} was made upon another text than {held:?}, which it expects"))
}
