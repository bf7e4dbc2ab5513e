//! Tickets, and how servers learn of changes.

use std::{collections::BTreeMap, time::Duration};

use antiphon_engine::ports::{Directory, Principal, Shown, Ticket, Tickets, TokenScope, TokenScopes};
use antiphon_model::{Micros, Role};
use antiphon_store::{NewToken, Store, User};
use antiphon_testkit::for_each_postgres;
use tokio_util::sync::CancellationToken;

use crate::{open, over};

async fn with_alice(store: &Store, scopes: TokenScopes) -> (String, Principal) {
    let alice = User { id: "alice".into(), name: "Alice".into(), avatar_url: None, system_admin: false };
    store.save_user(&alice).await.unwrap();
    let token = store.create_token(NewToken { user: "alice", name: "", days: None, scopes }).await.unwrap();
    let principal = store.authenticate(&token).await.unwrap().accepted().unwrap();
    (token, principal)
}

async fn issued(store: &Store) -> (String, Ticket) {
    let (token, principal) = with_alice(store, TokenScopes::ALL).await;
    let ticket = store.issue(&principal, &token).await.unwrap();
    (token, ticket)
}

#[tokio::test]
async fn of_many_who_open_a_ticket_at_once_on_several_servers_one_does_sec_03() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "once").await;
        let (_, ticket) = issued(&store).await;
        let servers = [over(&db), over(&db), over(&db)];
        let attempts = (0..30).map(|n| servers[n % 3].open(&ticket.text, Some("acme"), false));
        let opened = futures::future::join_all(attempts).await;
        assert_eq!(opened.into_iter().filter(|one| one.as_ref().unwrap().is_some()).count(), 1);
        assert!(store.open(&ticket.text, Some("acme"), true).await.unwrap().is_some(), "who resumes may come back");
        assert_eq!(store.open(&ticket.text, Some("globex"), true).await.unwrap(), None, "only to the same stream");
    })
    .await;
}

#[tokio::test]
async fn a_ticket_ends_with_the_token_behind_it_and_unopened_after_its_time_se_28() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "ends").await;
        let log = db.connect_log().await;
        let (_, ticket) = issued(&store).await;
        assert_eq!(store.holder(&ticket.text).await.unwrap(), None, "nobody has opened it");
        log.execute("update antiphon.tickets set open_before = now() - interval '1 second'", &[]).await.unwrap();
        assert_eq!(store.open(&ticket.text, None, true).await.unwrap(), None, "it was to be opened in time");

        let (token, ticket) = issued(&store).await;
        let holder = store.open(&ticket.text, Some("acme"), false).await.unwrap().unwrap();
        assert_eq!((holder.subject.as_str(), holder.only_org.as_deref()), ("alice", Some("acme")));
        let stored: i64 = log
            .query_one(
                "select count(*) from antiphon.tickets t where t::text like '%' || $1 || '%'",
                &[&&ticket.text[4..]],
            )
            .await
            .unwrap()
            .get(0);
        assert_eq!(stored, 0, "only the hash is stored");
        let id = store.tokens().await.unwrap().into_iter().find(|info| token.starts_with(&info.prefix)).unwrap().id;
        assert!(store.revoke_token(&id).await.unwrap());
        assert_eq!(store.holder(&ticket.text).await.unwrap(), None);
        assert_eq!(store.open(&ticket.text, Some("acme"), true).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_ticket_says_what_a_providers_token_said_sec_03() {
    for_each_postgres(|pg| async move {
        let (_db, store) = open(&pg, "claims").await;
        let principal = Principal {
            subject: "zoe".into(),
            system_admin: false,
            expires_at: Some(Micros(4_000_000_000_123_456)),
            scopes: TokenScopes::of(&[TokenScope::Read]),
            memberships: Some(BTreeMap::from([("acme".to_owned(), Role::Viewer)])),
            only_org: None,
        };
        let ticket = store.issue(&principal, "a.jwt.token").await.unwrap();
        assert_eq!(store.open(&ticket.text, None, false).await.unwrap(), Some(principal.clone()));
        let ended = Principal { expires_at: Some(Micros(1_000_000)), ..principal };
        let ticket = store.issue(&ended, "a.jwt.token").await.unwrap();
        assert_eq!(store.open(&ticket.text, None, false).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_change_by_anybody_is_known_to_every_server_within_two_seconds_str_05() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "changes").await;
        let other = over(&db);
        let stop = CancellationToken::new();
        let follower = other.clone();
        let end = stop.clone();
        let following = antiphon_engine::spawn("follow", async move { follower.follow_changes(end).await });
        let (token, _) = with_alice(&store, TokenScopes::ALL).await;
        let mut changes = other.changes();
        let log = db.connect_log().await;
        for revoke in ["update antiphon.tokens set revoked_at = now()", "delete from antiphon.users"] {
            // Wait out what the changes above have told, then remember.
            while tokio::time::timeout(Duration::from_millis(1_200), changes.changed()).await.is_ok() {}
            let before = other.authenticate(&token).await.unwrap();
            log.batch_execute(revoke).await.unwrap();
            let told = tokio::time::timeout(Duration::from_secs(2), changes.changed()).await;
            assert!(told.is_ok(), "{revoke} was not told");
            assert_eq!(other.authenticate(&token).await.unwrap(), Shown::Unknown, "{revoke}: {before:?}");
        }
        // That a token was used is no change: servers would forget everything at each use.
        let (token, _) = with_alice(&store, TokenScopes::ALL).await;
        while tokio::time::timeout(Duration::from_millis(1_200), changes.changed()).await.is_ok() {}
        log.batch_execute("update antiphon.tokens set last_used_at = null").await.unwrap();
        over(&db).authenticate(&token).await.unwrap().accepted().unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(1_200), changes.changed()).await.is_err());
        stop.cancel();
        following.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn scopes_are_stored_and_absent_ones_are_all_se_28() {
    for_each_postgres(|pg| async move {
        let (_db, store) = open(&pg, "scopes").await;
        let (_, all) = with_alice(&store, TokenScopes::ALL).await;
        assert!(TokenScope::ALL.into_iter().all(|scope| all.scopes.allow(scope)));
        let (_, read) = with_alice(&store, TokenScopes::of(&[TokenScope::Read])).await;
        assert_eq!(read.scopes.list(), [TokenScope::Read]);
        let (_, write) = with_alice(&store, TokenScopes::of(&[TokenScope::Write])).await;
        assert_eq!(write.scopes.list(), [TokenScope::Read, TokenScope::Write]);
    })
    .await;
}
