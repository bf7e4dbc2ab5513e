//! The stamp trigger against every kind of writer (house 2, MUT-04): whoever writes, no column changes without its id.

use std::collections::BTreeMap;

use antiphon_model::{EntityType, Tx};
use antiphon_postgres::{
    entities::{self, AddOptions},
    stamp::{SETTING, Stamp},
};
use antiphon_testkit::{Pg, TestDb, for_each_postgres};
use tokio_postgres::Client;

use crate::fixture;

/// A table that is prepared, and a session of the service's role.
pub struct Stage {
    pub db: TestDb,
    pub client: Client,
    pub entity: EntityType,
}

impl Stage {
    /// Makes the tables and prepares the one of the entity.
    pub async fn new(pg: &Pg, tables: &str, entity: EntityType) -> Stage {
        let db = pg.database("stamp").await;
        let client = db.connect().await;
        client.batch_execute(tables).await.expect("tables");
        let stage = Stage { db, client, entity };
        stage.prepare().await;
        stage
    }

    pub async fn tasks(pg: &Pg, more: &str) -> Stage {
        let tables = format!(
            "create table tasks (id int primary key, org text not null default 'acme', title text, body text, n int);
             {more}"
        );
        Stage::new(pg, &tables, fixture::entity("task", "tasks")).await
    }

    pub async fn prepare(&self) {
        let options = AddOptions { publication: self.db.publication(), ..AddOptions::default() };
        let plan = entities::plan_add(&self.client, &self.entity, &options).await.expect("a plan");
        entities::apply(&self.client, &plan, &mut |_| {}).await.expect("prepared");
        let again = entities::plan_add(&self.client, &self.entity, &options).await.expect("a plan");
        let left: Vec<_> = again.steps.iter().filter(|step| step.needed).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Prepares a second table.
    pub async fn prepare_other(&self, table: &str) {
        let options = AddOptions { publication: self.db.publication(), ..AddOptions::default() };
        let plan = entities::plan_add(&self.client, &fixture::entity(table, table), &options).await.expect("a plan");
        entities::apply(&self.client, &plan, &mut |_| {}).await.expect("prepared");
    }

    /// Runs a statement as the mutation service does, in a transaction of its own.
    pub async fn mutate(&self, key: &str, tx: &Tx, sql: &str) {
        self.mutate_key(&[key], tx, sql).await;
    }

    pub async fn mutate_key(&self, key: &[&str], tx: &Tx, sql: &str) {
        let key: Vec<String> = key.iter().map(|&part| part.to_owned()).collect();
        let setting = Stamp { table: &self.entity.table, key: &key, tx }.setting();
        self.run("begin").await;
        self.client.execute("select set_config($1, $2, true)", &[&SETTING, &setting]).await.expect("a setting");
        self.run(sql).await;
        self.run("commit").await;
    }

    /// Opens a session of a role that owns nothing and may write the table.
    pub async fn other(&self, role: &str) -> Client {
        let role = format!("{role}_{}", self.db.slot());
        self.run(&format!(
            "create role \"{role}\" login; grant select, insert, update on all tables in schema public to \"{role}\""
        ))
        .await;
        let mut config: tokio_postgres::Config = self.db.url().parse().expect("the test's URL");
        let (client, connection) = config.user(&role).connect(tokio_postgres::NoTls).await.expect("a session");
        antiphon_testkit::spawn("other role", async move {
            connection.await.unwrap_or_default();
        });
        client
    }

    pub async fn copy_out(&self, table: &str) -> Vec<u8> {
        let stream = self.client.copy_out(&format!("copy {table} to stdout")).await.expect("a copy");
        let parts: Vec<bytes::Bytes> = futures::TryStreamExt::try_collect(stream).await.expect("rows");
        parts.concat()
    }

    pub async fn copy_in(&self, table: &str, rows: Vec<u8>) {
        let sink = self.client.copy_in(&format!("copy {table} from stdin")).await.expect("a copy");
        let mut sink = std::pin::pin!(sink);
        futures::SinkExt::send(&mut sink, bytes::Bytes::from(rows)).await.expect("rows");
        sink.finish().await.expect("copied");
    }

    pub async fn text(&self, sql: &str) -> Option<String> {
        self.client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    pub async fn tx(&self, id: i32) -> Tx {
        let text = self.text(&format!("select tx::text from tasks where id = {id}")).await.expect("a stamp");
        Tx::parse(&text).unwrap_or_else(|| panic!("not of the shape: {text}"))
    }
}

pub fn by_client(id: &str, field: Option<&str>) -> Tx {
    Tx {
        transaction_id: id.to_owned(),
        source_id: "phone".to_owned(),
        actor: Some("al\"ice".to_owned()),
        changed_field: field.map(str::to_owned),
        fields: BTreeMap::new(),
    }
}

pub fn fields(tx: &Tx) -> Vec<&str> {
    tx.fields.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn plain_sql_is_stamped_field_by_field_mut_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "").await;
        stage.run("insert into tasks (id, title) values (1, 'a')").await;
        let created = stage.tx(1).await;
        assert_eq!((created.source_id.as_str(), &created.actor, &created.changed_field), ("sql", &None, &None));
        assert_eq!(fields(&created), ["*"]);
        let xid = stage.text("select xmin::text from tasks").await.unwrap();
        assert!(created.transaction_id.ends_with(&format!(".sql-{xid}")), "{created:?}");
        stage.run("update tasks set title = 'b', n = n").await;
        let updated = stage.tx(1).await;
        assert_eq!(fields(&updated), ["*", "title"]);
        assert_eq!(updated.field_id("title"), Some(updated.transaction_id.as_str()));
        assert_eq!(updated.field_id("n"), Some(created.transaction_id.as_str()));
        assert!(updated.transaction_id > created.transaction_id);
        // Nothing changes: nobody wrote.
        stage.run("update tasks set title = title, tx = null").await;
        assert_eq!(stage.tx(1).await, updated);
    })
    .await;
}

#[tokio::test]
async fn a_mutation_stamps_its_field_even_without_a_change_house_2() {
    for_each_postgres(|pg| async move {
        let stage = Stage::tasks(&pg, "").await;
        let created = by_client("1500000000000.0000.phone", None);
        stage.mutate("1", &created, "insert into tasks (id, title) values (1, 'a')").await;
        let row = stage.tx(1).await;
        assert_eq!(row, Tx { fields: BTreeMap::from([("*".into(), created.transaction_id.clone())]), ..created });
        let same = by_client("1500000000001.0000.phone", Some("title"));
        stage.mutate("1", &same, "update tasks set title = 'a' where id = 1").await;
        let row = stage.tx(1).await;
        assert_eq!((fields(&row), row.changed_field.as_deref()), (vec!["*", "title"], Some("title")));
        assert_eq!((row.transaction_id, row.actor), (same.transaction_id, same.actor));
    })
    .await;
}
