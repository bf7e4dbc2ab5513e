//! Neither tokens nor tickets are ever written down: not in the log at its loudest, not in metrics, not in answers
//! (SEC-03, SE-11, SE-16).

use std::{
    fmt::{self, Write},
    sync::{Mutex, PoisonError},
};

use antiphon_testkit::{for_each_postgres, get, request, sse};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::stage::{Stage, next};

/// What must not be said, what was said of it, and how much was said in all.
static WATCHED: Mutex<(Vec<String>, Vec<String>, usize)> = Mutex::new((Vec::new(), Vec::new(), 0));

fn watched<T>(act: impl FnOnce(&mut (Vec<String>, Vec<String>, usize)) -> T) -> T {
    act(&mut WATCHED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Reads the whole log of this process, every level of it.
struct Listener;

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).expect("a text grows");
    }
}

fn hear(text: Text) {
    watched(|(secrets, heard, lines)| {
        *lines += 1;
        if secrets.iter().any(|secret| text.0.contains(secret.as_str())) {
            heard.push(text.0);
        }
    });
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = Text::default();
        span.record(&mut text);
        hear(text);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut text = Text::default();
        values.record(&mut text);
        hear(text);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        hear(text);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn no_token_and_no_ticket_is_ever_written_down_sec_03() {
    // The one of this process; no other test sets one.
    tracing::subscriber::set_global_default(Listener).expect("the first listener");
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let issued = request("POST", &stage.url("/v1/tickets"), Some(&stage.alice), &[], b"").await.expect("an answer");
        let ticket = issued.json().expect("JSON")["ticket"].as_str().expect("a ticket").to_owned();
        // Behind the prefix, which is no secret.
        let bare = |secret: &str| secret[10..40].to_owned();
        let unknown = format!("ant_{}", "5e".repeat(32));
        let secrets = [bare(&stage.alice), bare(&ticket), bare(&unknown)];
        watched(|(all, ..)| all.extend(secrets.iter().cloned()));
        let mut answers = String::new();
        let live = "/v1/orgs/acme/live";
        for (method, path, token) in [
            ("GET", live.to_owned(), Some(&unknown)),
            ("GET", format!("{live}?token={}", stage.alice), None),
            ("GET", format!("{live}?ticket={}", stage.alice), None),
            ("GET", format!("{live}?access_token={ticket}"), Some(&stage.alice)),
            ("GET", format!("{live}?ticket={ticket}&offset=x"), Some(&stage.alice)),
            ("GET", format!("/v1/orgs/{}/live", stage.alice), Some(&stage.alice)),
            ("GET", format!("/v1/orgs/acme/schema?{ticket}=1"), None),
            ("POST", format!("/v1/tickets?ticket={ticket}"), None),
            ("GET", "/metrics".into(), None),
        ] {
            let token = token.map(String::as_str);
            let answer = request(method, &stage.url(&path), token, &[], b"").await.expect("an answer");
            answers.push_str(&answer.text());
            answers.push_str(&format!("{:?}", answer.headers));
        }
        let mut stream =
            sse(&stage.url(&format!("{live}?live=sse&ticket={ticket}")), None, None).await.expect("a stream");
        next(&mut stream, "offset").await;
        let used = get(&stage.url(&format!("{live}?ticket={ticket}")), None, &[]).await.expect("an answer");
        answers.push_str(&used.text());
        for secret in &secrets {
            assert!(!answers.contains(secret.as_str()), "an answer repeats a secret");
        }
        let (heard, lines) = watched(|(_, heard, lines)| (heard.clone(), *lines));
        assert!(lines > 20, "the log was not read: {lines} lines");
        assert!(heard.is_empty(), "{heard:#?}");
    })
    .await;
}
