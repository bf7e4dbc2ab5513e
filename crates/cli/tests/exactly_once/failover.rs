//! Two servers on one database: whichever captures is killed, and readers at the other one notice nothing (LOG-05, OP-01).
//!
//! Some readers follow from the beginning, others list in the very moment of a failover, at either server, and then
//! follow: what they end with is what the source holds.

use std::collections::BTreeMap;

use antiphon_testkit::{get, sse};
use tokio::task::JoinHandle;

use crate::{
    scene::{DEADLINE, Scene},
    verify::{self, Row},
};

/// Rows of a page: small, so that a list spans a failover.
const PAGE: usize = 200;
/// Rows of a page once nothing is killed any more.
const LAST_PAGE: usize = 1_000;

/// A reader that lists, follows, and ends with the last row of all.
pub struct Joiner(JoinHandle<BTreeMap<String, Row>>);

impl Joiner {
    /// Starts one; it asks the servers in this order, each after a failure of the one before.
    pub fn start(scene: &Scene, bases: Vec<String>) -> Joiner {
        let token = scene.token().to_owned();
        Joiner(antiphon_testkit::spawn("joiner", async move { join(&bases, &token).await }))
    }

    /// Waits for its end and tells how it differs from the source.
    pub async fn differs(self, source: &BTreeMap<String, Row>) -> Vec<String> {
        let rows = tokio::time::timeout(DEADLINE, self.0).await.expect("the last row is shown").expect("no panic");
        let mut wanted: BTreeMap<&String, &Row> = source.iter().filter(|(_, row)| row.0 == "acme").collect();
        let mut differences = Vec::new();
        for (id, row) in &rows {
            match wanted.remove(id) {
                None => differences.push(format!("{id} is no more, and yet shown: {row:?}")),
                // A value that came unchanged with a row that moved here is asked for by a client (protocol 2).
                Some(own) if own.1 != row.1 || (row.2.is_some() && own.2 != row.2) => {
                    differences.push(format!("{id}: {row:?} shown, {own:?} in the source"));
                }
                Some(_) => {}
            }
        }
        differences.extend(wanted.into_keys().map(|id| format!("{id} is not shown")));
        differences
    }
}

async fn join(bases: &[String], token: &str) -> BTreeMap<String, Row> {
    let mut servers = bases.iter().cycle();
    let mut ended = false;
    let (mut rows, offset) = loop {
        let base = servers.next().expect("a server");
        let page = if ended { LAST_PAGE } else { PAGE };
        let Some(listed) = list(base, token, page).await else { continue };
        if ended {
            return listed.0;
        }
        // Its first pages may be from before the last row, which no stream will tell again: nobody writes any more, so
        // a list begun now holds everything.
        ended = listed.0.values().any(|row| row.2.as_deref() == Some("sentinel"));
        if !ended {
            break listed;
        }
    };
    let mut last: Option<String> = None;
    for base in servers {
        if rows.values().any(|row| row.2.as_deref() == Some("sentinel")) {
            break;
        }
        let url = format!("{base}/v1/orgs/acme/live?live=sse&offset={offset}&epoch=1");
        let Ok(mut stream) = sse(&url, Some(token), last.as_deref()).await else { continue };
        while let Ok(Some(event)) = stream.next(DEADLINE).await {
            assert_ne!(event.event, "reset", "a reader was reset: {}", event.data);
            if event.event == "change" && apply(&mut rows, &event.data) {
                break;
            }
            last = event.id.or(last);
        }
    }
    rows
}

/// Lists every row page by page; `None` where the server cannot just now. The offset is the lowest of all pages.
async fn list(base: &str, token: &str, rows_max: usize) -> Option<(BTreeMap<String, Row>, u64)> {
    let (mut rows, mut offset, mut after) = (BTreeMap::new(), u64::MAX, String::new());
    loop {
        let url = format!("{base}/v1/orgs/acme/entities/item?limit={rows_max}&after={after}");
        let page = get(&url, Some(token), &[]).await.ok().filter(|page| page.status == 200)?.json().ok()?;
        assert_eq!(page["epoch"], 1, "an epoch began by itself");
        offset = offset.min(page["offset"].as_u64()?);
        for item in page["items"].as_array()? {
            let data = &item["data"];
            let row = ("acme".to_owned(), data["version"].as_i64()?, data["payload"].as_str().map(str::to_owned));
            rows.insert(data["id"].as_str()?.to_owned(), row);
        }
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => return Some((rows, offset)),
        }
    }
}

/// Applies a change; `true` where it is the last row of all.
fn apply(rows: &mut BTreeMap<String, Row>, data: &str) -> bool {
    let seen = verify::frame("acme", data).expect("a change has the shape of the protocol");
    let Some(image) = seen.image else {
        rows.remove(&seen.entity);
        return false;
    };
    let kept = rows.remove(&seen.entity).and_then(|row| row.2);
    let payload = image.get("payload").and_then(serde_json::Value::as_str).map(str::to_owned).or(kept);
    let last = payload.as_deref() == Some("sentinel");
    rows.insert(seen.entity, ("acme".into(), image["version"].as_i64().unwrap_or(-1), payload));
    last
}
