//! What holds for every transaction, however it is cut into parts and wherever capture begins again.

use proptest::prelude::*;

use super::*;

const ORGS: [&str; 3] = ["acme", "globex", "initech"];
const LSN: u64 = 10;

/// One change, small enough to be shrunk.
#[derive(Clone, Debug)]
enum Step {
    Say { org: usize, several: bool },
    Hush,
    Forge,
    Insert { org: usize, stamped: bool },
    Update { org: usize, stale: bool },
    Move { from: usize, to: usize },
    Delete { org: usize },
    Nobodys,
    Everyones,
    Truncate,
    TruncateEveryones,
}

fn step() -> impl Strategy<Value = Step> {
    let org = || 0..ORGS.len();
    prop_oneof![
        4 => (org(), any::<bool>()).prop_map(|(org, several)| Step::Say { org, several }),
        1 => Just(Step::Hush),
        1 => Just(Step::Forge),
        2 => (org(), any::<bool>()).prop_map(|(org, stamped)| Step::Insert { org, stamped }),
        4 => (org(), any::<bool>()).prop_map(|(org, stale)| Step::Update { org, stale }),
        1 => (org(), org()).prop_map(|(from, to)| Step::Move { from, to }),
        3 => org().prop_map(|org| Step::Delete { org }),
        1 => Just(Step::Nobodys),
        1 => Just(Step::Everyones),
        1 => Just(Step::Truncate),
        1 => Just(Step::TruncateEveryones),
    ]
}

struct Story {
    changes: Vec<Change>,
    /// Organisation and id of each mutation that must come back to its author.
    owed: Vec<(String, String)>,
}

fn countries() -> (EntityType, Arc<Relation>) {
    let entity = EntityType {
        name: "country".into(),
        table: RelationName { schema: "public".into(), name: "countries".into() },
        org: Tenancy::Everyone,
        ..(*entity()).clone()
    };
    let mut relation = (*relation(ReplicaIdentity::Index)).clone();
    (relation.oid, relation.name) = (2, "countries".into());
    (entity, Arc::new(relation))
}

fn bench() -> Bench {
    let (country, countries) = countries();
    let known = vec![("page".into(), "initech".into())];
    let mapper = Mapper::new(&[entity(), Arc::new(country)], known).believing(key());
    let mut bench = Bench { mapper, relation: relation(ReplicaIdentity::Index) };
    bench.mapper.learn(&bench.relation, 7).unwrap();
    bench.mapper.learn(&countries, 8).unwrap();
    bench
}

fn tell(steps: &[Step]) -> Story {
    let (bench, (_, countries)) = (bench(), countries());
    let (mut changes, mut owed, mut reign) = (Vec::new(), Vec::new(), None);
    for (index, step) in steps.iter().enumerate() {
        let id = format!("{index:03}");
        let stamp = |id: &str, fields: &str| {
            let named = if reign.is_some() { "\"title\"" } else { "null" };
            format!(
                r#"{{"transactionId":"{id}","sourceId":"web","actor":"bob","changedField":{named},"fields":{{"*":"0"{fields}}}}}"#
            )
        };
        let by = reign.clone().unwrap_or_else(|| format!("sql{index}"));
        changes.push(match step {
            Step::Say { org, several } => {
                let other = format!("{index:03}a");
                owed.push((ORGS[*org].to_owned(), id.clone()));
                let fields: &[(&str, &str)] = if *several { &[("title", &id), ("body", &other)] } else { &[] };
                if *several {
                    owed.push((ORGS[*org].to_owned(), other.clone()));
                }
                reign = Some(id.clone());
                said(ORGS[*org], &id, fields)
            }
            Step::Hush => {
                reign = None;
                message(crate::seal(&key(), Xid::new(LSN), None))
            }
            Step::Forge => message(crate::seal(&key(), Xid::new(LSN + 1), None)),
            Step::Insert { org, stamped: false } => bench.insert(&id, ORGS[*org]),
            Step::Insert { org, stamped: true } => {
                let row = stamped(&id, ORGS[*org], "a", "b", &stamp(&by, ""));
                Change::Insert(bench.row(OldRow::Absent, Some(row)))
            }
            Step::Update { org, stale } => {
                let by = if *stale { "0" } else { &by };
                let row = stamped("1", ORGS[*org], "a", "b", &stamp(by, &format!(r#","title":"{by}""#)));
                Change::Update(bench.row(OldRow::Absent, Some(row)))
            }
            Step::Move { from, to } => {
                let row = stamped("1", ORGS[*to], "a", "b", &stamp(&by, ""));
                Change::Update(bench.row(identity("1", ORGS[*from]), Some(row)))
            }
            Step::Delete { org } => Change::Delete(bench.row(identity("1", ORGS[*org]), None)),
            Step::Nobodys => bench.insert(&id, ""),
            Step::Everyones => Change::Insert(ChangedRow {
                relation: Arc::clone(&countries),
                old: OldRow::Absent,
                new: Some(tuple(&id, "ignored", "t", Cell::Null)),
            }),
            Step::Truncate => Change::Truncate(vec![Arc::clone(&bench.relation)]),
            Step::TruncateEveryones => Change::Truncate(vec![Arc::clone(&countries)]),
        });
    }
    Story { changes, owed }
}

/// Maps the changes from `begin` on, cut after the given lengths, as one life of capture does.
fn live(changes: &[Change], cuts: &[usize], checkpoint: &Checkpoint, parts_max: usize) -> (Vec<Activity>, Checkpoint) {
    let (mut bench, mut activities, mut reached) = (bench(), Vec::new(), checkpoint.clone());
    let (mut first, mut cuts) = (0, cuts.iter().cycle());
    for _ in 0..parts_max {
        let end = cuts.next().map_or(changes.len(), |length| (first + length).min(changes.len()));
        let last = end == changes.len();
        let mapped = bench.map(LSN, first as u64, changes[first..end].to_vec(), last, checkpoint);
        activities.extend(mapped.activities);
        reached = Checkpoint { lsn: Lsn::new(LSN), ordinal: end as u64 - 1, complete: last, ..Checkpoint::start() };
        first = end;
        if last {
            break;
        }
    }
    (activities, reached)
}

/// What readers see, without marks that only end a transaction and without saying where it ends.
fn substance(activities: &[Activity]) -> Vec<Activity> {
    let said = activities.iter().filter(|activity| activity.action != Action::Mark || activity.tx.is_some());
    said.cloned()
        .map(|mut activity| {
            activity.commit.last = false;
            activity
        })
        .collect()
}

fn check(activities: &[Activity], owed: &[(String, String)]) -> Result<(), TestCaseError> {
    for pair in activities.windows(2) {
        prop_assert!(pair[0].commit.seq < pair[1].commit.seq, "places rise: {:#?}", brief_of(activities));
    }
    for org in ORGS {
        let seen: Vec<bool> =
            activities.iter().filter(|a| a.org == org || a.org == EVERYONE).map(|a| a.commit.last).collect();
        let ends = seen.iter().filter(|last| **last).count();
        prop_assert_eq!(ends, usize::from(!seen.is_empty()), "one end for {}: {:#?}", org, brief_of(activities));
        prop_assert!(seen.last().is_none_or(|last| *last), "the end is last for {org}");
    }
    for (org, id) in owed {
        let named = |activity: &Activity| {
            activity.org == *org && activity.read_tx().is_some_and(|tx| tx.ids().contains(&id.as_str()))
        };
        prop_assert!(activities.iter().any(named), "{id} comes back to {org}: {:#?}", brief_of(activities));
    }
    Ok(())
}

fn brief_of(activities: &[Activity]) -> Vec<String> {
    authors(&Mapped { activities: activities.to_vec(), ..Mapped::default() })
}

proptest! {
    #[test]
    fn prop_every_mutation_comes_back_and_every_transaction_ends_once(
        steps in prop::collection::vec(step(), 1..14),
        cuts in prop::collection::vec(1_usize..6, 1..4),
        died_after in 1_usize..4,
        again in prop::collection::vec(1_usize..6, 1..4),
    ) {
        let Story { changes, owed } = tell(&steps);
        let (whole, _) = live(&changes, &[changes.len()], &Checkpoint::start(), 1);
        check(&whole, &owed)?;
        let (parts, _) = live(&changes, &cuts, &Checkpoint::start(), usize::MAX);
        check(&parts, &owed)?;
        prop_assert_eq!(substance(&parts), substance(&whole));
        // A crash after some parts; the next life gets everything again, cut otherwise.
        let (mut lives, checkpoint) = live(&changes, &cuts, &Checkpoint::start(), died_after);
        lives.extend(live(&changes, &again, &checkpoint, usize::MAX).0);
        check(&lives, &owed)?;
        prop_assert_eq!(substance(&lives), substance(&whole));
    }
}
