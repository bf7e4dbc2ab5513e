//! A reader that reads nothing costs others nothing and itself nothing but time (STR-04).

use antiphon_server::admin::ServeOptions;
use antiphon_testkit::for_each_postgres;
use serde_json::Value;

use crate::stage::{SOON, Setup, Stage, next};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_disturbs_nobody_and_finds_everything_afterwards_str_04() {
    for_each_postgres(|pg| async move {
        // The byte rate would let the brisk one go as well: what is looked at here is the sockets.
        let unheld = |options| ServeOptions { stream_bytes_per_second: 0, ..options };
        let stage = Stage::open_with(&pg, Setup { serve: Some(unheld), ..Setup::default() }).await;
        let mut brisk = stage.stream("offset=-1", None).await;
        let mut slow = stage.stream("offset=-1", None).await;
        let mut last = next(&mut slow, "offset").await.0;
        // More than the sockets' buffers on both sides take: what is left has to wait in the log, not in memory.
        let rows = 120;
        let sql = "insert into notes (id, org, title)
            select n::text, 'acme', repeat(md5(n::text), 6000) from generate_series(1, 120) n";
        stage.run(sql).await;
        for n in 1..=rows {
            let (_, change) = next(&mut brisk, "change").await;
            assert_eq!(change["entityId"], n.to_string(), "the others go on while one is stalled");
        }
        let connections = stage.ask_as(&stage.admin, "/v1/admin/connections").await.json().expect("JSON");
        let items = connections["items"].as_array().expect("items");
        let sent: Vec<u64> = items.iter().filter_map(|item| item["bytesSent"].as_u64()).collect();
        let whole = sent.iter().max().copied().expect("the brisk one");
        assert!(whole > rows * 190_000, "{connections}");
        // Whoever is behind has its place in the log, or was let go meanwhile; the rest was never made for it.
        assert!(sent.iter().filter(|sent| **sent > whole / 2).count() == 1, "nobody is held back: {connections}");
        let mut found = 0;
        while found < rows {
            let event = slow.next(SOON).await.ok().flatten();
            match event {
                Some(event) if event.event == "change" => {
                    found += 1;
                    let change: Value = serde_json::from_str(&event.data).expect("JSON");
                    assert_eq!(change["entityId"], found.to_string());
                    last = event.id;
                }
                Some(event) if event.event == "notice" => {
                    assert!(event.data.contains("backpressure"), "{}", event.data)
                }
                Some(_) => {}
                // On a slow machine it was let go before it began to read.
                None => slow = stage.stream("offset=-1", last.as_deref()).await,
            }
        }
    })
    .await;
}
