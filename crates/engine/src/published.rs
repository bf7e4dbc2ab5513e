//! An activity on its way to readers, encoded once for each way to see it (STR-03).
//!
//! Readers with the same columns share the same bytes; nearly all share those of the whole activity. Law: the bytes are
//! made at the first request and never change.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use antiphon_model::{Action, Activity, Columns, View};
use bytes::Bytes;

/// The bytes of one way to see an activity.
#[derive(Debug, Default)]
pub struct Encoded {
    /// The JSON object of protocol 4; empty where nothing of it is left.
    pub json: Bytes,
    /// The same as an event of a stream; made where it is asked for.
    sse: OnceLock<Bytes>,
}

impl Encoded {
    /// Returns the event of a stream, made by `write` at the first call.
    pub fn sse(&self, write: impl FnOnce(&str) -> String) -> &Bytes {
        // INVARIANT: the JSON was a String.
        self.sse.get_or_init(|| write(std::str::from_utf8(&self.json).unwrap_or_default()).into())
    }
}

/// An activity that readers may see.
#[derive(Debug)]
pub struct Published {
    activity: Activity,
    whole: OnceLock<Arc<Encoded>>,
    views: Mutex<Vec<(Action, Columns, Arc<Encoded>)>>,
}

impl Published {
    /// Takes an activity that has just become durable, or was read from the log.
    pub fn new(activity: Activity) -> Published {
        Published { activity, whole: OnceLock::new(), views: Mutex::default() }
    }

    /// Returns the bytes of the activity as a reader sees it.
    pub fn encoded(&self, action: Action, columns: &Columns) -> Arc<Encoded> {
        if action == self.activity.action && *columns == Columns::All {
            return Arc::clone(self.whole.get_or_init(|| self.encode(action, columns)));
        }
        // A panic cannot leave the list half changed.
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let known = views.iter().find(|(a, c, _)| *a == action && c == columns);
        if let Some((_, _, encoded)) = known {
            return Arc::clone(encoded);
        }
        let encoded = self.encode(action, columns);
        views.push((action, columns.clone(), Arc::clone(&encoded)));
        encoded
    }

    fn encode(&self, action: Action, columns: &Columns) -> Arc<Encoded> {
        let mut json = String::with_capacity(self.activity.byte_len() + 256);
        self.activity.write_view(&mut json, &View { action, columns });
        Arc::new(Encoded { json: json.into(), sse: OnceLock::new() })
    }
}

impl Deref for Published {
    type Target = Activity;

    fn deref(&self) -> &Activity {
        &self.activity
    }
}

impl AsRef<Activity> for Published {
    fn as_ref(&self) -> &Activity {
        &self.activity
    }
}
