//! People who type: bursts of small edits in one text, in few rows, so that those of several people meet (CORE-03, CORE-07).
//!
//! A [`Pen`] says what its person does next: puts words in at some place, goes on with the last one, takes a stretch out,
//! undoes, decides about a conflict, loses the network, reloads. Some write into an editor that shows its own text and
//! hands it over now and then, upon what was on screen when it was last filled; such a draft outlives its tab. Laws: all
//! draws are the pen's own, so worlds in which nobody types are as they would be without it; every word is written once.

mod words;

use antiphon_sync::client::{Client, Edit, EntityKey, Value};

pub(crate) use self::words::{Words, words_of};
use crate::Dice;

/// The type in whose rows people type.
pub(crate) const KIND: &str = "page";
/// Texts are kept about as long as this, in bytes.
const TEXT_BYTES: usize = 500;
/// What the dice of typing begin with, beside the seed.
const SALT: u64 = 0x0074_7970_696e_6700;

/// Returns the dice of a seed's people who type.
pub(crate) fn dice(seed: u64) -> Dice {
    Dice::new(seed ^ SALT)
}

/// The rows of an organisation in which everybody types.
pub(crate) fn hot(org: &str, number: u64) -> String {
    format!("{KIND}-hot-{org}-{number}")
}

/// What a person does next.
pub(crate) enum Stroke {
    /// Edits; upon this text, where it is not the one that is shown.
    Edit(Edit, Option<String>),
    /// Takes back what was done last.
    Undo,
    /// Does it again.
    Redo,
    /// Decides about a conflict.
    Decide,
    /// The network goes or comes.
    Offline(bool),
    /// The page is loaded anew.
    Reload,
    /// Nothing.
    Rest,
}

/// A text that is being typed.
#[derive(Clone, Debug)]
struct Burst {
    entity: EntityKey,
    field: &'static str,
    left: u64,
    pace_ms: u64,
    /// The editor's text, and what was on screen when it was filled.
    draft: Option<(String, String)>,
}

/// A person's way to type.
pub(crate) struct Pen {
    dice: Dice,
    /// Names its words.
    name: String,
    org: &'static str,
    made: u64,
    last: Option<String>,
    due_ms: u64,
    burst: Option<Burst>,
    online_in: u64,
}

impl Pen {
    /// Makes a pen whose words carry a number.
    pub(crate) fn new(dice: &Dice, number: u32, org: &'static str) -> Pen {
        let dice = dice.fork();
        let due_ms = dice.between(500, 3_000);
        Pen { dice, name: format!("w{number}x"), org, made: 0, last: None, due_ms, burst: None, online_in: 0 }
    }

    /// When it goes on, on the steady clock.
    pub(crate) fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// Says what its person does now.
    pub(crate) fn next(&mut self, client: &Client, now_ms: u64) -> Stroke {
        let stroke = self.stroke(client);
        let pause_ms = match &self.burst {
            // Some pause for a thought.
            Some(burst) if !self.dice.permille(60) => self.dice.between(burst.pace_ms / 3, burst.pace_ms),
            Some(_) => self.dice.between(300, 2_500),
            None => self.dice.between(100, 5_000),
        };
        self.due_ms = now_ms + pause_ms.max(1);
        stroke
    }

    fn stroke(&mut self, client: &Client) -> Stroke {
        if self.online_in > 0 {
            self.online_in -= 1;
            if self.online_in == 0 {
                return Stroke::Offline(false);
            }
        }
        let Some(mut burst) = self.burst.take().or_else(|| self.begin(client)) else { return Stroke::Rest };
        if burst.left == 0 {
            return self.last_word(client, &burst);
        }
        burst.left -= 1;
        let stroke = match self.dice.below(1_000) {
            0..45 => Stroke::Undo,
            45..65 => Stroke::Redo,
            65..120 => Stroke::Decide,
            120..145 if self.online_in == 0 => {
                self.online_in = self.dice.between(2, 12);
                Stroke::Offline(true)
            }
            145..152 => Stroke::Reload,
            _ => self.key(client, &mut burst),
        };
        self.burst = Some(burst);
        stroke
    }

    fn begin(&mut self, client: &Client) -> Option<Burst> {
        let entity = match self.dice.below(10) {
            0..8 => EntityKey::new(KIND, hot(self.org, self.dice.below(4) / 3)),
            _ => {
                let ids: Vec<String> = client.ids(KIND).into_iter().collect();
                EntityKey::new(KIND, self.dice.pick(&ids)?)
            }
        };
        let field = if self.dice.permille(880) { "body" } else { "title" };
        let pace_ms = *self.dice.pick(&[30, 80, 150, 300, 600])?;
        let draft = self.dice.permille(350).then(|| shown(client, &entity, field)).flatten();
        let draft = draft.filter(|_| field == "body").map(|text| (text.clone(), text));
        Some(Burst { entity, field, left: self.dice.between(3, 25), pace_ms, draft })
    }

    /// One edit; an editor keeps what is typed for a while.
    fn key(&mut self, client: &Client, burst: &mut Burst) -> Stroke {
        let Some(row) = client.view(&burst.entity) else {
            (burst.left, burst.draft) = (burst.left.min(2), None);
            return if self.dice.permille(500) { Stroke::Rest } else { Stroke::Edit(self.create(&burst.entity), None) };
        };
        let text = row.get(burst.field).and_then(Value::as_str).unwrap_or_default();
        let Some((mine, seen)) = burst.draft.take() else {
            return Stroke::Edit(set(burst, self.typed(text)), None);
        };
        let mine = self.typed(&mine);
        if self.dice.permille(650) {
            burst.draft = Some((mine, seen));
            return Stroke::Rest;
        }
        // From here on the editor shows what it has handed over, as what is shown will have it.
        let stroke = Stroke::Edit(set(burst, mine.clone()), Some(seen));
        burst.draft = Some((mine.clone(), mine));
        stroke
    }

    /// A burst ends: what an editor still holds is handed over.
    fn last_word(&mut self, client: &Client, burst: &Burst) -> Stroke {
        match &burst.draft {
            Some((mine, seen)) if mine != seen && client.view(&burst.entity).is_some() => {
                Stroke::Edit(set(burst, mine.clone()), Some(seen.clone()))
            }
            _ => Stroke::Rest,
        }
    }

    /// The editor takes in what is shown after it was handed over.
    pub(crate) fn shows(&mut self, client: &Client) {
        let Some(burst) = &mut self.burst else { return };
        // Not at once, and not always: another tab or a slow page is behind.
        if burst.draft.is_some() && self.dice.permille(700) {
            burst.draft = shown(client, &burst.entity, burst.field).map(|text| (text.clone(), text));
        }
    }

    fn create(&mut self, entity: &EntityKey) -> Edit {
        let data = [("id", entity.entity_id.as_str().into()), ("title", "hot".into()), ("body", self.fresh().into())];
        Edit::Create { entity: entity.clone(), data: data.into() }
    }

    /// Returns a text that is a little longer, or without a stretch.
    pub(crate) fn typed(&mut self, text: &str) -> String {
        let lines: Vec<&str> = text.lines().collect();
        let mut lines: Vec<Vec<String>> =
            lines.iter().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
        let place = self.dice.below(lines.len() as u64) as usize;
        match self.dice.below(100) {
            0..10 => cut(&self.dice, &mut lines, place, 4),
            _ if text.len() > TEXT_BYTES => cut(&self.dice, &mut lines, place, 12),
            10..30 => self.go_on(&mut lines, place),
            30..42 if lines.len() < 9 => {
                let at = self.dice.below(lines.len() as u64 + 1) as usize;
                lines.insert(at, vec![self.fresh()]);
            }
            _ => self.put_in(&mut lines, place),
        }
        lines.iter().map(|line| line.join(" ")).collect::<Vec<_>>().join("\n")
    }

    fn put_in(&mut self, lines: &mut Vec<Vec<String>>, place: usize) {
        let word = self.fresh();
        let Some(line) = lines.get_mut(place) else { return lines.push(vec![word]) };
        let at = match self.dice.below(4) {
            0 => 0,
            1 => line.len(),
            _ => self.dice.below(line.len() as u64 + 1) as usize,
        };
        line.insert(at, word);
    }

    /// The word that was typed last grows by a letter.
    fn go_on(&mut self, lines: &mut Vec<Vec<String>>, place: usize) {
        let last = self.last.clone().unwrap_or_default();
        let held = lines.iter_mut().flatten().find(|word| **word == last);
        match held.filter(|word| word.len() < 12) {
            Some(word) => {
                word.push(char::from(b'a' + self.dice.below(26) as u8));
                // A letter makes another word: it is as unique as the one that it grew from, and its length tells them apart.
                self.last = Some(word.clone());
            }
            None => self.put_in(lines, place),
        }
    }

    fn fresh(&mut self) -> String {
        self.made += 1;
        let word = format!("{}{}", self.name, self.made);
        self.last = Some(word.clone());
        word
    }
}

fn cut(dice: &Dice, lines: &mut Vec<Vec<String>>, place: usize, most: u64) {
    let Some(line) = lines.get_mut(place) else { return };
    let at = dice.below(line.len() as u64) as usize;
    let end = line.len().min(at + dice.between(1, most) as usize);
    line.drain(at..end);
    if line.is_empty() {
        lines.remove(place);
    }
}

fn set(burst: &Burst, text: String) -> Edit {
    let fields = [(burst.field, text.into())].into();
    Edit::Set { entity: burst.entity.clone(), fields }
}

/// Returns a text as it is shown; one that is not there is empty.
pub(crate) fn shown(client: &Client, entity: &EntityKey, field: &str) -> Option<String> {
    let row = client.view(entity)?;
    Some(row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned())
}
