//! `antiphon version`: the version, as text or as a document.
//!
//! The same text as `--version`; this form exists because scripts ask with `--json`. It reads nothing and fails only
//! where nobody reads its output.

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
