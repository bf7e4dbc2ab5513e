//! What the configuration promises: precedence, origins, refusals with a line and the nearest name.

use std::{fs, path::PathBuf};

use antiphon_model::{Code, Columns, Condition, Merge, Role, Sync, Tenancy};
use antiphon_server::admin::Fault;

use super::*;

const FULL: &str = r#"
[database]
url = "postgres://u:p@h/d"
slot = "mine"

[server]
listen = "127.0.0.1:8000"

[[entities]]
type = "page"
table = "public.pages"
org = "organization_id"

[[entities]]
type = "task"
table = "tasks"
org = "organization_id"
key = ["id"]
hidden = ["search_vector"]
sync = "on_demand"
filter = ["page_id", "status"]
cursor = "updated_at"
soft_delete = "deleted_at"
together = [["starts_at", "ends_at"]]
[entities.refs]
page_id = "page"
[entities.fields]
title = { merge = "manual" }
labels = { merge = "set" }
"#;

fn resolve(
    text: &str,
    variables: &[(&str, &str)],
    values: Vec<(Key, String, &'static str)>,
) -> Result<Settings, Fault> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("antiphon.toml");
    fs::write(&path, text).expect("the file is written");
    Settings::resolve(&Flags { config: Some(path), values }, &Environment::of(variables))
}

fn refusal(text: &str) -> (Code, String) {
    let fault = resolve(text, &[], Vec::new()).expect_err("the file is refused");
    let detail = fault.detail().to_owned();
    let from = detail.find("antiphon.toml").unwrap_or(0);
    (fault.code(), detail[from..].to_owned())
}

#[test]
fn flags_stand_above_environment_above_file_above_defaults() {
    let variables = [("ANTIPHON_DATABASE_SLOT", "theirs"), ("ANTIPHON_SERVER_LISTEN", "127.0.0.1:8001")];
    let flag = (SERVER_LISTEN, "127.0.0.1:8002".to_owned(), "--listen");
    let settings = resolve(FULL, &variables, vec![flag]).expect("a sound configuration");
    assert_eq!(settings.listen().expect("an address").port(), 8002);
    assert_eq!(settings.origin(&SERVER_LISTEN), &Origin::Flag("--listen"));
    assert_eq!(settings.text(&DATABASE_SLOT), Some("theirs"));
    assert_eq!(settings.origin(&DATABASE_SLOT), &Origin::Environment("ANTIPHON_DATABASE_SLOT".into()));
    assert!(matches!(settings.origin(&DATABASE_URL), Origin::File(_, 3)));
    assert_eq!(settings.text(&DATABASE_PUBLICATION), Some("antiphon"));
    assert_eq!(settings.origin(&DATABASE_PUBLICATION), &Origin::Default);
}

#[test]
fn every_part_of_an_entity_is_read_and_reads_back_after_writing() {
    let settings = resolve(FULL, &[], Vec::new()).expect("a sound configuration");
    let task = &settings.entities()[1];
    assert_eq!((task.name.as_str(), task.table.to_string().as_str()), ("task", "public.tasks"));
    assert_eq!(task.org, Tenancy::Column("organization_id".into()));
    assert_eq!((task.sync, task.tx.as_str()), (Sync::OnDemand, "tx"));
    assert_eq!(task.fields["labels"], Merge::Set);
    assert_eq!(task.refs["page_id"], "page");
    assert!(settings.entities()[0].key.is_empty(), "the primary key is asked for later");
    let written: String = settings.entities().iter().map(entity_section).collect();
    let again = resolve(&written, &[], Vec::new()).expect("what was written reads back");
    assert_eq!(again.entities(), settings.entities());
}

#[test]
fn entities_can_come_from_the_environment() {
    let text = r#"[{type="a", table="public.a", org="o"}]"#;
    let settings = resolve(FULL, &[("ANTIPHON_ENTITIES", text)], Vec::new()).expect("a sound configuration");
    assert_eq!(settings.entities().len(), 1);
    assert_eq!(settings.entities()[0].name, "a");
}

#[test]
fn unknown_keys_are_refused_with_line_and_nearest_name() {
    let (code, detail) = refusal("[database]\nslto = \"x\"\n");
    assert_eq!(code, Code::ConfigUnknownKey);
    assert_eq!(detail, "antiphon.toml line 2: database.slto is not known; did you mean slot?");
    let (code, detail) = refusal("[databse]\nurl = \"x\"\n");
    assert_eq!(code, Code::ConfigUnknownKey);
    assert!(detail.contains("line 1: databse is not known; did you mean database?"), "{detail}");
    let (_, detail) = refusal("[[entities]]\ntype = \"a\"\ntable = \"a\"\norg = \"o\"\nhiden = []\n");
    assert!(detail.contains("line 5: entities.hiden is not known; did you mean hidden?"), "{detail}");
    let variables = [("ANTIPHON_DATABASE_URI", "x")];
    let fault = resolve("", &variables, Vec::new()).expect_err("an unknown variable");
    assert_eq!(fault.code(), Code::ConfigUnknownKey);
    assert!(fault.detail().contains("did you mean ANTIPHON_DATABASE_URL?"), "{}", fault.detail());
}

#[test]
fn values_that_cannot_be_are_refused_with_their_line() {
    let entity = |rest: &str| format!("[[entities]]\ntype = \"a\"\ntable = \"a\"\n{rest}\n");
    for (text, expected) in [
        ("[database]\nslot = 3\n".to_owned(), "line 2: database.slot must be a text in quotes, not integer"),
        ("[log]\nretention_days = \"7\"\n".to_owned(), "line 2: log.retention_days must be a whole number"),
        ("[log]\nretention_days = -1\n".to_owned(), "line 2: log.retention_days must be a whole number"),
        ("[database\n".to_owned(), "line 1:"),
        (entity(""), "entities.org is missing"),
        (entity("org = { via = \"p\" }"), "line 4: entities.org needs both"),
        (entity("org = { via = \"p\", table = \"other\" }"), "comes from public.other, which is not declared"),
        (entity("org = \"o\"\nsync = \"some\""), "line 5: entities.sync must be"),
        (entity("org = \"o\"\nkey = []"), "line 5: entities.key is empty"),
        (entity("org = \"o\"\nkey = [\"id\"]\nhidden = [\"id\"]"), "entities.hidden names id"),
        (entity("org = \"o\"\nsoft_delete = \"gone\""), "line 5: entities.soft_delete is of use to polling only"),
        (entity("org = \"o\"\ntogether = [[\"x\"]]"), "needs at least two"),
        (entity("org = \"o\"\nrefs = { x = \"b\" }"), "refs.x names b, which is not declared"),
        (entity("org = \"o\"\nfields = { x = { merge = \"magic\" } }"), "no merge strategy magic"),
    ] {
        let (code, detail) = refusal(&text);
        assert_eq!(code, Code::ConfigInvalid, "{text}");
        assert!(detail.contains(expected), "{detail} lacks {expected}");
    }
}

#[test]
fn a_named_file_that_is_missing_is_told_and_an_unnamed_one_is_not_needed() {
    let flags = Flags { config: Some(PathBuf::from("/nowhere/antiphon.toml")), values: Vec::new() };
    let fault = Settings::resolve(&flags, &Environment::default()).expect_err("a missing file");
    assert_eq!(fault.code(), Code::ConfigMissing);
}

#[test]
fn an_organisation_comes_from_a_column_another_row_or_is_everyones_mut_09() {
    let text = "
[[entities]]
type = \"note\"
table = \"notes\"
org = { via = \"page_id\", table = \"public.pages\" }
[[entities]]
type = \"page\"
table = \"pages\"
org = \"org\"
[[entities]]
type = \"country\"
table = \"countries\"
org = \"*\"
";
    let read = |text: &str| resolve(text, &[], Vec::new());
    let settings = read(text).expect("settings");
    let written: String = settings.entities().iter().map(super::entity_section).collect();
    assert!(written.contains("org = { via = \"page_id\", table = \"public.pages\" }"), "{written}");
    assert_eq!(read(&written).expect("what was written").entities(), settings.entities());
    let round = text.replace("org = \"org\"", "org = { via = \"a\", table = \"notes\" }");
    assert!(read(&round).expect_err("a circle").detail().contains("never leads to a column"));
    let all = text.replace("org = \"org\"", "org = \"*\"");
    assert!(read(&all).expect_err("everyone's").detail().contains("everyone's"));
}

const RULES: &str = "
[[entities]]
type = \"task\"
table = \"tasks\"
org = \"org\"
hidden = [\"secret\"]
[[entities.rules]]
roles = [\"admin\", \"owner\"]
read = \"*\"
write = \"*\"
create = true
delete = true
[[entities.rules]]
when = { owner = \"assignee\" }
read = [\"title\", \"status\"]
write = [\"status\"]
[[entities.rules]]
roles = [\"viewer\"]
when = { column = \"status\", in = [\"public\", \"done\"] }
read = \"*\"
";

#[test]
fn rules_are_read_and_read_back_after_writing_mut_05() {
    let settings = resolve(RULES, &[], Vec::new()).expect("a sound configuration");
    let rules = &settings.entities()[0].rules;
    assert_eq!(rules.len(), 3);
    assert_eq!(rules[0].roles, [Role::Admin, Role::Owner]);
    assert!(rules[0].create && rules[0].delete && rules[0].read == Columns::All);
    assert_eq!(rules[1].when, Some(Condition::Owner { column: "assignee".into() }));
    assert_eq!((&rules[1].read, rules[1].roles.len()), (&Columns::of(["title", "status"]), 0));
    let written: String = settings.entities().iter().map(entity_section).collect();
    let again = resolve(&written, &[], Vec::new()).expect("what was written reads back");
    assert_eq!(again.entities(), settings.entities(), "{written}");
}

#[test]
fn rules_that_cannot_be_are_refused_with_their_line_mut_05() {
    let rule = |rest: &str| {
        let head = "[[entities]]\ntype = \"a\"\ntable = \"a\"\norg = \"o\"\nhidden = [\"h\"]\n[[entities.rules]]\n";
        format!("{head}{rest}\n")
    };
    for (text, code, expected) in [
        ("roles = [\"boss\"]\nread = \"*\"", Code::ConfigInvalid, "line 7: entities.rules.roles names boss"),
        ("roles = []\nread = \"*\"", Code::ConfigInvalid, "entities.rules.roles is empty"),
        ("read = \"title\"", Code::ConfigInvalid, "must be \"*\" or a list of columns"),
        ("read = [\"h\"]", Code::ConfigInvalid, "grants h, which is hidden"),
        ("write = [\"tx\"]", Code::ConfigInvalid, "grants tx, which is hidden or the metadata column"),
        ("roles = [\"owner\"]", Code::ConfigInvalid, "a rule that grants nothing"),
        ("read = \"*\"\ncreate = \"yes\"", Code::ConfigInvalid, "line 8: entities.rules.create must be true or false"),
        ("read = \"*\"\nwhen = { column = \"x\" }", Code::ConfigInvalid, "entities.rules.when is { owner"),
        ("read = \"*\"\nwhen = { column = \"x\", in = [] }", Code::ConfigInvalid, "no row fits"),
        ("read = \"*\"\nwehn = { owner = \"x\" }", Code::ConfigUnknownKey, "did you mean when?"),
    ] {
        let (found, detail) = refusal(&rule(text));
        assert_eq!(found, code, "{text}");
        assert!(detail.contains(expected), "{detail} lacks {expected}");
    }
}

#[test]
fn lists_come_from_file_and_environment_and_secrets_are_never_shown_se_16() {
    let text =
        "[server]\nallowed_origins = [\"https://a.example\", \"https://b.example\"]\n[auth]\nsecret = \"x://canary\"\n";
    let settings = resolve(text, &[("ANTIPHON_AUTH_ALGORITHMS", "HS256, RS256")], Vec::new()).expect("settings");
    assert_eq!(settings.list(&SERVER_ALLOWED_ORIGINS), ["https://a.example", "https://b.example"]);
    assert_eq!(settings.list(&AUTH_ALGORITHMS), ["HS256", "RS256"]);
    let secret = settings.text(&AUTH_SECRET).expect("a secret");
    assert_eq!((secret, AUTH_SECRET.shown(secret).as_str()), ("x://canary", "(hidden)"));
}
