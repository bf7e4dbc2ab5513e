//! `antiphon version`.

use serde_json::json;

use crate::{context::Context, fault::Stop};

/// Prints the version.
pub(crate) fn run(context: &Context) -> Result<(), Stop> {
    let version = env!("CARGO_PKG_VERSION");
    if context.out.json() {
        return context.out.document(&json!({"version": 1, "antiphon": version}));
    }
    context.out.line(&format!("antiphon {version}"))
}
