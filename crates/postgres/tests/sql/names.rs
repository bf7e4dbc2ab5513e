//! Hostile names in every place where a name becomes SQL (SEC-04).

use antiphon_engine::ports::{Catalogue, Comparison, Filter, Order, Rows};
use antiphon_model::{RelationName, Tenancy};
use antiphon_postgres::{
    entities::{self, AddOptions, RemoveOptions},
    ident, literal,
};
use antiphon_testkit::for_each_postgres;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::fixture;

#[tokio::test]
async fn hostile_names_and_texts_come_back_unchanged_sec_04() {
    for_each_postgres(|pg| async move {
        let db = pg.database("quote").await;
        let client = db.connect().await;
        let seed = rand::rng().random::<u64>();
        eprintln!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let alphabet: Vec<char> = "\"'\\;$-- /*\n\tä漢🦀`{}%_aA.()\u{7f}\u{feff}".chars().collect();
        for standard in ["on", "off"] {
            let setting = format!("set standard_conforming_strings = {standard}; set escape_string_warning = off");
            client.batch_execute(&setting).await.expect("a setting");
            for _ in 0..150 {
                let length = random.random_range(1..12);
                let name: String = (0..length).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect();
                let sql = format!("select {} as {}", literal(&name).expect("a text"), ident(&name).expect("a name"));
                let row = client.query_one(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                assert_eq!((row.columns()[0].name(), row.get::<_, &str>(0)), (name.as_str(), name.as_str()));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_table_of_hostile_names_is_prepared_listed_and_let_go_sec_04() {
    for_each_postgres(|pg| async move {
        let db = pg.database("hostile").await;
        let client = db.connect().await;
        let schema = "s'; drop schema public cascade; --";
        let table = "t\"; delete from x; \\ $1 ä漢";
        let (key, org, other) = ("k\"1", "o'rg$$", "f[\"]%s \\");
        let name = RelationName { schema: schema.to_owned(), name: table.to_owned() };
        let quoted = antiphon_postgres::qualified(&name).expect("a name");
        let sql = format!(
            "create schema {}; create table {quoted} ({} int primary key, {} text not null, {} text);
             insert into {quoted} select n, 'a''b', 'v' || n from generate_series(1, 5) n",
            ident(schema).unwrap(),
            ident(key).unwrap(),
            ident(org).unwrap(),
            ident(other).unwrap(),
        );
        client.batch_execute(&sql).await.expect("a table");
        let mut entity = fixture::entity("odd", "");
        entity.table = name;
        entity.org = Tenancy::Column(org.to_owned());
        entity.key = vec![key.to_owned()];
        entity.tx = "t'x\"".to_owned();
        entity.filter = vec![other.to_owned()];
        let publication = "p\"; --".to_owned();
        let options = AddOptions { publication: publication.clone(), identity_full: false, ..AddOptions::default() };
        let plan = entities::plan_add(&client, &entity, &options).await.expect("a plan");
        entities::apply(&client, &plan, &mut |_| {}).await.expect("prepared");
        assert!(entities::plan_add(&client, &entity, &options).await.expect("a plan").done());
        let shape = fixture::catalogue(&db).shape(&entity).await.expect("a shape");
        assert_eq!(shape.fields.len(), 3);
        let mut query = fixture::query(&entity, "a'b");
        query.filters =
            vec![Filter { field: other.to_owned(), comparison: Comparison::GreaterOrEqual, value: Some("v2".into()) }];
        query.order = vec![Order { field: other.to_owned(), descending: true }];
        query.limit = 2;
        let images = fixture::all_pages(&fixture::rows(&db), query).await.expect("pages");
        assert_eq!(fixture::field(&images, other), ["v5", "v4", "v3", "v2"]);
        let value = fixture::rows(&db).field(&fixture::value(&entity, "a'b", &["3"], other)).await.expect("a value");
        assert_eq!(value.expect("a row").value, "\"v3\"");
        let plan = entities::plan_remove(&client, &entity, &RemoveOptions { publication, drop_tx: true }).await;
        entities::apply(&client, &plan.expect("a plan"), &mut |_| {}).await.expect("let go");
        let left = "select count(*) from pg_class where relname like 'antiphon%'";
        assert_eq!(client.query_one(left, &[]).await.expect("a count").get::<_, i64>(0), 0);
    })
    .await;
}
