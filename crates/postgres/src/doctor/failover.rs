//! Readiness for a failover: every lack of the chain from the primary's slot to the standby's copy of it.

use antiphon_engine::Fault;
use antiphon_model::Code;

use super::{DoctorConfig, Findings};
use crate::{
    ConnectionInfo,
    failover::{self, Lack},
};

pub(super) async fn check(info: &ConnectionInfo, config: &DoctorConfig, findings: &mut Findings) -> Result<(), Fault> {
    let readiness = failover::examine(info, config.standby.as_ref(), &config.slot).await?;
    for found in &readiness.lacks {
        let check = format!("failover {}", found.lack);
        let remedy = Some(found.remedy.clone());
        // Only this one holds changes back now; the others wait for a bad day.
        match found.lack {
            Lack::StandbyWaits => findings.problem(&check, Code::StandbyWaits, found.detail.clone(), remedy),
            _ => findings.warn(&check, found.detail.clone(), remedy),
        }
    }
    match readiness.word() {
        "ready" => {
            let detail = format!("{} would take over without a gap", readiness.seen.join(", "));
            findings.ok("failover", detail);
        }
        "no_standby" => findings.ok("failover", "no standby follows; a backup is what there is to go back to"),
        _ => {}
    }
    Ok(())
}
