//! `antiphon doctor`: checks what a first run needs and prints the exact remedy of each finding.
//!
//! It ends with the exit code of the first problem, so that a script learns what kind of problem it is.

use antiphon_server::admin::{Admin, Finding, Outcome};
use clap::Args;
use serde_json::json;

use crate::{
    context::Context,
    fault::{Stop, exit_code},
    output::Tone,
};

/// The arguments of `doctor`.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:\n  antiphon doctor\n  antiphon doctor --database-url postgres://me@localhost/app --json"
)]
pub(crate) struct DoctorArgs {}

/// Checks and prints.
pub(crate) async fn run(context: &Context, _args: DoctorArgs) -> Result<(), Stop> {
    let (settings, admin) = context.admin()?;
    let mut findings = examine(context, &admin).await;
    for mirror in settings.mirrors() {
        let url = mirror.resolve(&context.environment).map(|(_, url)| url);
        findings.push(admin.doctor_mirror(&mirror.name, url).await);
    }
    if context.out.json() {
        context.out.document(&json!({"version": 1, "healthy": worst(&findings).is_none(), "findings": findings}))?;
    } else {
        print(context, &findings)?;
    }
    match worst(&findings) {
        Some(code) => Err(Stop::Told(code)),
        None => Ok(()),
    }
}

/// Runs the checks.
pub(crate) async fn examine(context: &Context, admin: &Admin) -> Vec<Finding> {
    let step = context.out.step("examining the database");
    let findings = admin.doctor().await;
    drop(step);
    findings
}

/// Prints findings for people, problems with their remedy.
pub(crate) fn print(context: &Context, findings: &[Finding]) -> Result<(), Stop> {
    for finding in findings {
        let (word, tone) = match finding.status {
            Outcome::Ok => ("ok     ", Tone::Good),
            Outcome::Warning => ("warning", Tone::Warning),
            Outcome::Problem => ("problem", Tone::Bad),
        };
        let line = crate::output::neutral(&format!("{}: {}", finding.check, finding.detail)).into_owned();
        context.out.raw(&format!("{}  {line}", context.out.paint(tone, word)))?;
        if let Some(remedy) = finding.remedy.as_ref().filter(|_| finding.status != Outcome::Ok) {
            for line in remedy.lines() {
                context.out.line(&format!("           {line}"))?;
            }
        }
    }
    let problems = findings.iter().filter(|finding| finding.status == Outcome::Problem).count();
    let warnings = findings.iter().filter(|finding| finding.status == Outcome::Warning).count();
    context.out.talk(&format!("{problems} problems, {warnings} warnings, {} checks", findings.len()));
    Ok(())
}

/// Returns the exit code of the first problem, if there is one.
pub(crate) fn worst(findings: &[Finding]) -> Option<u8> {
    let problem = findings.iter().find(|finding| finding.status == Outcome::Problem)?;
    Some(problem.code.map_or(1, exit_code))
}
