//! Compares source, activity log and a connected reader: by key, version and content.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio_postgres::Client;

/// One activity, as the log or a reader has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: i64,
    pub org: String,
    pub entity: String,
    pub action: String,
    pub image: Option<Value>,
    pub place: (u64, i64),
}

/// What was found wrong; all zero is the claim.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub lost: u64,
    pub doubled: u64,
    pub out_of_order: u64,
    pub phantom: u64,
    pub different: u64,
    pub examples: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lost {}, doubled {}, out of order {}", self.lost, self.doubled, self.out_of_order)?;
        write!(f, " (phantom {}, different {})", self.phantom, self.different)
    }
}

impl Verdict {
    fn note(&mut self, count: impl FnOnce(&mut Verdict) -> &mut u64, by: u64, example: String) {
        *count(self) += by;
        if self.examples.len() < 10 {
            self.examples.push(example);
        }
    }

    pub fn clean(&self) -> bool {
        self.lost + self.doubled + self.out_of_order + self.phantom + self.different == 0
    }
}

/// A row: organisation, version, payload.
pub type Row = (String, i64, Option<String>);

/// Reads the rows of the source.
pub async fn source(client: &Client) -> Result<BTreeMap<String, Row>> {
    let rows = client.query("select id::text, organization_id, version::int8, payload from items", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3)))).collect())
}

/// Reads the whole activity log, marks left out.
pub async fn log(client: &Client) -> Result<Vec<Seen>> {
    let sql = "select id, org, coalesce(entity, ''), action, image, lsn, seq from log.activities where action <> 5 order by id";
    let rows = client.query(sql, &[]).await?;
    rows.iter()
        .map(|row| {
            let action = match row.get::<_, i16>(3) {
                1 => "create",
                2 => "update",
                3 => "delete",
                _ => "other",
            };
            let image = row.get::<_, Option<String>>(4).map(|image| serde_json::from_str(&image)).transpose()?;
            Ok(Seen {
                id: row.get(0),
                org: row.get(1),
                entity: row.get(2),
                action: action.into(),
                image,
                place: (row.get::<_, i64>(5) as u64, row.get(6)),
            })
        })
        .collect()
}

/// Reads an activity as a stream shows it.
pub fn frame(org: &str, data: &str) -> Result<Seen> {
    let value: Value = serde_json::from_str(data)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("not a string");
    let lsn = text(&value["commit"]["lsn"])?;
    let lsn: antiphon_model::Lsn = lsn.parse()?;
    Ok(Seen {
        id: value["activityId"].as_i64().context("no activityId")?,
        org: org.into(),
        entity: text(&value["entityId"])?,
        action: text(&value["action"])?,
        image: Some(value["data"].clone()).filter(|data| !data.is_null()),
        place: (lsn.as_u64(), value["commit"]["seq"].as_i64().context("no seq")?),
    })
}

/// Replays the log and compares it with the source.
pub fn compare(log: &[Seen], source: &BTreeMap<String, Row>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut alive: BTreeMap<&str, Row> = BTreeMap::new();
    let mut versions: BTreeMap<&str, i64> = BTreeMap::new();
    for pair in log.windows(2) {
        if pair[1].place == pair[0].place {
            verdict.note(|v| &mut v.doubled, 1, format!("one place twice: {:?}", pair));
        } else if pair[1].place < pair[0].place || pair[1].id <= pair[0].id {
            verdict.note(|v| &mut v.out_of_order, 1, format!("places go back: {:?}", pair));
        }
    }
    for seen in log {
        let Some(image) = &seen.image else {
            if alive.remove(&*seen.entity).is_none() {
                verdict.note(|v| &mut v.out_of_order, 1, format!("a delete of nothing: {seen:?}"));
            }
            continue;
        };
        let version = image["version"].as_i64().unwrap_or(-1);
        let payload = image.get("payload").and_then(Value::as_str).map(str::to_owned);
        if payload.as_deref() == Some("phantom") {
            verdict.note(|v| &mut v.phantom, 1, format!("rolled back, and yet here: {seen:?}"));
        }
        let before = versions.insert(&seen.entity, version).unwrap_or(0);
        match version - before {
            1 => {}
            0 => verdict.note(|v| &mut v.doubled, 1, format!("version {version} again: {seen:?}")),
            more @ 2.. => verdict.note(|v| &mut v.lost, more as u64 - 1, format!("after version {before}: {seen:?}")),
            _ => verdict.note(|v| &mut v.out_of_order, 1, format!("after version {before}: {seen:?}")),
        }
        // A payload that did not change may be named in `unchanged`: the replay keeps what it knew.
        let kept = alive.get(&*seen.entity).and_then(|row| row.2.clone());
        alive.insert(&seen.entity, (seen.org.clone(), version, payload.or(kept)));
    }
    for (id, row) in source {
        match alive.remove(id.as_str()) {
            None => verdict.note(|v| &mut v.lost, 1, format!("{id} is not in the log")),
            // A row that moved organisation with its long payload unchanged is completed by the client (protocol 2).
            Some(seen) if (&seen.0, seen.1) != (&row.0, row.1) || (seen.2.is_some() && seen.2 != row.2) => {
                verdict.note(|v| &mut v.different, 1, format!("{id}: {seen:?} in the log, {row:?} in the source"));
            }
            Some(_) => {}
        }
    }
    for id in alive.into_keys() {
        verdict.note(|v| &mut v.lost, 1, format!("the deletion of {id} is not in the log"));
    }
    verdict
}

/// Replays a log that holds copies, and compares its end with the source.
///
/// A copied row may repeat what the stream has brought, but never take it back. Every value must be at hand: where the
/// stream left one out as unchanged, the copy has to bring it.
pub fn compare_end(log: &[Seen], source: &BTreeMap<String, Row>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut alive: BTreeMap<&str, Row> = BTreeMap::new();
    for seen in log {
        let Some(image) = &seen.image else {
            alive.remove(&*seen.entity);
            continue;
        };
        let version = image["version"].as_i64().unwrap_or(-1);
        let payload = image.get("payload").and_then(Value::as_str).map(str::to_owned);
        let before = alive.get(&*seen.entity);
        if before.is_some_and(|row| row.1 > version) {
            verdict.note(|v| &mut v.out_of_order, 1, format!("a copy took back version {before:?}: {seen:?}"));
        }
        let kept = before.and_then(|row| row.2.clone());
        alive.insert(&seen.entity, (seen.org.clone(), version, payload.or(kept)));
    }
    for (id, row) in source {
        match alive.remove(id.as_str()) {
            None => verdict.note(|v| &mut v.lost, 1, format!("{id} is not in the log")),
            Some(seen) if (&seen.0, seen.1) != (&row.0, row.1) => {
                verdict.note(|v| &mut v.different, 1, format!("{id}: {seen:?} in the log, {row:?} in the source"));
            }
            // A move to another organisation after the copy leaves out a long value: that reader asks for it (protocol 2).
            Some(seen) if seen.2.is_some() && seen.2 != row.2 => {
                verdict.note(|v| &mut v.different, 1, format!("{id}: {seen:?} in the log, {row:?} in the source"));
            }
            Some(_) => {}
        }
    }
    for id in alive.into_keys() {
        verdict.note(|v| &mut v.lost, 1, format!("the deletion of {id} is not in the log"));
    }
    verdict
}

/// Compares what a reader of one organisation was shown with the log.
pub fn compare_reader(reader: &[Seen], log: &[Seen], org: &str) -> Verdict {
    let mut verdict = Verdict::default();
    let expected: BTreeMap<i64, &Seen> =
        log.iter().filter(|seen| seen.org == org).map(|seen| (seen.id, seen)).collect();
    let mut shown: BTreeMap<i64, u64> = BTreeMap::new();
    let mut last = 0;
    for seen in reader {
        *shown.entry(seen.id).or_default() += 1;
        if seen.id < last {
            verdict.note(|v| &mut v.out_of_order, 1, format!("shown after {last}: {seen:?}"));
        }
        last = seen.id;
        match expected.get(&seen.id) {
            None => verdict.note(|v| &mut v.phantom, 1, format!("shown and taken back: {seen:?}")),
            Some(own) if *own != seen => {
                verdict.note(|v| &mut v.different, 1, format!("{seen:?} shown, {own:?} in the log"))
            }
            Some(_) => {}
        }
    }
    for (id, count) in &shown {
        if *count > 1 {
            verdict.note(|v| &mut v.doubled, count - 1, format!("activity {id} shown {count} times"));
        }
    }
    for (id, seen) in expected {
        if !shown.contains_key(&id) {
            verdict.note(|v| &mut v.lost, 1, format!("never shown: {seen:?}"));
        }
    }
    verdict
}
