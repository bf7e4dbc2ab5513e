//! Plain SQL writers: transactions of several statements that stay open, move rows, and are given up at times.

use super::{ORGS, SUBJECTS, Stage, shared_id};
use crate::{Sql, SqlError};

/// Writes until the end.
pub(super) async fn run(stage: Stage) {
    let dice = stage.simulation.dice().clone();
    while stage.rest(dice.between(5, 600)).await {
        let Ok(mut sql) = stage.database.begin_sql().await else { continue };
        let written = statements(&stage, &mut sql).await;
        // Some stay open for long, and commit after those that began later.
        if dice.permille(150) {
            stage.simulation.clock().sleep_ms(dice.between(50, 4_000)).await;
        }
        if written.is_ok() && dice.permille(900) && sql.commit().await.is_err() {
            stage.network.count("sql commit unanswered");
        }
    }
}

async fn statements(stage: &Stage, sql: &mut Sql) -> Result<(), SqlError> {
    let dice = stage.simulation.dice();
    for _ in 0..dice.between(1, 5) {
        let kind = *dice.pick(&["page", "task", "note"]).unwrap_or(&"page");
        let id = shared_id(stage, kind);
        let text = format!("s{}", dice.below(1_000_000));
        let org = dice.pick(ORGS).copied();
        // A row keeps its organisation, but for a few that move.
        let moves = dice.permille(50);
        let of_id = ORGS[usize::from(id.ends_with(['1', '3', '5']))];
        let org = if moves { org } else { Some(of_id) };
        let mut values = match kind {
            "page" => vec![("title", Some(text.as_str()))],
            "task" => vec![("title", Some(text.as_str())), ("status", Some("open")), ("votes", Some("1"))],
            _ => vec![
                ("text", Some(text.as_str())),
                ("owner", dice.pick(SUBJECTS).copied()),
                ("state", dice.pick(&["public", "private"]).copied()),
            ],
        };
        if dice.permille(300) {
            values.truncate(1);
        }
        if moves || dice.permille(400) {
            values.push(("org", org));
        }
        match dice.permille(120) {
            true => sql.delete(kind, &id).await?,
            false => sql.put(kind, &id, &values).await?,
        }
        if dice.permille(200) {
            stage.simulation.clock().sleep_ms(dice.between(1, 300)).await;
        }
    }
    Ok(())
}
