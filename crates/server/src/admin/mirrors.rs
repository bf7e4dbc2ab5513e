//! Mirrors for the doctor: reached, written by somebody, and moving.
//!
//! It asks the mirror's database and our own, and no server: what it says is true without one. Why a mirror is blocked
//! only the server that tries knows (`GET /v1/admin/mirrors`).

use antiphon_connectors::postgres::{Standing, connect_fault};
use antiphon_engine::{Fault, ports::ActivityLog};
use antiphon_postgres::{ConnectionInfo, connect_sql};

use super::{APPLICATION, Admin, Finding, Outcome};

/// A mirror that does not move for longer, though something waits for it, is told.
const STILL_SECONDS: u64 = 60;

impl Admin {
    /// Looks at a mirror; what cannot be examined is a finding too.
    pub async fn doctor_mirror(&self, name: &str, url: Result<String, Fault>) -> Finding {
        let found = async { self.mirror(name, &url?).await };
        let found = found.await.unwrap_or_else(|fault| {
            let remedy = Some(fault.code().hint().to_owned());
            Finding {
                check: String::new(),
                status: Outcome::Problem,
                code: Some(fault.code()),
                detail: fault.to_string(),
                remedy,
            }
        });
        Finding { check: format!("mirror {name}"), ..found }
    }

    async fn mirror(&self, name: &str, url: &str) -> Result<Finding, Fault> {
        let info = ConnectionInfo::parse(url)?;
        let client = connect_sql(&info, APPLICATION).await.map_err(connect_fault)?;
        let Some(standing) = Standing::of(&client, name).await? else {
            return Ok(finding("nothing is there yet: `antiphon serve` makes its tables", None));
        };
        let store = self.store().await?;
        let head = store.head().await?;
        let tables = match standing.listing {
            0 => format!("{} tables", standing.ready),
            listing => format!("{} tables, first rows of {listing} more come in", standing.ready),
        };
        let log = store.installation_name().await?;
        let (detail, behind) = match standing.offset(&log, head.epoch) {
            Some(offset) => {
                let behind = head.durable.as_u64().saturating_sub(offset.as_u64());
                (format!("at activity {offset}, {behind} behind; {tables}"), behind > 0)
            }
            None => (format!("of another log or epoch, so it begins anew; {tables}"), true),
        };
        let remedy = match (standing.written, behind && standing.still_seconds > STILL_SECONDS) {
            (false, _) => {
                Some("nobody writes it now: start `antiphon serve`, or see in GET /v1/admin/mirrors why it is blocked")
            }
            (true, true) => Some("it does not move: GET /v1/admin/mirrors says why"),
            (true, false) => None,
        };
        Ok(finding(&detail, remedy))
    }
}

fn finding(detail: &str, remedy: Option<&str>) -> Finding {
    let status = if remedy.is_some() { Outcome::Warning } else { Outcome::Ok };
    let (check, code) = (String::new(), None);
    Finding { check, status, code, detail: detail.to_owned(), remedy: remedy.map(str::to_owned) }
}
