//! Others who type in the same few texts, through the door: they read the text, change a place of it, send that at once.
//!
//! Law: what an author sends was made upon the text that it names; where that is not the present one, it reads again.

use serde_json::{Value, json};

use super::{Stage, writer::Writing};
use crate::{
    Dice, Kind,
    typing::{self, KIND, Pen},
};

/// An author at work.
pub(crate) struct Author {
    stage: Stage,
    writing: Writing,
    dice: Dice,
    pen: Pen,
}

impl Author {
    /// Makes an author.
    pub(crate) fn new(stage: Stage, client: u32) -> Author {
        let dice = stage.typing.as_ref().map_or_else(|| stage.simulation.dice().fork(), Dice::fork);
        let pen = Pen::new(&dice, client, super::ORGS[0]);
        Author { writing: Writing::new(stage.clone(), client), stage, dice, pen }
    }

    /// Types in bursts until the end.
    pub(crate) async fn run(mut self) {
        while self.stage.rest(self.dice.between(50, 2_500)).await {
            let Some((subject, org)) = self.stage.somebody() else { continue };
            let id = typing::hot(org, self.dice.below(4) / 3);
            let pace_ms = *self.dice.pick(&[20, 100, 400]).unwrap_or(&100);
            for _ in 0..self.dice.between(1, 8) {
                self.type_on(subject, org, &id).await;
                if !self.stage.rest(self.dice.between(pace_ms / 2, pace_ms)).await {
                    return;
                }
            }
        }
    }

    async fn type_on(&mut self, subject: &str, org: &str, id: &str) {
        let ids = Kind::Ids { entity_type: KIND.to_owned(), ids: vec![id.to_owned()] };
        let Some((200, answer)) = self.writing.ask(subject, org, ids).await else { return };
        let item = &answer["items"][0];
        let text = item["data"]["body"].as_str().unwrap_or_default();
        let typed = self.pen.typed(text);
        let edit = if item.is_null() {
            let tx = self.writing.tx(&json!({}), None);
            let data = json!({ "title": "hot", "body": typed });
            json!({ "entityType": KIND, "entityId": id, "action": "create", "data": data, "tx": tx })
        } else {
            let fields = &item["tx"]["fields"];
            let expected = fields.get("body").or_else(|| fields.get("*")).cloned().unwrap_or(Value::Null);
            let more = json!({ "changedField": "body", "expectedTransactionId": expected });
            let tx = self.writing.tx(&more, expected.as_str());
            let data = json!({ "body": typed });
            json!({ "entityType": KIND, "entityId": id, "action": "update", "data": data, "tx": tx })
        };
        let body = json!({ "atomic": false, "mutations": [edit] }).to_string();
        self.writing.send(subject, org, body).await;
    }
}
