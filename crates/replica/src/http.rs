//! What the machine asks of the server, as HTTP (protocol 1, 4, 5).
//!
//! Laws: the token goes into a header and nowhere else, and is sent to one server only, so redirects are not followed; an
//! answer is handed on as it is, with what it says of time. It refuses to retry: when to ask again is the machine's to say.

use std::time::{Duration, SystemTime};

use antiphon_engine::Fault;
use antiphon_model::Code;
use antiphon_sync::client::Request;
use reqwest::{Client, RequestBuilder, Response, Url, header, redirect::Policy};

/// A connection that does not stand after this long will not.
const CONNECT: Duration = Duration::from_secs(10);
/// An answer may have so many bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after_ms: Option<u64>,
    /// The server's clock.
    pub(crate) server_ms: Option<u64>,
    pub(crate) body: String,
}

/// A stream to be opened.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) offset: u64,
    pub(crate) epoch: u64,
    pub(crate) access: String,
}

/// Speaks to one server about one organisation under one token.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    base: Url,
    token: String,
}

impl Http {
    /// Makes a caller; nothing is sent yet.
    pub(crate) fn new(server: &str, org: &str, token: &str) -> Result<Http, Fault> {
        let invalid = |why: &str| Fault::new(Code::Usage, format!("{server} is not the address of a server: {why}"));
        let mut base = Url::parse(server).map_err(|error| invalid(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(invalid("http:// or https:// is wanted"));
        }
        match base.path_segments_mut() {
            Ok(mut path) => {
                path.pop_if_empty().extend(["v1", "orgs", org]);
            }
            Err(()) => return Err(invalid("it has no path")),
        }
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Fault::new(Code::Usage, "the token is empty or has characters that no token has"));
        }
        let client = Client::builder().connect_timeout(CONNECT).redirect(Policy::none()).build();
        let client = client.map_err(|error| Fault::new(Code::Internal, "no HTTP client").with_source(error))?;
        Ok(Http { client, base, token: token.to_owned() })
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn get(&self, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        self.client.get(self.url(path, query)).bearer_auth(&self.token)
    }

    /// Asks; `key_parts` says how many columns name a row. `None`: there was no answer.
    pub(crate) async fn ask(&self, request: Request, key_parts: usize) -> Option<Answer> {
        let request = match request {
            Request::Schema => self.get(&["schema"], &[]),
            Request::List { entity_type, after, limit } => {
                let limit = limit.to_string();
                let mut query = vec![("limit", limit.as_str())];
                query.extend(after.as_deref().map(|after| ("after", after)));
                self.get(&["entities", &entity_type], &query)
            }
            Request::Subset { entity_type, parameters, after, limit } => {
                let limit = limit.to_string();
                let mut query: Vec<(&str, &str)> =
                    parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                query.push(("limit", &limit));
                query.extend(after.as_deref().map(|after| ("after", after)));
                self.get(&["entities", &entity_type], &query)
            }
            Request::Ids { entity_type, ids } => {
                // An id of several columns is a JSON array already; one of one column may hold a comma.
                let parts = ids.into_iter().map(|id| match key_parts {
                    1 => serde_json::json!([id]).to_string(),
                    _ => id,
                });
                let ids = parts.collect::<Vec<String>>().join(",");
                self.get(&["entities", &entity_type], &[("ids", &ids)])
            }
            Request::Mutations { body } => {
                let post = self.client.post(self.url(&["mutations"], &[])).bearer_auth(&self.token);
                post.header(header::CONTENT_TYPE, "application/json").body(body)
            }
        };
        let response = request.send().await.map_err(|error| tracing::debug!(%error, "no answer")).ok()?;
        read(response).await
    }

    /// Opens the stream; `None`: there was no answer.
    pub(crate) async fn open(&self, open: &Open) -> Option<Response> {
        let (offset, epoch) = (open.offset.to_string(), open.epoch.to_string());
        let query = [("live", "sse"), ("offset", &offset), ("epoch", &epoch), ("access", &open.access)];
        let request = self.get(&["live"], &query).header(header::ACCEPT, "text/event-stream");
        request.send().await.map_err(|error| tracing::debug!(%error, "no stream")).ok()
    }
}

/// Reads an answer to its end; `None` where it has none.
pub(crate) async fn read(mut response: Response) -> Option<Answer> {
    let (status, retry_after_ms, server_ms) =
        (response.status().as_u16(), retry_after_ms(&response), date_ms(&response));
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.ok()? {
        body.extend_from_slice(&part);
        if body.len() > ANSWER_BYTES_MAX {
            return None;
        }
    }
    Some(Answer { status, retry_after_ms, server_ms, body: String::from_utf8_lossy(&body).into_owned() })
}

/// Returns the server's clock, in milliseconds since 1970.
fn date_ms(response: &Response) -> Option<u64> {
    response.headers().get(header::DATE)?.to_str().ok().and_then(moment_ms)
}

/// Returns how long the server asks to wait: seconds, or a moment of its own clock.
pub(crate) fn retry_after_ms(response: &Response) -> Option<u64> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(seconds) => Some(seconds.saturating_mul(1_000)),
        Err(_) => Some(moment_ms(text)?.saturating_sub(date_ms(response)?)),
    }
}

fn moment_ms(text: &str) -> Option<u64> {
    let moment = httpdate::parse_http_date(text).ok()?;
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_addresses_are_escaped_and_the_token_is_in_none() {
        let http = Http::new("https://host/under/", "a/b", "ant_secret").expect("a caller");
        let url = http.url(&["entities", "a b?"], &[("ids", "[\"x,y&z\"]")]);
        assert_eq!(url.as_str(), "https://host/under/v1/orgs/a%2Fb/entities/a%20b%3F?ids=%5B%22x%2Cy%26z%22%5D");
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        for wrong in ["", "host", "ftp://host", "mailto:a@b"] {
            let fault = Http::new(wrong, "acme", "t").map(drop).expect_err(wrong);
            assert_eq!(fault.code(), Code::Usage, "{wrong}");
        }
    }

    #[test]
    fn moments_of_the_server_are_read_in_milliseconds() {
        assert_eq!(moment_ms("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000));
        assert_eq!(moment_ms("soon"), None);
    }
}
