//! What the proxy cannot do: full disks and frozen processes.

use std::{io::ErrorKind, time::Duration};

use antiphon_testkit::{Frozen, Pg, PgVersion, SmallDisk, skipped};
use tokio::time::timeout;

#[test]
fn a_small_disk_is_full_when_filled_and_has_room_when_emptied() {
    let Some(disk) = SmallDisk::mount(1 << 20, 0) else { return skipped("a mount, which only root may do") };
    disk.fill().expect("to fill");
    let full = std::fs::write(disk.path().join("one"), [1]).expect_err("a full disk");
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    disk.empty().expect("to empty");
    std::fs::write(disk.path().join("one"), [1]).expect("room");
    let path = disk.path();
    drop(disk);
    assert!(!path.exists(), "it is still there");
}

#[tokio::test]
async fn a_frozen_postgres_answers_nobody_and_goes_on_where_it_stood() {
    let Some(pg) = Pg::private(PgVersion::V15, &[]).await else { return };
    let client = pg.admin().await;
    let frozen = Frozen::family(pg.pid().expect("it runs")).expect("to freeze");
    assert!(frozen.count() > 1, "a server has children");
    let question = client.query_one("select 7", &[]);
    tokio::pin!(question);
    assert!(timeout(Duration::from_millis(300), &mut question).await.is_err(), "a frozen server answered");
    drop(frozen);
    let answer = timeout(Duration::from_secs(20), question).await.expect("in time").expect("an answer");
    assert_eq!(answer.get::<_, i32>(0), 7);
}
