//! What a person does with a browser, by dice: edits in any tab, decides, takes back, hides, closes and opens tabs.
//!
//! Law: a person knows only what the tab at hand shows, and decides about what was on screen there.

use antiphon_sync::client::{Client, Decision, Edit, EntityKey, Entry, State, Value};

use super::tab::{Fate, Tab};

impl Tab {
    /// Does something; says what becomes of the tab.
    pub(super) fn act(&self) -> Fate {
        let dice = self.browser.stage.simulation.dice().clone();
        match dice.below(1_000) {
            0..560 => self.edit(),
            560..660 => self.by_hand(false, Tab::decide),
            660..700 => self.by_hand(false, Tab::settle_failed),
            700..750 => {
                let undo = dice.permille(600);
                self.by_hand(true, |tab| {
                    tab.step(true, |client, now| if undo { client.undo(now) } else { client.redo(now) })
                });
            }
            750..800 => {
                let mut shared = self.browser.shared();
                shared.offline = !shared.offline && dice.permille(600);
            }
            800..815 => self.browser.storage.fill(dice.permille(300)),
            815..820 => self.browser.clock.jump(dice.below(20_000_000) as i64 - 10_000_000),
            820..870 => {
                let visible = !self.browser.shared().slots[self.at].visible;
                self.show(visible);
            }
            870..930 => return Fate::Sleeps(dice.between(1_000, 14_000)),
            930..955 => {
                self.browser.stage.network.count("tab closed");
                return Fate::Closes;
            }
            955..980 => {
                self.browser.stage.network.count("tab killed");
                return Fate::Dies;
            }
            _ => {}
        }
        Fate::GoesOn
    }

    fn edit(&self) {
        let dice = self.browser.stage.simulation.dice().clone();
        let text = format!("{}-{}", self.browser.subject, dice.below(1_000_000));
        let kind = *dice.pick(&["page", "page", "task", "task", "note"]).unwrap_or(&"page");
        let (drawn, pick) = (dice.below(100), dice.below(1_000) as usize);
        let fresh = format!("{kind}-b{}-{}", self.browser.number, dice.below(1_000_000));
        let (add, remove) = (format!("l{}", dice.below(4)), format!("l{}", dice.below(4)));
        let field = match kind {
            "page" => *dice.pick(&["title", "body", "position"]).unwrap_or(&"title"),
            "task" => *dice.pick(&["title", "status"]).unwrap_or(&"title"),
            _ => "text",
        };
        let subject = self.browser.subject;
        self.make(None, |client| {
            let ids: Vec<String> = client.ids(kind).into_iter().collect();
            let chosen = ids.get(pick % ids.len().max(1)).map(|id| EntityKey::new(kind, id));
            match (drawn, chosen) {
                (0..12, _) | (_, None) => create(EntityKey::new(kind, &fresh), subject, &text),
                (12..17, Some(entity)) => Edit::Delete { entity },
                (17..40, Some(entity)) if kind == "task" => Edit::Add { entity, field: "votes".into(), by: 1.into() },
                (40..55, Some(entity)) if kind == "task" => {
                    let (add, remove) = (vec![add.into()], vec![remove.into()]);
                    Edit::Elements { entity, field: "labels".into(), add, remove }
                }
                (55..65, Some(entity)) if kind == "page" => {
                    let fields = [("title", text.clone().into()), ("position", text.into())].into();
                    Edit::Set { entity, fields }
                }
                (_, Some(entity)) => {
                    let value = value(client, &entity, field, &text);
                    Edit::Set { entity, fields: [(field, value)].into() }
                }
            }
        });
    }

    /// Makes an edit, upon what was on screen where that is another text than the one that is shown.
    pub(super) fn make(&self, seen: Option<&str>, edit: impl FnOnce(&Client) -> Edit) {
        let made = self.step(true, |client, now| {
            let edit = edit(client);
            let before = client.view(edit.entity()).map(Value::Object);
            let made = client.edit_upon(now, edit.clone(), seen);
            (edit, before, made)
        });
        self.say(|| format!("types upon {seen:?}: {made:?}"));
        let Some((edit, before, Ok(made))) = made else { return };
        let mut shared = self.browser.shared();
        let super::Shared { slots, book, words, .. } = &mut *shared;
        let Some(client) = &slots[self.at].client else { return };
        if self.browser.stage.typing.is_some() {
            words.made(&edit, before.as_ref(), seen, self.at);
        }
        // What stands upon another text than the one that is shown meets that one at once.
        if seen.is_none() {
            book.made(client, &edit, made.group.as_deref());
        }
    }

    pub(super) fn decide(&self) {
        let dice = self.browser.stage.simulation.dice().clone();
        let (pick, drawn) = (dice.below(1_000) as usize, dice.below(4));
        let merged = format!("merged-{}", dice.below(1_000_000));
        self.step(true, |client, now| {
            let open: Vec<Entry> =
                client.outbox().iter().filter(|entry| entry.state == State::Conflicted).cloned().collect();
            let Some(entry) = open.get(pick % open.len().max(1)) else { return };
            let Some(theirs) = &entry.theirs else { return };
            let decision = match (theirs.gone, drawn, entry.mine().is_some()) {
                (true, 0..2, _) => Decision::Restore,
                (_, 0..2, _) => Decision::KeepMine,
                (false, 2, true) => Decision::Merge(Value::String(merged.clone())),
                _ => Decision::KeepTheirs,
            };
            // What was on screen may be older than what is known by now; then nothing is decided.
            drop(client.decide(now, &entry.key, theirs.id.as_deref(), decision));
        });
    }

    fn settle_failed(&self) {
        let dice = self.browser.stage.simulation.dice().clone();
        let (pick, again) = (dice.below(1_000) as usize, dice.permille(500));
        self.step(true, |client, now| {
            let failed = client.outbox().iter().filter(|entry| entry.state == State::Failed);
            let failed: Vec<String> = failed.map(|entry| entry.key.clone()).collect();
            let Some(key) = failed.get(pick % failed.len().max(1)) else { return };
            match again {
                true => drop(client.retry(now, key)),
                false => drop(client.discard(now, key)),
            }
        });
    }
}

fn create(entity: EntityKey, subject: &str, text: &str) -> Edit {
    let id = ("id", entity.entity_id.as_str().into());
    let data = match entity.entity_type.as_str() {
        "note" => [id, ("text", text.into()), ("owner", subject.into()), ("state", "private".into())].into(),
        _ => [id, ("title", text.into())].into(),
    };
    Edit::Create { entity, data }
}

/// Texts grow by words at either end, so that two edits of one text often merge.
fn value(client: &Client, entity: &EntityKey, field: &str, text: &str) -> Value {
    if field == "status" {
        return if text.ends_with(['1', '3', '5']) { "open".into() } else { "done".into() };
    }
    let held = client.view(entity).and_then(|row| row.get(field).and_then(Value::as_str).map(str::to_owned));
    match held.filter(|held| field == "body" && held.len() < 200) {
        Some(held) if text.len().is_multiple_of(2) => format!("{text} {held}").into(),
        Some(held) => format!("{held} {text}").into(),
        None => text.into(),
    }
}
