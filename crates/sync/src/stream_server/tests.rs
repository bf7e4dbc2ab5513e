//! Streams over a small log in memory: what is shown, confirmed, held back and ended.

use std::collections::BTreeSet;

use antiphon_model::{Action, Commit, Condition, Lsn, Micros, RelationName, Role, Rule, Tenancy, Xid};
use proptest::prelude::*;

use super::*;

fn entity(name: &str, rules: Vec<Rule>) -> Arc<EntityType> {
    Arc::new(EntityType {
        name: name.into(),
        table: RelationName { schema: "public".into(), name: name.into() },
        org: Tenancy::Column("org".into()),
        key: vec!["id".into()],
        tx: "tx".into(),
        hidden: Vec::new(),
        sync: antiphon_model::Sync::All,
        filter: Vec::new(),
        together: Vec::new(),
        refs: Default::default(),
        fields: Default::default(),
        rules,
        polling: Default::default(),
    })
}

fn activity(id: u64, entity_type: &str, action: Action, actor: &str) -> Arc<Activity> {
    let commit = Commit { lsn: Lsn::new(id), seq: 0, last: true, xid: Xid::new(id), at: Micros(0) };
    Arc::new(Activity {
        id: ActivityId::new(id),
        org: "acme".into(),
        entity_type: entity_type.into(),
        entity_id: Some("7".into()),
        action,
        image: Some(r#"{"id":"7","title":"a"}"#.into()),
        changed: Some(r#"["title"]"#.into()),
        details: None,
        tx: Some(format!(r#"{{"transactionId":"t{id}","sourceId":"s","actor":"{actor}","changedField":"title"}}"#)),
        policy: None,
        schema: 1,
        commit,
    })
}

fn config(types: Option<&[&str]>, rules: Vec<Rule>) -> StreamConfig {
    StreamConfig {
        reader: Reader { subject: "bob".into(), role: Role::Member },
        entities: Arc::from(vec![entity("page", rules), entity("task", Vec::new())]),
        types: types.map(|types| types.iter().map(|name| (*name).to_owned()).collect()),
        snapshot: None,
        epoch: Epoch::FIRST,
        position: ActivityId::new(0),
        page: 3,
        rate: None,
    }
}

fn marks(durable: u64) -> Marks {
    Marks { epoch: Epoch::FIRST, durable: ActivityId::new(durable), floor: ActivityId::new(0) }
}

/// A stream with its log.
struct World {
    stream: StreamServer<Arc<Activity>>,
    log: Vec<Arc<Activity>>,
    now: u64,
}

impl World {
    fn new(config: StreamConfig) -> World {
        World { stream: StreamServer::new(config, marks(0), 0), log: Vec::new(), now: 0 }
    }

    fn append(&mut self, activity: Arc<Activity>) {
        let durable = activity.id.as_u64();
        self.log.push(activity);
        self.stream.handle(self.now, Input::Marks(marks(durable)));
    }

    /// Polls until there is nothing more to do now.
    fn run(&mut self) -> Vec<String> {
        let mut shown = Vec::new();
        while let Some(output) = self.stream.poll(self.now) {
            match output {
                Output::Read { after, limit } => {
                    let found: Vec<_> = self.log.iter().filter(|a| a.id > after).take(limit).cloned().collect();
                    let durable = self.log.last().map_or(ActivityId::new(0), |last| last.id);
                    let all = found.len() < limit;
                    let offset = if all { durable.max(after) } else { found.last().unwrap().id };
                    let page = Input::Page { activities: found, offset, up_to_date: all };
                    self.stream.handle(self.now, page);
                }
                Output::Frame(frame) => shown.push(describe(&frame)),
            }
        }
        shown
    }

    fn pass(&mut self, ms: u64) -> Vec<String> {
        self.now += ms;
        self.stream.handle(self.now, Input::Tick);
        self.run()
    }
}

fn describe(frame: &Frame<Arc<Activity>>) -> String {
    match frame {
        Frame::Change { activity, action, .. } => format!("{} {}", action.as_str(), activity.id),
        Frame::Offset(offset) => format!("offset {offset}"),
        Frame::Confirm { transaction_ids, offset } => format!("confirm {} at {offset}", transaction_ids.join(",")),
        Frame::Beat => "beat".into(),
        Frame::Reset { code, types, .. } => format!("reset {code} {}", types.join(",")),
        Frame::Notice { reason, .. } => format!("notice {reason}"),
    }
}

#[test]
fn a_reader_catches_up_is_told_so_and_follows_str_01() {
    let mut world = World::new(config(None, Vec::new()));
    (1..=4).for_each(|id| world.append(activity(id, "page", Action::Update, "alice")));
    assert_eq!(world.run(), ["update 1", "update 2", "update 3", "update 4", "offset 4"]);
    world.append(activity(5, "task", Action::Create, "alice"));
    assert_eq!(world.run(), ["create 5"]);
    assert_eq!(world.pass(14_999), [""; 0]);
    assert_eq!(world.pass(1), ["beat", "offset 5"]);
}

#[test]
fn what_is_left_out_is_covered_by_an_offset_and_ones_own_is_confirmed_str_02a() {
    let mut world = World::new(config(Some(&["page"]), Vec::new()));
    assert_eq!(world.run(), ["offset 0"]);
    world.append(activity(1, "task", Action::Create, "bob"));
    world.append(activity(2, "page", Action::Create, "bob"));
    world.append(activity(3, "", Action::Mark, "bob"));
    world.append(activity(4, "task", Action::Create, "alice"));
    let shown = world.run();
    let expected = ["confirm t1 at 1", "offset 1", "create 2", "confirm t3 at 3", "offset 3", "offset 4"];
    assert_eq!(shown, expected);
}

#[test]
fn a_row_that_enters_sight_is_a_create_and_one_that_leaves_it_a_delete_str_05() {
    let own = Rule { when: Some(Condition::Owner { column: "owner".into() }), read: Columns::All, ..Rule::default() };
    let mut world = World::new(config(None, vec![own]));
    world.run();
    let policies = [
        (Action::Create, r#"{"new":{"owner":"bob"}}"#),
        (Action::Update, r#"{"new":{"owner":"bob"}}"#),
        (Action::Update, r#"{"new":{"owner":"eve"},"old":{"owner":"bob"}}"#),
        (Action::Update, r#"{"new":{"owner":"eve"}}"#),
        (Action::Update, r#"{"new":{"owner":"bob"},"old":{"owner":"eve"}}"#),
        (Action::Delete, r#"{"old":{"owner":"bob"}}"#),
        (Action::Delete, r#"{"old":{"owner":null}}"#),
    ];
    for (id, (action, policy)) in (1..).zip(policies) {
        let activity = activity(id, "page", action, "alice");
        world.append(Arc::new(Activity { policy: Some(policy.into()), ..(*activity).clone() }));
    }
    let expected = ["create 1", "update 2", "delete 3", "offset 4", "create 5", "delete 6", "offset 7"];
    assert_eq!(world.run(), expected);
}

#[test]
fn nothing_follows_a_reset_or_a_notice() {
    for (input, expected) in [
        (Input::Standing(Standing::TokenEnded), "notice auth_expired"),
        (Input::Standing(Standing::PlaceLost), "notice access_revoked"),
        (Input::Standing(Standing::Changed(vec!["page".into()])), "reset ACCESS_CHANGED page"),
        (Input::Drain(500), "notice shutdown"),
        (Input::Stalled, "notice backpressure"),
        (Input::Marks(Marks { epoch: Epoch::new(2), ..marks(9) }), "reset EPOCH_CHANGED "),
        (Input::Marks(Marks { floor: ActivityId::new(8), ..marks(9) }), "reset OFFSET_EXPIRED "),
    ] {
        let mut world = World::new(config(None, Vec::new()));
        world.append(activity(1, "page", Action::Create, "alice"));
        world.stream.handle(0, input);
        assert_eq!(world.run(), [expected]);
        world.append(activity(2, "page", Action::Create, "alice"));
        assert_eq!(world.pass(60_000), [""; 0]);
        assert!(world.stream.over());
    }
}

#[test]
fn who_acknowledges_has_a_window_and_who_stops_is_let_go_str_04() {
    let mut world = World::new(StreamConfig { page: 100, ..config(None, Vec::new()) });
    assert_eq!(world.run(), ["offset 0"]);
    world.stream.handle(0, Input::Acknowledged(ActivityId::new(0)));
    (1..=300).for_each(|id| world.append(activity(id, "page", Action::Update, "alice")));
    assert_eq!(world.run().len(), UNACKNOWLEDGED_MAX);
    world.stream.handle(0, Input::Acknowledged(ActivityId::new(250)));
    assert_eq!(world.run().len(), 300 - UNACKNOWLEDGED_MAX);
    (301..=600).for_each(|id| world.append(activity(id, "page", Action::Update, "alice")));
    world.run();
    assert_eq!(world.pass(OVERLOADED_MS), ["notice backpressure"]);
}

#[test]
fn bytes_delay_and_a_long_overload_ends_it_str_04() {
    let mut world = World::new(StreamConfig { rate: Some((100, 100)), ..config(None, Vec::new()) });
    assert_eq!(world.run(), ["offset 0"]);
    (1..=3).for_each(|id| world.append(activity(id, "page", Action::Update, "alice")));
    let Some(Output::Read { after, .. }) = world.stream.poll(0) else { panic!("a read") };
    let page = Input::Page { activities: world.log.clone(), offset: ActivityId::new(3), up_to_date: true };
    assert_eq!(after, ActivityId::new(0));
    world.stream.handle(0, page);
    assert!(matches!(world.stream.poll(0), Some(Output::Frame(_))));
    world.stream.handle(0, Input::Sent(600));
    assert!(world.stream.poll(0).is_none());
    assert_eq!(world.stream.wake_at_ms(0), 5_010);
    assert_eq!(world.pass(5_010), ["update 2", "update 3"]);
    (4..=5).for_each(|id| world.append(activity(id, "page", Action::Update, "alice")));
    world.stream.handle(world.now, Input::Sent(3_000));
    assert_eq!(world.pass(9_999), ["beat"]);
    assert_eq!(world.pass(1), ["notice backpressure"]);
}

#[test]
fn a_position_that_is_not_durable_yet_waits_house_6() {
    let mut world = World::new(StreamConfig { position: ActivityId::new(5), ..config(None, Vec::new()) });
    world.stream.handle(0, Input::Marks(marks(3)));
    assert_eq!(world.run(), [""; 0]);
    assert_eq!(world.pass(40_000), ["beat"]);
    world.log = (1..=6).map(|id| activity(id, "page", Action::Update, "alice")).collect();
    world.stream.handle(world.now, Input::Marks(marks(6)));
    assert_eq!(world.run().first().map(String::as_str), Some("update 6"));
}

proptest! {
    #[test]
    fn prop_each_activity_is_shown_once_or_covered_and_each_own_one_is_confirmed_str_01(
        steps in proptest::collection::vec((0u8..6, 0u64..3_000, any::<bool>()), 1..120),
        page in 1usize..5, only_pages in any::<bool>(),
    ) {
        let types: Option<&[&str]> = if only_pages { Some(&["page"]) } else { None };
        let mut world = World::new(StreamConfig { page, ..config(types, Vec::new()) });
        let (mut shown, mut own) = (Vec::new(), BTreeSet::new());
        for (id, (kind, wait, runs)) in (1..).zip(&steps) {
            let (entity_type, action, actor) = match kind {
                0 => ("page", Action::Create, "alice"),
                1 => ("page", Action::Update, "bob"),
                2 => ("task", Action::Update, "bob"),
                3 => ("task", Action::Delete, "alice"),
                4 => ("", Action::Mark, "bob"),
                _ => ("gone", Action::Create, "alice"),
            };
            if actor == "bob" { own.insert(format!("t{id}")); }
            world.append(activity(id, entity_type, action, actor));
            if *runs { shown.extend(world.pass(*wait)); }
        }
        shown.extend(world.run());
        shown.extend(world.pass(HEARTBEAT_MS));
        let changes: Vec<&String> = shown.iter().filter(|text| !text.starts_with(['o', 'b']) && !text.starts_with("confirm")).collect();
        let wanted: Vec<String> = world.log.iter()
            .filter(|a| a.entity_type == "page" || (!only_pages && a.entity_type == "task"))
            .map(|a| format!("{} {}", a.action.as_str(), a.id)).collect();
        prop_assert_eq!(changes, wanted.iter().collect::<Vec<_>>());
        for id in &own {
            let number: u64 = id[1..].parse().unwrap();
            let seen = shown.iter().any(|text| text.ends_with(&format!(" {number}")) && text.starts_with(['u', 'c', 'd']) && !text.starts_with("confirm"));
            let confirmed = shown.iter().any(|text| text.starts_with("confirm") && text.split([' ', ',']).any(|word| word == id));
            prop_assert!(seen || confirmed, "{} is neither shown nor confirmed: {:?}", id, shown);
        }
        let ids: Vec<u64> = shown.iter().filter_map(|text| text.rsplit(' ').next()?.parse().ok()).collect();
        prop_assert!(ids.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", shown);
        prop_assert_eq!(world.stream.offset().as_u64(), steps.len() as u64);
    }
}
