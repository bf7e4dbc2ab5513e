//! A reader's own copy of the rows, kept by the rules of the join and nothing else (protocol 4).
//!
//! Law: an activity that the snapshot of a row's page already sees is ignored for that row; everything else is applied.

use std::{collections::BTreeMap, sync::Arc};

use antiphon_model::{Visibility, Xid};
use serde_json::Value;

/// A row, and what the page that brought it had seen.
type Seen = (Value, Option<Arc<Visibility>>);

/// Rows by type and id, each with what the page that brought it had seen.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    rows: BTreeMap<(String, String), Seen>,
}

impl View {
    /// Takes in a row of a page.
    pub(super) fn listed(&mut self, entity_type: &str, item: &Value, visibility: &Arc<Visibility>) {
        let data = &item["data"];
        let id = data["id"].as_str().unwrap_or_default().to_owned();
        self.rows.insert((entity_type.to_owned(), id), (data.clone(), Some(Arc::clone(visibility))));
    }

    /// Takes in an activity.
    pub(super) fn apply(&mut self, activity: &Value) {
        let text = |name: &str| activity[name].as_str().unwrap_or_default().to_owned();
        let key = (text("entityType"), text("entityId"));
        let xid = activity["commit"]["xid"].as_str().and_then(|text| text.parse().ok()).map(Xid::new);
        let visibility = self.rows.get(&key).and_then(|(_, visibility)| visibility.clone());
        if let (Some(visibility), Some(xid)) = (&visibility, xid)
            && visibility.sees(xid)
        {
            return;
        }
        match activity["action"].as_str() {
            Some("create" | "update") => drop(self.rows.insert(key, (activity["data"].clone(), visibility))),
            _ => drop(self.rows.remove(&key)),
        }
    }

    /// Returns the rows.
    pub(super) fn rows(&self) -> BTreeMap<(String, String), Value> {
        self.rows.iter().map(|(key, (data, ..))| (key.clone(), data.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_page_has_seen_is_ignored_and_the_rest_applied_str_02() {
        let mut view = View::default();
        let visibility: Arc<Visibility> = Arc::new("10:20:12".parse().unwrap());
        view.listed("page", &json!({ "data": { "id": "1", "title": "new" } }), &visibility);
        let change = |xid: &str, action: &str, title: &str| {
            json!({ "entityType": "page", "entityId": "1", "action": action, "data": { "id": "1", "title": title },
                    "commit": { "xid": xid } })
        };
        view.apply(&change("11", "update", "old"));
        assert_eq!(view.rows().values().next().unwrap()["title"], "new");
        view.apply(&change("12", "update", "newer"));
        assert_eq!(view.rows().values().next().unwrap()["title"], "newer");
        view.apply(&change("25", "delete", ""));
        assert!(view.rows().is_empty());
    }
}
