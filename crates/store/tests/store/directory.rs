//! Organisations, users, tokens.

use antiphon_engine::ports::{Directory, Shown, TokenScopes};
use antiphon_model::{Code, Role};
use antiphon_store::{NewToken, Organisation, User};
use antiphon_testkit::for_each_postgres;

use crate::open;

fn user(id: &str) -> User {
    User { id: id.into(), name: id.to_uppercase(), avatar_url: None, system_admin: false }
}

fn of<'a>(user: &'a str, name: &'a str, days: Option<u32>) -> NewToken<'a> {
    NewToken { user, name, days, scopes: TokenScopes::ALL }
}

#[tokio::test]
async fn a_token_names_its_user_until_it_expires_or_is_revoked_se_28() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "tokens").await;
        store.save_user(&user("alice")).await.unwrap();
        let token = store.create_token(of("alice", "test", None)).await.unwrap();
        assert_eq!(store.authenticate(&token).await.unwrap().accepted().unwrap().subject, "alice");
        assert_eq!(store.authenticate("ant_nonsense").await.unwrap(), Shown::Unknown);
        let info = store.tokens().await.unwrap().remove(0);
        assert!(token.starts_with(&info.prefix) && info.prefix.len() < 16);
        assert!(info.last_used_at.is_some(), "its use is noted");
        let stored: i64 = db
            .connect_log()
            .await
            .query_one("select count(*) from antiphon.tokens t where t::text like '%' || $1 || '%'", &[&&token[4..]])
            .await
            .unwrap()
            .get(0);
        assert_eq!(stored, 0, "only the hash is stored");
        assert!(store.revoke_token(&info.id).await.unwrap());
        assert_eq!(store.authenticate(&token).await.unwrap(), Shown::Unknown);
        let expired = store.create_token(of("alice", "old", Some(0))).await.unwrap();
        for _ in ["asked", "remembered"] {
            assert_eq!(store.authenticate(&expired).await.unwrap(), Shown::Expired);
        }
        let nobodys = format!("ant_{}", "0".repeat(64));
        for _ in ["asked", "remembered"] {
            assert_eq!(store.authenticate(&nobodys).await.unwrap(), Shown::Unknown);
        }
        let fault = store.create_token(of("nobody", "test", None)).await.unwrap_err();
        assert_eq!(fault.code(), Code::NotFound);
    })
    .await;
}

#[tokio::test]
async fn no_member_and_no_such_organisation_look_alike_sec_01() {
    for_each_postgres(|pg| async move {
        let (_db, store) = open(&pg, "members").await;
        for id in ["acme", "globex"] {
            let organisation = Organisation { id: id.into(), slug: format!("{id}-inc"), name: id.into() };
            store.save_organisation(&organisation).await.unwrap();
        }
        store.save_user(&user("alice")).await.unwrap();
        store.save_membership("acme", "alice", Role::Owner).await.unwrap();
        for name in ["acme", "acme-inc"] {
            let membership = store.membership(name, "alice").await.unwrap().unwrap();
            assert_eq!((membership.org.as_str(), membership.role), ("acme", Role::Owner));
        }
        assert_eq!(store.membership("globex", "alice").await.unwrap(), None);
        assert_eq!(store.membership("nowhere", "alice").await.unwrap(), None);
        assert_eq!(store.members("acme").await.unwrap()[0].name, "ALICE");
        assert!(store.remove_membership("acme", "alice").await.unwrap());
        assert_eq!(store.membership("acme", "alice").await.unwrap(), None);
    })
    .await;
}
