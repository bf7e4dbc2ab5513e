//! How many rows a table has, as the planner guesses now.
//!
//! It knows the table's present size, so it follows a table that grows, and guesses one that was never analysed.

use antiphon_engine::Fault;
use antiphon_model::RelationName;
use tokio_postgres::Client;

use crate::{errors, qualified};

/// Asks the planner; `None` where it does not say.
pub(super) async fn rows(client: &Client, table: &RelationName) -> Result<Option<u64>, Fault> {
    let statement = format!("explain (format json) select from {}", qualified(table)?);
    // A simple query: the plan comes as text, whatever its type.
    let messages = client.simple_query(&statement).await.map_err(errors::sql)?;
    let text = messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plan: Option<serde_json::Value> = text.and_then(|text| serde_json::from_str(text).ok());
    Ok(plan.and_then(|plan| plan[0]["Plan"]["Plan Rows"].as_f64()).map(|rows| rows.max(0.0) as u64))
}
