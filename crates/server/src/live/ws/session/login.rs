//! Who a connection is: the token of its first word, and every new one.
//!
//! Law: a connection is one person's to its end; a token of somebody else ends it.

use antiphon_model::Code;

use super::{End, Identity, Session, limits};
use crate::{auth::Refusal, live::ws::outbound};

impl Session {
    pub(super) async fn hello(&mut self, token: Option<String>) -> Result<(), End> {
        if let Some(token) = token {
            self.identity = Some(self.authenticate(token).await?);
        }
        if self.identity.is_none() {
            self.send(outbound::error(Code::Unauthenticated, "a token is wanted", None)).await?;
            return Err(End::Close(4401, "authentication"));
        }
        self.greeted = true;
        self.greet().await
    }

    async fn greet(&mut self) -> Result<(), End> {
        let text = outbound::welcome(&self.connection_id, limits(self.app.websocket_bytes), crate::compose::now());
        self.send(text).await
    }

    /// Takes a new token of the same person; subscriptions go on under it.
    pub(super) async fn renew(&mut self, token: String) -> Result<(), End> {
        let renewed = self.authenticate(token).await?;
        let subject = self.identity.as_ref().map(|identity| identity.principal.subject.clone());
        if subject.as_ref() != Some(&renewed.principal.subject) {
            self.send(outbound::error(Code::Unauthenticated, "the token is somebody else's", None)).await?;
            return Err(End::Close(4401, "authentication"));
        }
        for subscription in &mut self.subscriptions {
            subscription.guard.renew(renewed.principal.clone(), renewed.token.clone());
        }
        self.identity = Some(renewed);
        self.greet().await
    }

    async fn authenticate(&mut self, token: String) -> Result<Identity, End> {
        match self.app.authenticate(&token).await {
            Ok(Ok(principal)) => Ok(Identity { principal, token }),
            Ok(Err(refusal)) => Err(self.turn_away(refusal).await?),
            Err(fault) => {
                tracing::warn!(error = %fault.chain(), "a token could not be looked at");
                self.send(outbound::notice("shutdown", Some(1_000))).await?;
                Err(End::Close(1013, "try again"))
            }
        }
    }

    /// Answers a token that is not accepted.
    async fn turn_away(&mut self, refusal: Refusal) -> Result<End, End> {
        if refusal.guess()
            && let Err(problem) = self.app.gate.guessed(self.peer)
        {
            let retry_ms = problem.retry_after_seconds().map(|seconds| u64::from(seconds) * 1_000);
            self.send(outbound::notice("rate_limited", retry_ms)).await?;
            return Ok(End::Close(4429, "rate"));
        }
        let detail = "the token is unknown, expired or revoked";
        self.send(outbound::error(Code::Unauthenticated, detail, None)).await?;
        Ok(End::Close(4401, "authentication"))
    }
}
