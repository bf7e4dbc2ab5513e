//! Role x action x column over the real service (MUT-05, SEC-01).
//!
//! The table below is written by hand and knows nothing of the code that decides. A further action (a patch, a stream)
//! is a further line of `ACTIONS` and an arm of `observed`, or of a test of its own that walks `GRANTS`.

use std::collections::BTreeSet;

use antiphon_model::{Columns, Condition, EntityType, RelationName, Role, Rule, Sync, Tenancy};
use antiphon_testkit::{Pg, for_each_postgres};
use serde_json::Value;

use crate::stage::{Setup, Stage};

/// Every column of a memo that may leave the server.
pub const COLUMNS: [&str; 7] = ["id", "org", "owner", "state", "title", "body", "salary"];
/// The roles, each of which is the name of its member too.
pub const ROLES: [Role; 4] = [Role::Viewer, Role::Member, Role::Admin, Role::Owner];
/// The ways of reading that the matrix walks.
const ACTIONS: [Action; 3] = [Action::List, Action::Get, Action::Field];
const TABLE: &str = "
create table memos (id text primary key, org text not null, owner text, state text, title text, body text, salary text);
create unique index memos_identity on memos (id, org);";

/// A way of reading a row.
#[derive(Clone, Copy, Debug)]
enum Action {
    List,
    Get,
    Field,
}

/// What a role may do with a row of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    pub role: Role,
    /// `own`: the reader's; `public` and `draft`: somebody else's, in that state.
    pub kind: &'static str,
    pub read: &'static [&'static str],
    pub write: &'static [&'static str],
    pub delete: bool,
}

const ALL: &[&str] = &COLUMNS;
const OWN: &[&str] = &["id", "owner", "state", "title", "body"];

/// The matrix: what is not in it is denied.
pub const GRANTS: [Grant; 12] = [
    grant(Role::Viewer, "own", OWN, &["title", "body"], true),
    grant(Role::Viewer, "public", &["id", "title", "state"], &[], false),
    grant(Role::Viewer, "draft", &[], &[], false),
    grant(Role::Member, "own", OWN, &["title", "body"], true),
    grant(Role::Member, "public", &["id", "title"], &["body"], false),
    grant(Role::Member, "draft", &[], &[], false),
    grant(Role::Admin, "own", ALL, ALL, true),
    grant(Role::Admin, "public", ALL, ALL, true),
    grant(Role::Admin, "draft", ALL, ALL, true),
    grant(Role::Owner, "own", ALL, &["title", "body"], true),
    grant(Role::Owner, "public", ALL, &[], false),
    grant(Role::Owner, "draft", ALL, &[], false),
];
/// Who may create memos.
pub const CREATORS: [Role; 2] = [Role::Member, Role::Admin];

const fn grant(
    role: Role,
    kind: &'static str,
    read: &'static [&'static str],
    write: &'static [&'static str],
    delete: bool,
) -> Grant {
    Grant { role, kind, read, write, delete }
}

/// The rules that the matrix spells out.
pub fn memo() -> EntityType {
    let when = |column: &str, values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Some(Condition::OneOf { column: column.into(), values })
    };
    let public = when("state", &["public", "open"]);
    let rules = vec![
        Rule {
            roles: vec![Role::Admin],
            read: Columns::All,
            write: Columns::All,
            create: true,
            delete: true,
            ..Rule::default()
        },
        Rule { roles: vec![Role::Owner], read: Columns::All, ..Rule::default() },
        Rule {
            when: Some(Condition::Owner { column: "owner".into() }),
            read: Columns::of(["owner", "state", "title", "body"]),
            write: Columns::of(["title", "body"]),
            delete: true,
            ..Rule::default()
        },
        Rule { roles: vec![Role::Member], create: true, ..Rule::default() },
        Rule {
            roles: vec![Role::Member],
            when: public.clone(),
            read: Columns::of(["title"]),
            write: Columns::of(["body"]),
            ..Rule::default()
        },
        Rule { roles: vec![Role::Viewer], when: public, read: Columns::of(["title", "state"]), ..Rule::default() },
    ];
    EntityType {
        name: "memo".into(),
        table: RelationName { schema: "public".into(), name: "memos".into() },
        org: Tenancy::Column("org".into()),
        key: vec!["id".into()],
        tx: "tx".into(),
        hidden: Vec::new(),
        sync: Sync::All,
        filter: ["title", "state", "salary"].map(str::to_owned).to_vec(),
        together: Vec::new(),
        refs: Default::default(),
        fields: Default::default(),
        rules,
        polling: Default::default(),
    }
}

/// A service with memos of every kind, and a member of each role with its token.
pub async fn open(pg: &Pg) -> (Stage, Vec<(Role, String)>) {
    let setup = Setup { tables: TABLE, types: vec![memo()], ..Setup::default() };
    let stage = Stage::open_with(pg, setup).await;
    let mut tokens = Vec::new();
    for role in ROLES {
        let name = role.as_str();
        stage.people.create_user(name, name, false).await.expect("a user");
        stage.people.join("acme", name, role).await.expect("a member");
        tokens.push((role, stage.people.create_token(name, "test", None).await.expect("a token")));
        insert(&stage, &format!("own-{name}"), name, "draft").await;
    }
    insert(&stage, "public", "somebody", "public").await;
    insert(&stage, "draft", "somebody", "draft").await;
    stage.run("insert into memos (id, org, owner, state) values ('theirs', 'globex', 'member', 'public')").await;
    (stage, tokens)
}

async fn insert(stage: &Stage, id: &str, owner: &str, state: &str) {
    let text = |column: &str| format!("'{}'", mark(id, column));
    let (title, body, salary) = (text("title"), text("body"), text("salary"));
    stage
        .run(&format!("insert into memos values ('{id}', 'acme', '{owner}', '{state}', {title}, {body}, {salary})"))
        .await;
}

/// What a column of a row holds and no other does, where it may hold anything.
fn mark(id: &str, column: &str) -> String {
    format!("{column} of {id}!")
}

/// The id of the row of a kind, for a reader of a role.
pub fn row(grant: &Grant) -> String {
    if grant.kind == "own" { format!("own-{}", grant.role.as_str()) } else { grant.kind.to_owned() }
}

fn names(item: &Value) -> BTreeSet<String> {
    item["data"].as_object().map(|data| data.keys().cloned().collect()).unwrap_or_default()
}

/// Returns the columns of a row that a reader is shown in a way, and the whole answer.
async fn observed(stage: &Stage, token: &str, action: Action, id: &str) -> (BTreeSet<String>, String) {
    let base = "/v1/orgs/acme/entities/memo";
    match action {
        Action::List => {
            let answer = stage.ask_as(token, base).await;
            let list = answer.json().expect("JSON");
            let item = list["items"].as_array().expect("items").iter().find(|item| item["data"]["id"] == id);
            (item.map(names).unwrap_or_default(), answer.text())
        }
        Action::Get => {
            let answer = stage.ask_as(token, &format!("{base}/{id}")).await;
            assert!(matches!(answer.status, 200 | 404), "{}", answer.text());
            (names(&answer.json().expect("JSON")), answer.text())
        }
        Action::Field => {
            let (mut shown, mut said) = (BTreeSet::new(), String::new());
            for column in COLUMNS {
                let answer = stage.ask_as(token, &format!("{base}/{id}/fields/{column}")).await;
                assert!(matches!(answer.status, 200 | 404), "{}", answer.text());
                if answer.status == 200 {
                    shown.insert(column.to_owned());
                }
                said.push_str(&answer.text());
            }
            (shown, said)
        }
    }
}

#[tokio::test]
async fn each_role_reads_what_the_matrix_grants_in_every_way_and_not_a_byte_more_mut_05() {
    for_each_postgres(|pg| async move {
        let (stage, tokens) = open(&pg).await;
        for (role, token) in &tokens {
            let grants: Vec<&Grant> = GRANTS.iter().filter(|grant| grant.role == *role).collect();
            for action in ACTIONS {
                for grant in &grants {
                    let (shown, said) = observed(&stage, token, action, &row(grant)).await;
                    let granted: BTreeSet<String> = grant.read.iter().map(|column| (*column).to_owned()).collect();
                    assert_eq!(shown, granted, "{action:?} {grant:?}");
                    for column in ["title", "body", "salary"] {
                        let there = said.contains(&mark(&row(grant), column));
                        assert_eq!(there, grant.read.contains(&column), "{action:?} {column} {grant:?}: {said}");
                    }
                }
                // Rows of others in every state but the public one are nobody's business.
                let foreign = if *role == Role::Viewer { "own-member" } else { "own-viewer" };
                let (shown, said) = observed(&stage, token, action, foreign).await;
                let everything = matches!(role, Role::Admin | Role::Owner);
                assert_eq!(!shown.is_empty(), everything, "{role:?} {action:?}");
                assert_eq!(said.contains(&mark(foreign, "title")), everything, "{role:?} {action:?}");
                assert!(observed(&stage, token, action, "theirs").await.0.is_empty(), "another organisation's");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_schema_says_the_most_that_each_role_may_do_mut_05() {
    for_each_postgres(|pg| async move {
        let (stage, tokens) = open(&pg).await;
        let mut accesses = BTreeSet::new();
        for (role, token) in &tokens {
            let answer = stage.ask_as(token, "/v1/orgs/acme/schema").await;
            let schema = answer.json().expect("JSON");
            let memo = &schema["types"]["memo"];
            let most = |pick: fn(&Grant) -> &'static [&'static str]| -> BTreeSet<&str> {
                GRANTS.iter().filter(|grant| grant.role == *role).flat_map(pick).copied().collect()
            };
            let (read, mut write) = (most(|grant| grant.read), most(|grant| grant.write));
            let known: BTreeSet<&str> = read.union(&write).copied().collect();
            // The key and the organisation are never changed.
            write.retain(|column| !matches!(*column, "id" | "org"));
            let listed: BTreeSet<&str> =
                memo["fields"].as_object().expect("fields").keys().map(String::as_str).collect();
            assert_eq!(listed, known, "{role:?}");
            let update = memo["can"]["update"].as_array().expect("a list").iter();
            assert_eq!(update.map(|name| name.as_str().expect("a name")).collect::<BTreeSet<_>>(), write, "{role:?}");
            assert_eq!(memo["can"]["create"], CREATORS.contains(role), "{role:?}");
            let deletes = GRANTS.iter().any(|grant| grant.role == *role && grant.delete);
            assert_eq!(memo["can"]["delete"], deletes, "{role:?}");
            assert_eq!(answer.text().contains("salary"), matches!(role, Role::Admin | Role::Owner), "{role:?}");
            accesses.insert(schema["access"].as_str().expect("an access").to_owned());
        }
        assert_eq!(accesses.len(), ROLES.len(), "each reads under an access of its own");
    })
    .await;
}

#[tokio::test]
async fn rows_are_compared_only_by_what_a_role_sees_in_every_row_sec_01() {
    for_each_postgres(|pg| async move {
        let (stage, tokens) = open(&pg).await;
        // What each role sees in every row of which it sees anything.
        let everywhere: [(Role, &[&str]); 4] = [
            (Role::Viewer, &["title", "state", "id"]),
            (Role::Member, &["title", "id"]),
            (Role::Admin, &["title", "state", "salary", "id"]),
            (Role::Owner, &["title", "state", "salary", "id"]),
        ];
        for ((role, token), (_, fields)) in tokens.iter().zip(everywhere) {
            for field in ["title", "state", "salary", "id"] {
                for query in [
                    format!("order={field}"),
                    format!("order=-{field}"),
                    format!("where[{field}]=x"),
                    format!("where[{field}][gt]=a"),
                ] {
                    let answer = stage.ask_as(token, &format!("/v1/orgs/acme/entities/memo?{query}")).await;
                    let allowed = fields.contains(&field);
                    assert_eq!(answer.status, if allowed { 200 } else { 422 }, "{role:?} {query}: {}", answer.text());
                    if !allowed {
                        let problem = answer.json().expect("JSON");
                        assert_eq!((&problem["code"], &problem["field"]), (&"FIELD_FORBIDDEN".into(), &field.into()));
                    }
                }
            }
        }
        // Who may not see a field learns nothing of it from a refusal either.
        let unknown = stage.ask_as(&tokens[1].1, "/v1/orgs/acme/entities/memo?order=nothing").await.text();
        assert!(unknown.contains("title") && !unknown.contains("salary"), "{unknown}");
    })
    .await;
}

#[tokio::test]
async fn pages_stay_exact_where_rows_are_left_out_mut_05() {
    for_each_postgres(|pg| async move {
        let (stage, tokens) = open(&pg).await;
        stage
            .run(
                "insert into memos select 'n' || lpad(n::text, 3, '0'), 'acme', 'somebody',
                   case when n % 3 = 0 then 'open' else 'draft' end, 't' from generate_series(1, 60) n",
            )
            .await;
        let (_, member) = &tokens[1];
        let (mut after, mut ids) = (String::new(), Vec::new());
        loop {
            let page = stage.ask_as(member, &format!("/v1/orgs/acme/entities/memo?limit=7&after={after}")).await;
            let page = page.json().expect("JSON");
            let items = page["items"].as_array().expect("items");
            ids.extend(items.iter().map(|item| item["data"]["id"].as_str().expect("an id").to_owned()));
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => break,
            }
            assert_eq!(items.len(), 7, "a page that goes on is full");
        }
        let mut expected: Vec<String> = (1..=20).map(|n| format!("n{:03}", n * 3)).collect();
        expected.extend(["own-member".to_owned(), "public".to_owned()]);
        assert_eq!(ids, expected);
    })
    .await;
}
