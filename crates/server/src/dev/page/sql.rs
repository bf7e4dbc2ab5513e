//! Running what a person typed into the page, as that person would in psql.
//!
//! Bounded in time by the server and in rows and text here. Errors of the statement are part of the answer: they are
//! the person's own, in the person's own database.

use std::time::Instant;

use antiphon_engine::Fault;
use antiphon_postgres::{ConnectionInfo, connect_sql, errors};
use futures::TryStreamExt;
use serde_json::{Value, json};
use tokio_postgres::{Client, SimpleQueryMessage, error::DbError};

const ROWS_MAX: usize = 100;
const CELL_CHARS_MAX: usize = 2_000;
const RESULTS_MAX: usize = 20;
const TIMEOUT_MS: u32 = 10_000;

/// Runs SQL and returns its results as a document.
pub(super) async fn run(info: &ConnectionInfo, text: &str) -> Result<Value, Fault> {
    let client = connect_sql(info, "antiphon dev page").await?;
    let limits = format!("set statement_timeout = {TIMEOUT_MS}; set lock_timeout = {TIMEOUT_MS}");
    client.batch_execute(&limits).await.map_err(errors::sql)?;
    let started = Instant::now();
    let mut results = Vec::new();
    let error = collect(&client, text, &mut results).await.err();
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    results.truncate(RESULTS_MAX);
    Ok(json!({"results": results, "error": error.map(|error| told(&error)), "milliseconds": milliseconds}))
}

async fn collect(client: &Client, text: &str, results: &mut Vec<Value>) -> Result<(), tokio_postgres::Error> {
    let stream = client.simple_query_raw(text).await?;
    futures::pin_mut!(stream);
    let mut open: Option<(Value, Vec<Value>, bool)> = None;
    // Read to the end, also what is not shown: what was asked for is done whole.
    while let Some(message) = stream.try_next().await? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
                open = Some((json!(names), Vec::new(), false));
            }
            SimpleQueryMessage::Row(row) => {
                if let Some((_, rows, truncated)) = &mut open {
                    if rows.len() < ROWS_MAX {
                        let cells: Vec<Value> = (0..row.len()).map(|index| cell(row.get(index))).collect();
                        rows.push(Value::Array(cells));
                    } else {
                        *truncated = true;
                    }
                }
            }
            SimpleQueryMessage::CommandComplete(affected) => {
                let document = match open.take() {
                    Some((columns, rows, truncated)) => {
                        json!({"columns": columns, "rows": rows, "truncated": truncated, "affected": affected})
                    }
                    None => json!({"affected": affected}),
                };
                if results.len() < RESULTS_MAX {
                    results.push(document);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn cell(value: Option<&str>) -> Value {
    match value {
        None => Value::Null,
        Some(text) if text.chars().count() <= CELL_CHARS_MAX => json!(text),
        Some(text) => json!(text.chars().take(CELL_CHARS_MAX).chain(['…']).collect::<String>()),
    }
}

fn told(error: &tokio_postgres::Error) -> Value {
    match error.as_db_error() {
        Some(error) => json!({
            "message": error.message(), "code": error.code().code(), "detail": error.detail(), "hint": hint(error),
        }),
        None => json!({"message": error.to_string(), "code": null, "detail": null, "hint": null}),
    }
}

fn hint(error: &DbError) -> Option<String> {
    let hint = error.hint().map(str::to_owned);
    hint.or_else(|| error.detail().map(str::to_owned))
}
