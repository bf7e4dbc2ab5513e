//! The startup packet and the login: SCRAM-SHA-256 with and without channel binding, MD5, and passwords in the clear.
//!
//! Laws: a password in the clear is sent only where nobody listens in (TLS or a Unix socket); with
//! `channel_binding=require` nothing but a bound login is completed, not even one that asks for no password; with TLS the
//! bound method is taken wherever the server offers it, so that a go-between cannot talk us down (PG-98).

use antiphon_engine::Fault;
use antiphon_model::Code;
use bytes::{Buf, BytesMut};
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{self, ScramSha256},
    },
    message::frontend,
};

use super::{ReplicationConnection, message::Message, socket::Channel, unexpected};
use crate::{
    conninfo::{ChannelBinding, ConnectionInfo},
    errors::{self, Context},
};

impl ReplicationConnection {
    /// Logs in and waits until the session is ready.
    pub(super) async fn login(
        &mut self,
        info: &ConnectionInfo,
        channel: Option<Channel>,
        application_name: &str,
        options: &str,
    ) -> Result<(), Fault> {
        let mut out = BytesMut::new();
        let parameters = [
            ("user", info.user.as_str()),
            ("database", info.database.as_str()),
            ("replication", "database"),
            ("application_name", application_name),
            ("options", options),
        ];
        frontend::startup_message(parameters, &mut out).map_err(errors::socket)?;
        self.write(&out).await?;
        self.authenticate(info, channel).await?;
        loop {
            let message = self.login_message().await?;
            match message.tag {
                b'Z' => return Ok(()),
                b'N' => message.log_notice(),
                b'S' | b'K' => {}
                tag => return Err(unexpected(tag)),
            }
        }
    }

    async fn authenticate(&mut self, info: &ConnectionInfo, channel: Option<Channel>) -> Result<(), Fault> {
        let require = info.channel_binding == ChannelBinding::Require;
        let (kind, mut body) = self.authentication().await?;
        if require && !matches!(kind, 10) {
            return Err(refused("the server asks for no login that can be bound to the TLS channel"));
        }
        match kind {
            0 => return Ok(()),
            3 if channel.is_none() => {
                return Err(refused("the server asks for the password in the clear on a connection without TLS"));
            }
            3 => self.send_password(password(info)?.as_bytes()).await?,
            5 => {
                let salt = body.try_get_u32().map_err(|_| refused("the server's request is cut short"))?;
                let hash = md5_hash(info.user.as_bytes(), password(info)?.as_bytes(), salt.to_be_bytes());
                self.send_password(hash.as_bytes()).await?;
            }
            10 => self.scram(info, channel, &body).await?,
            _ => return Err(refused("the server asks for a kind of login that is not supported")),
        }
        match self.authentication().await?.0 {
            0 => Ok(()),
            _ => Err(refused("the server asks for a second login")),
        }
    }

    async fn scram(&mut self, info: &ConnectionInfo, channel: Option<Channel>, offered: &[u8]) -> Result<(), Fault> {
        let offers = |name: &str| offered.split(|byte| *byte == 0).any(|offer| offer == name.as_bytes());
        let (bound, plain) = (offers(sasl::SCRAM_SHA_256_PLUS), offers(sasl::SCRAM_SHA_256));
        let end_point = match channel {
            Some(Channel::Tls(end_point)) if info.channel_binding != ChannelBinding::Disable => end_point,
            _ => None,
        };
        let (mechanism, binding) = match end_point {
            Some(hash) if bound => (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash)),
            _ if info.channel_binding == ChannelBinding::Require => {
                return Err(refused("the login cannot be bound to the TLS channel"));
            }
            // Says that we could have: a server that could, too, then knows that somebody is in between.
            Some(_) if plain => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            None if plain => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
            _ => return Err(refused("the server asks for a kind of login that is not supported")),
        };
        let mut scram = ScramSha256::new(password(info)?.as_bytes(), binding);
        let mut out = BytesMut::new();
        frontend::sasl_initial_response(mechanism, scram.message(), &mut out).map_err(errors::socket)?;
        self.write(&out).await?;
        let broken = |error: std::io::Error| refused("the server's part of the login is not valid").with_source(error);
        let (11, challenge) = self.authentication().await? else { return Err(refused("the login broke off")) };
        scram.update(&challenge).map_err(broken)?;
        let mut out = BytesMut::new();
        frontend::sasl_response(scram.message(), &mut out).map_err(errors::socket)?;
        self.write(&out).await?;
        let (12, proof) = self.authentication().await? else { return Err(refused("the login broke off")) };
        scram.finish(&proof).map_err(broken)
    }

    /// Returns the kind and body of the next request of the login.
    async fn authentication(&mut self) -> Result<(u32, bytes::Bytes), Fault> {
        loop {
            let mut message = self.login_message().await?;
            match message.tag {
                b'R' => {
                    let kind = message.body.try_get_u32().map_err(|_| unexpected(b'R'))?;
                    return Ok((kind, message.body));
                }
                b'N' => message.log_notice(),
                tag => return Err(unexpected(tag)),
            }
        }
    }

    async fn login_message(&mut self) -> Result<Message, Fault> {
        let message = self.message().await?;
        if message.tag == b'E' {
            return Err(errors::server(message.server_error(), Context::Connect));
        }
        Ok(message)
    }

    async fn send_password(&mut self, password: &[u8]) -> Result<(), Fault> {
        let mut out = BytesMut::new();
        frontend::password_message(password, &mut out).map_err(errors::socket)?;
        self.write(&out).await
    }
}

fn password(info: &ConnectionInfo) -> Result<&str, Fault> {
    let given = info.password.as_ref().ok_or_else(|| refused("the server asks for a password and there is none"));
    given.map(|password| password.reveal())
}

fn refused(detail: &'static str) -> Fault {
    Fault::new(Code::AuthFailed, detail)
}
