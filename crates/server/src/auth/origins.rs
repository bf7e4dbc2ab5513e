//! Which web pages may call: CORS for the API, and the check of WebSocket handshakes (SE-10).
//!
//! Law: a page of another origin is let in only if it is listed; `dev` lets in every page of this machine. Programs send
//! no origin and are judged by their token alone, as everybody is.

use antiphon_engine::Fault;
use antiphon_model::Code;
use axum::http::{HeaderMap, HeaderValue, header};

/// The origins of pages that may call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    listed: Vec<String>,
    local: bool,
}

impl Origins {
    /// Reads the configured list; `local` lets in every page of this machine.
    pub(crate) fn read(listed: &[String], local: bool) -> Result<Origins, Fault> {
        let origin = |text: &String| {
            normal(text).ok_or_else(|| {
                let why = "server.allowed_origins holds origins such as https://app.example.com, without a path";
                Fault::new(Code::ConfigInvalid, format!("{why}, not {text}"))
            })
        };
        Ok(Origins { listed: listed.iter().map(origin).collect::<Result<_, _>>()?, local })
    }

    /// Tells whether pages of an origin may call.
    pub(crate) fn allow(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.local && is_local(origin) || normal(origin).is_some_and(|origin| self.listed.contains(&origin))
    }

    /// Tells whether a handshake may go on: programs, our own pages, and those let in.
    pub(crate) fn allow_handshake(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = origin.to_str().ok().and_then(|text| text.split_once("://")).map(|(_, name)| name);
        let own = name.is_some_and(|name| !host.is_empty() && name.eq_ignore_ascii_case(host));
        // Whoever runs pages on the machine that serves could as well run a program there.
        let local = || origin.to_str().is_ok_and(is_local) && is_local(&format!("http://{host}"));
        own || local() || self.allow(origin)
    }
}

/// Writes an origin as browsers do; `None` for what is none.
fn normal(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, host) = text.split_once("://")?;
    let default = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let host = host.strip_suffix(default).unwrap_or(host);
    let fits = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    fits.then(|| format!("{scheme}://{host}"))
}

fn is_local(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let Some(host) = host else { return false };
    let port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let name = host.rsplit_once(':').filter(|(_, text)| port(text)).map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(listed: &[&str], local: bool, origin: &str) -> bool {
        let listed: Vec<String> = listed.iter().map(|text| (*text).to_owned()).collect();
        Origins::read(&listed, local).unwrap().allow(&HeaderValue::from_str(origin).unwrap())
    }

    #[test]
    fn only_pages_of_this_machine_are_local() {
        for (origin, local) in [
            ("http://localhost:5173", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:80", true),
            ("http://localhost.example.com", false),
            ("http://example.com:80", false),
            ("null", false),
            ("http://127.0.0.1.example:1", false),
        ] {
            assert_eq!(allows(&[], true, origin), local, "{origin}");
            assert!(!allows(&[], false, origin), "{origin} outside of dev");
        }
    }

    #[test]
    fn a_listed_origin_is_met_exactly_se_32() {
        let listed = ["https://App.example.com", "http://pages.example:80", "https://other.example:8443"];
        for (origin, met) in [
            ("https://app.example.com", true),
            ("http://pages.example", true),
            ("https://other.example:8443", true),
            ("http://app.example.com", false),
            ("https://app.example.com.evil.example", false),
            ("https://evil.example/app.example.com", false),
            ("https://other.example", false),
            ("null", false),
        ] {
            assert_eq!(allows(&listed, false, origin), met, "{origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_at_the_start() {
        for wrong in
            ["*", "app.example.com", "https://", "https://a.example/path", "ws://a.example", "https://*.example"]
        {
            let fault = Origins::read(&[wrong.to_owned()], false).unwrap_err();
            assert_eq!(fault.code(), Code::ConfigInvalid, "{wrong}");
        }
    }

    #[test]
    fn a_handshake_from_another_site_is_refused_se_10() {
        let origins = Origins::read(&["https://app.example.com".to_owned()], false).unwrap();
        for (origin, host, met) in [
            (None, "api.example.com", true),
            (Some("https://api.example.com"), "api.example.com", true),
            (Some("https://app.example.com"), "api.example.com", true),
            (Some("https://evil.example"), "api.example.com", false),
            (Some("http://localhost:1"), "127.0.0.1:2", true),
            (Some("http://localhost:1"), "api.example.com", false),
            (Some("http://localhost.evil.example"), "127.0.0.1:2", false),
            (Some("https://evil.example"), "localhost:2", false),
            (Some("null"), "null", false),
            (Some("https://"), "", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            assert_eq!(origins.allow_handshake(&headers), met, "{origin:?} to {host}");
        }
    }
}
