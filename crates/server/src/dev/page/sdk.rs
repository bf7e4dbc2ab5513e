//! The SDK as pages load it from `antiphon dev`, and the smallest page that uses it (SDK-05).
//!
//! Laws: what is served is what `script/sdk` built when this binary was built, and a binary without it says so; the
//! example's one inline script runs by a nonce, so nothing that a row holds can become code. Any local page may load
//! the SDK, since it is no secret; tokens stay with the page of the same origin.

use antiphon_model::Code;
use axum::{
    Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::refusal;
use crate::desk::CORE;

const CLIENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/client.js"));
const LIST: &str = include_str!("../../../assets/list.html");

/// Makes the routes of the SDK.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/sdk/client.js", get(|| part("text/javascript; charset=utf-8", CLIENT)))
        .route("/sdk/core_bg.wasm", get(|| part("application/wasm", CORE)))
        .route("/sdk/list.html", get(list))
}

async fn part(kind: &'static str, bytes: &'static [u8]) -> Response {
    if bytes.is_empty() {
        return refusal(Code::NotFound, "this binary was built without the SDK: run script/sdk, then build it again");
    }
    let headers = [(header::CONTENT_TYPE, kind), (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (headers, bytes).into_response()
}

async fn list() -> Response {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let page = LIST.replacen("<script ", &format!("<script nonce=\"{nonce}\" "), 1);
    let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
    if let Ok(policy) = HeaderValue::from_str(&policy(&nonce)) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Names what the example may do: one script of its own, the SDK, and compiling the core.
fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; connect-src 'self'; \
         img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_example_runs_its_own_script_and_no_other_se_12() {
        let (one, other) = (list().await, list().await);
        let policies = [&one, &other].map(|response| response.headers()[header::CONTENT_SECURITY_POLICY].clone());
        assert_ne!(policies[0], policies[1], "a nonce serves once");
        assert!(!policies[0].to_str().expect("text").contains("unsafe-inline"));
        assert_eq!(LIST.matches("<script").count(), 1);
        assert!(LIST.lines().count() <= 10, "ten lines");
    }
}
