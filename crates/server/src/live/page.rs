//! The stream as JSON: one page, or a long-poll that waits for one.
//!
//! Both read on past what is not for the reader, so that an answer without activities means that there are none yet.
//! Law: whoever waited is looked at again before the answer; what was lost meanwhile (STR-05) is not read.

use std::time::Duration;

use antiphon_model::Code;
use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use tokio::time::Instant;

use super::{
    cursor::{Cursor, Ended, Item, Reset},
    gone,
};
use crate::{
    app::{App, Caller, Standing},
    problem::Problem,
};

/// An answer to a page whose offset is not durable yet waits at most so long.
const WAIT_DURABLE: Duration = Duration::from_secs(20);
/// An answer reads at most so many pages of the log, so that a filter that matches nothing costs a bounded time.
const PAGES_MAX: usize = 50;

/// Answers with what is there.
pub(super) async fn page(app: &App, caller: &Caller, mut cursor: Cursor, limit: usize) -> Result<Response, Problem> {
    if !durable(app, &cursor, Instant::now() + WAIT_DURABLE).await {
        return Err(Problem::new(Code::TryAgain, "the offset is not durable yet").retry_after(1));
    }
    let (found, up_to_date) = collect(app, &mut cursor, limit).await?;
    entitled(app, caller, &cursor).await?;
    Ok(answer(&cursor, &found, up_to_date))
}

/// Answers as soon as there is something, or after the timeout.
pub(super) async fn poll(
    app: &App,
    caller: &Caller,
    mut cursor: Cursor,
    limit: usize,
    timeout_seconds: usize,
) -> Result<Response, Problem> {
    let deadline = Instant::now() + Duration::from_secs(timeout_seconds as u64);
    let mut head = app.bus.subscribe();
    loop {
        head.borrow_and_update();
        let (found, up_to_date) = match durable(app, &cursor, deadline).await {
            true => collect(app, &mut cursor, limit).await?,
            false => (Vec::new(), false),
        };
        let over = Instant::now() >= deadline || app.drain.is_cancelled();
        if !found.is_empty() || over {
            entitled(app, caller, &cursor).await?;
            return Ok(answer(&cursor, &found, up_to_date));
        }
        // Much that is not for this reader was read; what is may lie right behind it.
        if !up_to_date {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return Ok(answer(&cursor, &[], true)) },
            () = tokio::time::sleep_until(deadline) => {}
            () = app.drain.cancelled() => {}
        }
    }
}

/// Refuses whoever lost the right to read while the answer was made.
async fn entitled(app: &App, caller: &Caller, cursor: &Cursor) -> Result<(), Problem> {
    match app.standing(caller).await? {
        Standing::Same => Ok(()),
        Standing::TokenEnded => Err(Problem::new(Code::Unauthenticated, "the token has expired or was revoked")),
        Standing::PlaceLost => Err(Problem::new(Code::NotAMember, "")),
        Standing::Changed => Err(gone(&Reset { code: Code::AccessChanged, epoch: cursor.epoch })),
    }
}

/// Waits until the position is durable; `false` where it is not by the deadline, or where the server stops.
async fn durable(app: &App, cursor: &Cursor, deadline: Instant) -> bool {
    let mut head = app.bus.subscribe();
    let wait = head.wait_for(|head| head.durable >= cursor.position || head.epoch != cursor.epoch);
    tokio::select! {
        biased;
        waited = tokio::time::timeout_at(deadline, wait) => matches!(waited, Ok(Ok(_))),
        () = app.drain.cancelled() => false,
    }
}

async fn collect(app: &App, cursor: &mut Cursor, limit: usize) -> Result<(Vec<String>, bool), Problem> {
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let items = cursor.read(&app.bus, limit - found.len()).await.map_err(|ended| match ended {
            Ended::Reset(reset) => gone(&reset),
            Ended::Problem(problem) => problem,
        })?;
        for item in &items.items {
            if let Item::Change(activity) = item {
                let mut text = String::with_capacity(activity.byte_len());
                activity.write_json(&mut text);
                found.push(text);
            }
        }
        if items.up_to_date || found.len() >= limit {
            return Ok((found, items.up_to_date));
        }
    }
    Ok((found, false))
}

fn answer(cursor: &Cursor, found: &[String], up_to_date: bool) -> Response {
    let body = format!(
        "{{\"activities\":[{}],\"offset\":{},\"epoch\":{},\"access\":\"{}\",\"upToDate\":{up_to_date}}}",
        found.join(","),
        cursor.position,
        cursor.epoch,
        cursor.access
    );
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert("stream-next-offset", HeaderValue::from(cursor.position.as_u64()));
    response
}
