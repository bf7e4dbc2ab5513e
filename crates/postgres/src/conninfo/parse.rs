//! From text to parameters, and from parameters to a connection's description.
//!
//! The two spellings end in the same list of names and values, so that they cannot differ in meaning.

use std::{path::PathBuf, time::Duration};

use antiphon_engine::Fault;

use super::{
    CONNECT_TIMEOUT, ChannelBinding, ConnectionInfo, Host, Keepalive, RootCertificates, Secret, SslMode, TargetSession,
    invalid,
};

const PORT: u16 = 5432;

/// Reads what follows the scheme of a URL.
pub(super) fn url(text: &str) -> Result<Vec<(String, String)>, Fault> {
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    // A socket's path in the authority must be encoded, so the first slash ends it.
    let (authority, database) = text.split_once('/').unwrap_or((text, ""));
    let (login, addresses) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (login, None),
    };
    let mut pairs = Vec::new();
    let mut add = |name: &str, value: &str| -> Result<(), Fault> {
        if !value.is_empty() {
            pairs.push((name.to_owned(), decode(value).ok_or_else(|| invalid(format!("{name} is not well encoded")))?));
        }
        Ok(())
    };
    add("user", user)?;
    add("password", password.unwrap_or_default())?;
    add("dbname", database)?;
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for address in addresses.split(',').filter(|_| !addresses.is_empty()) {
        let (host, port) = split_port(address)?;
        hosts.push(host);
        ports.push(port);
    }
    add("host", &hosts.join(","))?;
    if ports.iter().any(|port| !port.is_empty()) {
        add("port", &ports.join(","))?;
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or_else(|| invalid("a parameter has no value"))?;
        let name = decode(name).ok_or_else(|| invalid("a parameter's name is not well encoded"))?;
        let value = decode(value).ok_or_else(|| invalid(format!("{name} is not well encoded")))?;
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn split_port(address: &str) -> Result<(&str, &str), Fault> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(|| invalid("an IPv6 address lacks its closing bracket"))?;
        return match port {
            "" => Ok((host, "")),
            port => port.strip_prefix(':').map(|port| (host, port)).ok_or_else(|| invalid("host is not valid")),
        };
    }
    Ok(address.split_once(':').unwrap_or((address, "")))
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
        out.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(out).ok().filter(|text| !text.contains('\0'))
}

/// Reads `key = value` pairs; a value in single quotes may hold blanks, a backslash takes the next character as it is.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, Fault> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=').ok_or_else(|| {
            invalid("expected postgres://user:password@host:port/database, or pairs such as host=... dbname=...")
        })?;
        let (value, after) = take_value(value.trim_start())?;
        pairs.push((name.trim_end().to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

fn take_value(text: &str) -> Result<(String, &str), Fault> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, character)| character)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            character if !quoted && character.is_whitespace() => return Ok((value, &text[at..])),
            character => value.push(character),
        }
    }
    if quoted { Err(invalid("a quote is not closed")) } else { Ok((value, "")) }
}

/// Makes the description; a later value of a name replaces an earlier one.
pub(super) fn build(pairs: Vec<(String, String)>) -> Result<ConnectionInfo, Fault> {
    let mut hosts: Vec<String> = Vec::new();
    let mut ports = Vec::new();
    let (mut user, mut database) = (None, None);
    let (mut certificate, mut key) = (None, None);
    let mut info = ConnectionInfo {
        hosts: Vec::new(),
        user: String::new(),
        password: None,
        database: String::new(),
        ssl_mode: SslMode::default(),
        roots: None,
        client_certificate: None,
        channel_binding: ChannelBinding::default(),
        connect_timeout: CONNECT_TIMEOUT,
        application_name: None,
        options: None,
        keepalive: Keepalive::default(),
        target_session: TargetSession::default(),
    };
    for (name, value) in pairs {
        match name.as_str() {
            "host" => hosts = value.split(',').map(str::to_owned).collect(),
            "port" => ports = parse_ports(&value)?,
            "user" => user = Some(value),
            "dbname" => database = Some(value),
            "password" => info.password = Some(Secret::new(value)),
            "sslcert" => certificate = Some(PathBuf::from(value)),
            "sslkey" => key = Some(PathBuf::from(value)),
            _ => set(&mut info, &name, value)?,
        }
    }
    info.user = user.filter(|user| !user.is_empty()).ok_or_else(|| invalid("user is missing"))?;
    info.database = database.filter(|name| !name.is_empty()).unwrap_or_else(|| info.user.clone());
    info.hosts = addresses(hosts, &ports)?;
    info.client_certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(invalid("sslcert and sslkey belong together")),
    };
    if info.roots == Some(RootCertificates::System) && info.ssl_mode != SslMode::VerifyFull {
        return Err(invalid("sslrootcert=system needs sslmode=verify-full"));
    }
    Ok(info)
}

fn set(info: &mut ConnectionInfo, name: &str, value: String) -> Result<(), Fault> {
    let seconds = |value: &str| whole(name, value).map(|number| Duration::from_secs(number.into()));
    match name {
        "sslmode" => info.ssl_mode = ssl_mode(&value)?,
        "sslrootcert" if value == "system" => info.roots = Some(RootCertificates::System),
        "sslrootcert" => info.roots = Some(RootCertificates::File(value.into())),
        "channel_binding" => info.channel_binding = channel_binding(&value)?,
        // Zero means to wait for ever, which nothing here may do.
        "connect_timeout" => {
            let timeout = seconds(&value)?;
            info.connect_timeout =
                if timeout.is_zero() { CONNECT_TIMEOUT } else { timeout.max(Duration::from_secs(2)) };
        }
        "application_name" => info.application_name = Some(value),
        "options" => info.options = Some(value),
        "keepalives" => info.keepalive.enabled = whole(name, &value)? != 0,
        "keepalives_idle" => info.keepalive.idle = seconds(&value)?.max(Duration::from_secs(1)),
        "keepalives_interval" => info.keepalive.interval = seconds(&value)?.max(Duration::from_secs(1)),
        "keepalives_count" | "keepalives_retries" => info.keepalive.count = whole(name, &value)?.max(1),
        "tcp_user_timeout" => info.keepalive.user_timeout = Duration::from_millis(whole(name, &value)?.into()),
        "target_session_attrs" => {
            info.target_session = match value.as_str() {
                "any" => TargetSession::Any,
                "read-write" | "primary" => TargetSession::ReadWrite,
                _ => return Err(invalid("target_session_attrs must be any, read-write or primary")),
            }
        }
        // Neither changes what we do: UTF-8 is always used, and TLS is always asked for first.
        "client_encoding" if value.eq_ignore_ascii_case("utf8") || value == "UTF-8" => {}
        "sslnegotiation" if value == "postgres" => {}
        "gssencmode" if value == "disable" || value == "prefer" => {}
        name => {
            let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect();
            return Err(invalid(format!("the parameter {name} is not known or has a value that is not")));
        }
    }
    Ok(())
}

fn whole(name: &str, value: &str) -> Result<u32, Fault> {
    value.parse().map_err(|_| invalid(format!("{name} must be a whole number")))
}

fn parse_ports(value: &str) -> Result<Vec<u16>, Fault> {
    let port = |text: &str| match text {
        "" => Ok(PORT),
        text => text.parse().ok().filter(|port| *port != 0).ok_or_else(|| invalid("port must lie in 1 to 65535")),
    };
    value.split(',').map(port).collect()
}

fn addresses(hosts: Vec<String>, ports: &[u16]) -> Result<Vec<(Host, u16)>, Fault> {
    let hosts = if hosts.is_empty() { vec!["localhost".to_owned()] } else { hosts };
    if ports.len() > 1 && ports.len() != hosts.len() {
        return Err(invalid("there must be one port, or one for each host"));
    }
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(PORT);
    let address = |(index, host): (usize, String)| match host {
        host if host.is_empty() => Err(invalid("a host is empty")),
        host if host.starts_with('/') => Ok((Host::Unix(host.into()), port(index))),
        host => Ok((Host::Tcp(host), port(index))),
    };
    hosts.into_iter().enumerate().map(address).collect()
}

fn ssl_mode(value: &str) -> Result<SslMode, Fault> {
    match value {
        "disable" => Ok(SslMode::Disable),
        "prefer" | "allow" => Ok(SslMode::Prefer),
        "require" => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        _ => Err(invalid("sslmode must be disable, prefer, require, verify-ca or verify-full")),
    }
}

fn channel_binding(value: &str) -> Result<ChannelBinding, Fault> {
    match value {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => Err(invalid("channel_binding must be disable, prefer or require")),
    }
}
