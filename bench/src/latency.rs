//! Writes single-row transactions at a steady rate, from several sessions.

use std::time::Duration;

use anyhow::Result;
use tokio::{task::JoinSet, time::Instant};
use tokio_postgres::NoTls;

/// So many sessions share the rate.
const SESSIONS: u64 = 16;

/// Writes for a while and returns how many transactions a second were reached.
pub(crate) async fn write(url: &str, rate: u64, seconds: u64, first_id: i64) -> Result<f64> {
    let started = Instant::now();
    let mut sessions = JoinSet::new();
    for session in 0..SESSIONS {
        let url = url.to_owned();
        sessions.spawn(async move { write_session(&url, session, rate, seconds, first_id).await });
    }
    let mut written = 0;
    while let Some(result) = sessions.join_next().await {
        written += result??;
    }
    Ok(written as f64 / started.elapsed().as_secs_f64())
}

async fn write_session(url: &str, session: u64, rate: u64, seconds: u64, first_id: i64) -> Result<u64> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    drop(antiphon_testkit::spawn("connection", connection));
    let statement = client
        .prepare("insert into items (id, organization_id, title, body) values ($1, 'acme', 'A title', repeat('body text ', 11))")
        .await?;
    let mut tick = tokio::time::interval(Duration::from_nanos(1_000_000_000 * SESSIONS / rate));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut written = 0;
    while Instant::now() < end {
        tick.tick().await;
        let id = first_id + (session * 10_000_000) as i64 + written as i64;
        client.execute(&statement, &[&id]).await?;
        written += 1;
    }
    Ok(written)
}
