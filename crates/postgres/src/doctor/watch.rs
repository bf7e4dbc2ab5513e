//! What the server watches all the time, looked at once: time until the slot is lost, orphans, who holds the log back.
//!
//! Two looks, a moment apart, tell how fast the log grows. What other checks of the doctor say in more detail is left to
//! them: the state of the slot itself, the publication and the tables.

use std::time::Duration;

use antiphon_engine::Fault;
use antiphon_model::Code;

use super::{DoctorConfig, Findings, Outcome};
use crate::{
    ConnectionInfo,
    health::{ConcernKind, Health, HealthConfig, Level},
};

/// Between the two looks.
const APART: Duration = Duration::from_millis(600);

pub(super) async fn check(info: &ConnectionInfo, config: &DoctorConfig, findings: &mut Findings) -> Result<(), Fault> {
    let mut health = Health::new(HealthConfig {
        info: info.clone(),
        slot: config.slot.clone(),
        publication: config.publication.clone(),
        method: config.method,
        entities: Vec::new(),
    });
    health.look().await?;
    tokio::time::sleep(APART).await;
    let look = health.look().await?;
    let ours = |kind: ConcernKind| {
        use ConcernKind as Kind;
        matches!(
            kind,
            Kind::SlotFilling | Kind::SlotOrphaned | Kind::SlotsMany | Kind::CatalogueOld | Kind::TransactionHolds
        )
    };
    let mut quiet = true;
    for concern in look.concerns.into_iter().filter(|concern| ours(concern.state)) {
        quiet = false;
        let (status, code) = match concern.level {
            Level::Urgent => (Outcome::Problem, (concern.state == ConcernKind::SlotFilling).then_some(Code::SlotLost)),
            Level::Warning | Level::Notice => (Outcome::Warning, None),
        };
        let check = format!("{} {}", concern.state.as_str(), concern.subject);
        findings.add(&check, status, code, concern.detail, Some(concern.remedy));
    }
    if quiet {
        findings.ok("watch", "nothing holds the server's log back, and no slot is orphaned");
    }
    Ok(())
}
