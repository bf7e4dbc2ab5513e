//! `sync once` and `sync watch`: the two that use the network.
//!
//! Laws: `once` ends when everything of the server is here and everything that could be sent is confirmed, or says why it
//! cannot; `watch` says what changes and goes on through every failure until it is interrupted.

use std::time::Duration;

use antiphon_model::Code;
use antiphon_replica::{
    Fault, Moment, Replica, Stopper,
    client::{Network, Object, Told},
};
use clap::Args;
use serde_json::{Value, json};

use super::{
    rows::{cell, network, what},
    tell_pending,
};
use crate::{commands::interrupted, context::Context, fault::Stop, output::Tone};

/// The arguments of `sync once`.
#[derive(Debug, Args)]
pub(super) struct OnceArgs {
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

/// Brings the replica in step.
pub(super) async fn once(context: &Context, replica: &mut Replica, args: &OnceArgs) -> Result<(), Stop> {
    let stop = Stopper::default();
    let (mut in_step, mut refused, mut was_online, mut interrupted_by_key) = (false, None, false, false);
    {
        let run = replica.run(&stop, |moment| {
            in_step = moment.in_step;
            refused = refusal(moment, &mut was_online);
            in_step || refused.is_some()
        });
        tokio::pin!(run);
        // The run is never dropped: it is told to stop, and ends by itself.
        tokio::select! {
            () = &mut run => {}
            () = tokio::time::sleep(Duration::from_secs(args.timeout)) => {
                stop.cancel();
                run.await;
            }
            () = interrupted() => {
                stop.cancel();
                interrupted_by_key = true;
                run.await;
            }
        }
    }
    match (in_step, refused, interrupted_by_key) {
        (true, ..) => {}
        (_, Some(fault), _) => return Err(fault.into()),
        (_, _, true) => return Err(Stop::Told(130)),
        _ => return Err(Fault::new(Code::TryAgain, format!("not in step after {} seconds", args.timeout)).into()),
    }
    let (status, (_, offset)) = (replica.status(), replica.client().position());
    if context.out.json() {
        return context.out.document(&json!({
            "version": 1, "offset": offset, "rows": status.rows, "pending": status.pending,
            "conflicted": status.conflicted, "refused": status.failed,
        }));
    }
    context.out.line(&format!("in step: {} rows", status.rows))?;
    tell_pending(context, replica);
    Ok(())
}

/// Tells why the server will not be reached in this run.
fn refusal(moment: &Moment<'_>, was_online: &mut bool) -> Option<Fault> {
    if moment.told.iter().any(|told| matches!(told, Told::TokenWanted)) {
        return Some(Fault::new(Code::Unauthenticated, "the server does not accept the token"));
    }
    if let Some(what) = moment.told.iter().find_map(|told| match told {
        Told::Nonsense(what) => Some(what),
        _ => None,
    }) {
        let detail = format!("what answers at this address is no Antiphon that this version knows: {what}");
        return Some(Fault::new(Code::ServerUnreachable, detail));
    }
    match moment.client.status().network {
        Network::Online => {
            *was_online = true;
            None
        }
        Network::Refused(403) => Some(Fault::new(Code::NotAMember, "")),
        Network::Refused(404) => Some(Fault::new(Code::ServerUnreachable, "there is no Antiphon at this address")),
        Network::Offline if !*was_online => Some(Fault::new(Code::ServerUnreachable, "")),
        Network::Connecting | Network::Offline | Network::Refused(_) => None,
    }
}

/// Stays in step, and prints what changes.
pub(super) async fn watch(context: &Context, replica: &mut Replica) -> Result<(), Stop> {
    let stop = Stopper::default();
    let mut printed = Ok(());
    context.out.talk("Ctrl-C ends");
    {
        let run = replica.run(&stop, |moment| {
            printed = moment.told.iter().try_for_each(|told| print(context, moment, told));
            printed.is_err()
        });
        tokio::pin!(run);
        tokio::select! {
            () = &mut run => {}
            () = interrupted() => {
                stop.cancel();
                run.await;
            }
        }
    }
    printed
}

fn print(context: &Context, moment: &Moment<'_>, told: &Told) -> Result<(), Stop> {
    let Some((tone, line, document)) = words(moment, told) else { return Ok(()) };
    match context.out.json() {
        true => context.out.document(&document),
        false => context.out.toned(tone, &line),
    }
}

fn words(moment: &Moment<'_>, told: &Told) -> Option<(Tone, String, Value)> {
    let entry = |key: &str| moment.client.outbox().find(key);
    Some(match told {
        Told::Rows(rows) => {
            let listed = rows.iter().map(|entity| {
                json!({"type": entity.entity_type, "id": entity.entity_id, "data": moment.client.view(entity)})
            });
            let document = json!({"event": "rows", "rows": listed.collect::<Vec<Value>>()});
            let first = rows.first()?;
            let line = match rows.len() {
                1 => format!("{} {} {}", first.entity_type, first.entity_id, title(moment.client.view(first))),
                count => format!("{count} rows, {} among them", first.entity_type),
            };
            (Tone::Quiet, line, document)
        }
        Told::Status(status) => {
            let (pending, conflicted, failed) = (status.pending, status.conflicted, status.failed);
            let (online, listed) = (network(status.network), status.listed);
            let line = format!("{online}: {pending} pending, {conflicted} conflicts, {failed} refused");
            let document = json!({
                "event": "status", "network": online, "listed": listed, "pending": pending, "conflicted": conflicted,
                "refused": failed
            });
            (Tone::Quiet, line, document)
        }
        Told::Conflict(key) => {
            let line = format!("conflict: {} (antiphon sync conflicts)", entry(key).map(what).unwrap_or_default());
            (Tone::Warning, line, json!({"event": "conflict", "key": key}))
        }
        Told::Failed(key) => {
            let refused = entry(key).and_then(|entry| entry.refused.clone());
            let code = refused.map(|refused| refused.code).unwrap_or_default();
            let line = format!("refused with {code}: {}", entry(key).map(what).unwrap_or_default());
            (Tone::Bad, line, json!({"event": "refused", "key": key, "code": code}))
        }
        Told::Decided(decided) => {
            let rule = serde_json::to_value(decided.rule).unwrap_or_default().into();
            let field = decided.field.as_deref().unwrap_or("(row)");
            let line = format!("decided by rule {}: {field}", cell(Some(&rule)));
            (Tone::Warning, line, json!({"event": "decided", "line": decided}))
        }
        Told::NotSaved { reason } => {
            let line = format!("nothing can be saved: {reason}");
            (Tone::Bad, line, json!({"event": "notSaved", "reason": reason}))
        }
        Told::TokenWanted => {
            let line = "the server does not accept the token".to_owned();
            (Tone::Bad, line, json!({"event": "tokenWanted"}))
        }
        Told::NewIdentity => {
            let line = "this clock was wrong, or the replica a copy: what waits has new ids".to_owned();
            (Tone::Warning, line, json!({"event": "newIdentity"}))
        }
        Told::Nonsense(what) => {
            let line = format!("the server said what cannot be understood: {what}");
            (Tone::Bad, line, json!({"event": "nonsense", "what": what}))
        }
        Told::Outbox | Told::Saved(_) | Told::Subsets(_) => return None,
    })
}

fn title(row: Option<Object>) -> String {
    let Some(row) = row else { return "(gone)".to_owned() };
    let name = ["title", "name"].iter().find_map(|field| row.get(field));
    name.map(|name| format!("\"{}\"", cell(Some(name)))).unwrap_or_default()
}
