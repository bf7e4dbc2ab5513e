//! What a person does with a device, by dice: edits, decides, takes back, unplugs, runs out of space, pulls the plug.
//!
//! Law: a person knows only what the device shows, and decides about what was on screen. Nothing here looks at servers.

use antiphon_sync::client::{Client, Decision, Edit, EntityKey, Entry, State, Value};

use super::Device;
use crate::workload::SUBJECTS;

impl Device {
    /// Does something; `true` where the device dies of it.
    pub(super) fn act(&self) -> bool {
        let dice = self.stage.simulation.dice().clone();
        match dice.below(1_000) {
            0..620 => self.edit(),
            620..760 => self.by_hand(false, Device::decide),
            760..800 => self.by_hand(false, Device::settle_failed),
            800..840 => self.by_hand(true, Device::back_and_forth),
            840..900 => {
                let offline = {
                    let mut shared = self.shared();
                    shared.offline = !shared.offline && dice.permille(600);
                    shared.offline
                };
                if offline {
                    self.stage.network.count("device offline");
                }
            }
            900..915 => {
                let full = dice.permille(400);
                if full {
                    self.stage.network.count("device full");
                }
                self.storage.fill(full);
            }
            915..925 => {
                self.stage.network.count("device clock jumped");
                // Seconds mostly; years at times.
                let by = if dice.permille(200) { 300_000_000_000_000 } else { 20_000_000 };
                self.clock.jump(dice.below(by) as i64 - by as i64 / 2);
            }
            925..943 => return true,
            943..945 => {
                self.wipe();
                return true;
            }
            945..948 => {
                self.storage.set_format(Some(99));
                return true;
            }
            948..985 => self.look(),
            _ => {}
        }
        false
    }

    fn edit(&self) {
        let dice = self.stage.simulation.dice().clone();
        let subject = match dice.below(100) {
            0 => "poison",
            1 => "malformed",
            _ => self.subject,
        };
        let text = format!("{subject}-{}", dice.below(1_000_000));
        let kind = ["page", "page", "task", "task", "note"][dice.below(5) as usize];
        let drawn = dice.below(100);
        let pick = dice.below(1_000) as usize;
        let fresh = format!("{kind}-d{}-{}", self.number, dice.below(1_000_000));
        let (subject, element) = (self.subject, format!("l{}", dice.below(4)));
        let field = match kind {
            "page" => *dice.pick(&["title", "body", "position"]).unwrap_or(&"title"),
            "task" => *dice.pick(&["title", "status"]).unwrap_or(&"title"),
            _ => *dice.pick(&["text", "text", "state", "state", "owner"]).unwrap_or(&"text"),
        };
        self.make(None, |client| {
            let ids: Vec<String> = client.ids(kind).into_iter().collect();
            let chosen = ids.get(pick % ids.len().max(1)).map(|id| EntityKey::new(kind, id));
            match (drawn, chosen) {
                (0..12, _) | (_, None) => create(EntityKey::new(kind, &fresh), subject, &text),
                (12..17, Some(entity)) => Edit::Delete { entity },
                (17..40, Some(entity)) if kind == "task" => Edit::Add { entity, field: "votes".into(), by: 1.into() },
                (40..55, Some(entity)) if kind == "task" => {
                    let (add, remove) = (vec![element.clone().into()], vec![format!("l{}", pick % 4).into()]);
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
        let made = self.step(|client, now| {
            let edit = edit(client);
            let before = client.view(edit.entity()).map(Value::Object);
            let made = client.edit_upon(now, edit.clone(), seen);
            (edit, before, made)
        });
        self.stage.simulation.say(|| format!("device {} types upon {seen:?}: {made:?}", self.number));
        let Some((edit, before, Ok(made))) = made else { return };
        let mut shared = self.shared();
        let super::Shared { client, watch, words, .. } = &mut *shared;
        let Some(client) = client else { return };
        if self.stage.typing.is_some() {
            words.made(&edit, before.as_ref(), seen, 0);
        }
        // What stands upon another text than the one that is shown meets that one at once.
        if seen.is_none() {
            watch.made(client, &edit, made.group.as_deref());
        }
    }

    pub(super) fn decide(&self) {
        let dice = self.stage.simulation.dice().clone();
        let (pick, drawn) = (dice.below(1_000) as usize, dice.below(4));
        let merged = format!("merged-{}", dice.below(1_000_000));
        self.step(|client, now| {
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
        self.decided();
    }

    fn settle_failed(&self) {
        let dice = self.stage.simulation.dice().clone();
        let (pick, again) = (dice.below(1_000) as usize, dice.permille(500));
        let gone = self.step(|client, now| {
            let failed: Vec<String> = client
                .outbox()
                .iter()
                .filter(|entry| entry.state == State::Failed)
                .map(|entry| entry.key.clone())
                .collect();
            let Some(key) = failed.get(pick % failed.len().max(1)) else { return Vec::new() };
            match again {
                true => {
                    client.retry(now, key);
                    Vec::new()
                }
                false => client.discard(now, key),
            }
        });
        self.shared().watch.taken_back(gone.unwrap_or_default());
        self.decided();
    }

    fn back_and_forth(&self) {
        let undo = self.stage.simulation.dice().permille(600);
        self.step(|client, now| if undo { client.undo(now) } else { client.redo(now) });
        self.decided();
    }

    /// A person's own doing may end entries and make others; the watch takes them as they are.
    fn decided(&self) {
        let mut shared = self.shared();
        let super::Shared { client, watch, .. } = &mut *shared;
        if let Some(client) = client {
            watch.accept(client);
        }
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
    if field == "owner" {
        let at = text.len() % SUBJECTS.len();
        return SUBJECTS[at].into();
    }
    if field == "state" {
        return if text.ends_with('1') { "public".into() } else { "private".into() };
    }
    let held = client.view(entity).and_then(|row| row.get(field).and_then(Value::as_str).map(str::to_owned));
    match held.filter(|held| field == "body" && held.len() < 200) {
        Some(held) if text.len().is_multiple_of(2) => format!("{text} {held}").into(),
        Some(held) => format!("{held} {text}").into(),
        None => text.into(),
    }
}
