//! `antiphon tail`: prints activities as they become durable.
//!
//! It reads the activity log itself, so it works without a server; only what is durable is shown, in order, once.
//! With `--json` each line is the very frame that the live stream sends.

use std::time::Duration;

use antiphon_model::{Action, Activity, ActivityId, Code, top_level_keys};
use antiphon_server::admin::{Fault, Head, LogReader, Scope};
use clap::Args;

use crate::{
    context::Context,
    fault::{Stop, not_found, usage},
    nearest::nearest,
    output::{Output, Tone},
};

const POLL: Duration = Duration::from_millis(100);
const PAGE_ACTIVITIES_MAX: usize = 500;

/// The arguments of `tail`.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:\n  antiphon tail --org acme\n  antiphon tail --org acme --from -1 --types page,task\n  antiphon tail --json --limit 10 | jq .data"
)]
pub(crate) struct TailArgs {
    /// Only this organisation, by id or slug
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
    /// Where to begin: now, -1 (everything still in the log), or an activity's number (exclusive)
    #[arg(long, value_name = "OFFSET", default_value = "now", allow_hyphen_values = true)]
    from: String,
    /// Only these entity types
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    types: Vec<String>,
    /// Stop after so many activities
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// Prints until interrupted.
pub(crate) async fn run(context: &Context, args: TailArgs) -> Result<(), Stop> {
    let (settings, admin) = context.admin()?;
    let declared: Vec<&str> = settings.entities().iter().map(|entity| entity.name.as_str()).collect();
    if let Some(unknown) = args.types.iter().find(|name| !declared.is_empty() && !declared.contains(&name.as_str())) {
        let near = nearest(unknown, declared.iter().copied());
        let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(Fault::new(Code::EntityTypeUnknown, format!("{unknown}{advice}")).into());
    }
    let scope = match &args.org {
        Some(name) => {
            let orgs = admin.people().await?.orgs().await?;
            let found = orgs.into_iter().find(|org| org.id == *name || org.slug == *name);
            Scope::Org(found.ok_or_else(|| not_found(format!("there is no organisation {name}")))?.id)
        }
        None => Scope::Everything,
    };
    let log = admin.log().await?;
    let head = log.head().await?;
    let after = begin(&args.from, &head)?;
    context.out.talk(&format!("activities after {after}; Ctrl-C ends"));
    let mut tail = Tail { out: &context.out, log, scope, types: args.types, after, epoch: head, left: args.limit };
    tail.follow().await
}

struct Tail<'a> {
    out: &'a Output,
    log: LogReader,
    scope: Scope,
    types: Vec<String>,
    after: ActivityId,
    epoch: Head,
    left: Option<u64>,
}

impl Tail<'_> {
    async fn follow(&mut self) -> Result<(), Stop> {
        while self.left != Some(0) {
            let head = self.log.head().await?;
            if head.epoch != self.epoch.epoch {
                self.out.talk(&format!("a new epoch began: {}; going on from its first activity", head.epoch));
                self.after = head.epoch.base();
            }
            self.epoch = head;
            let page = self.log.read(&self.scope, self.after, head.durable, PAGE_ACTIVITIES_MAX).await?;
            // Retention raises the floor before it drops; asked after the read, a gap cannot slip through.
            if self.log.head().await?.floor > self.after {
                return Err(Fault::new(Code::OffsetExpired, format!("activity {} is gone", self.after)).into());
            }
            let full = page.len() == PAGE_ACTIVITIES_MAX;
            for activity in &page {
                self.print(activity)?;
                self.after = activity.id;
                if self.left == Some(0) {
                    return Ok(());
                }
            }
            if !full {
                self.after = self.after.max(head.durable);
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    fn print(&mut self, activity: &Activity) -> Result<(), Stop> {
        let wanted = self.types.is_empty() || self.types.contains(&activity.entity_type);
        if activity.action == Action::Mark || !wanted {
            return Ok(());
        }
        let mut frame = String::new();
        activity.write_json(&mut frame);
        if self.out.json() {
            self.out.raw(&frame)?;
        } else {
            self.out.raw(&tidy(self.out, activity, &frame, matches!(self.scope, Scope::Everything)))?;
        }
        self.left = self.left.map(|left| left - 1);
        Ok(())
    }
}

/// Returns where to begin.
fn begin(from: &str, head: &Head) -> Result<ActivityId, Stop> {
    match from {
        "now" => Ok(head.durable),
        "-1" => Ok(head.floor),
        number => {
            let wrong = || usage(format!("--from takes now, -1 or an activity's number, not {number}"));
            let after = ActivityId::new(number.parse().map_err(|_| wrong())?);
            if after < head.floor {
                return Err(Fault::new(Code::OffsetExpired, format!("the log begins after {}", head.floor)).into());
            }
            if after > head.last {
                return Err(Fault::new(Code::OffsetInvalid, format!("the log ends at {}", head.last)).into());
            }
            Ok(after)
        }
    }
}

/// Returns an activity as one line for people.
fn tidy(out: &Output, activity: &Activity, frame: &str, show_org: bool) -> String {
    let frame: serde_json::Value = serde_json::from_str(frame).unwrap_or_default();
    let time = frame["createdAt"].as_str().and_then(|at| at.get(11..23)).unwrap_or_default().to_owned();
    let (word, tone) = match activity.action {
        Action::Create => ("create", Tone::Good),
        Action::Update => ("update", Tone::Warning),
        Action::Delete => ("delete", Tone::Bad),
        Action::Truncate => ("truncate", Tone::Bad),
        Action::Mark => ("mark", Tone::Quiet),
    };
    let name = ["title", "name"].iter().find_map(|field| frame["data"][*field].as_str());
    let mut line = format!("{time}  {:>6}  {word:<8}", activity.id);
    if show_org {
        line.push_str(&format!("  {}", activity.org));
    }
    line.push_str(&format!("  {}  {}", activity.entity_type, activity.entity_id.as_deref().unwrap_or("*")));
    if let Some(name) = name {
        let short: String = name.chars().take(60).collect();
        line.push_str(&format!("  \"{short}\""));
    }
    if activity.action == Action::Update {
        let changed: Vec<&str> =
            frame["changedKeys"].as_array().into_iter().flatten().filter_map(|key| key.as_str()).collect();
        line.push_str(&format!("  changed: {}", changed.join(", ")));
    } else if activity.action == Action::Create {
        let fields = activity.image.as_deref().map(top_level_keys).unwrap_or_default().len();
        line.push_str(&format!("  {fields} fields"));
    }
    let line = crate::output::neutral(&line.replace(['\n', '\t'], " ")).into_owned();
    line.replacen(word, &out.paint(tone, word), 1)
}
