//! Whose request it is by address: the socket's, or what a trusted proxy says of it.
//!
//! Anybody can write `X-Forwarded-For`. Laws: the header counts only where the socket belongs to a configured proxy; it
//! is read from its end, where our own proxies wrote, and the first address that is none of theirs is the peer; whatever
//! stands before it was said by a stranger and counts for nothing. It refuses `Forwarded` and all other names.

use std::net::{IpAddr, SocketAddr};

use antiphon_engine::Fault;
use antiphon_model::Code;
use axum::http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";
/// More hops than this are not followed: nobody has so many proxies of their own.
const HOPS_MAX: usize = 16;

/// The address of who asks; rides along with every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Vec<Network>);

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Proxies {
    /// Reads the configured list of addresses and networks, such as `10.0.0.0/8`.
    pub(crate) fn read(list: &[String]) -> Result<Proxies, Fault> {
        let read = |text: &String| {
            Network::read(text.trim()).ok_or_else(|| {
                let why = "server.trusted_proxies holds addresses and networks such as 10.0.0.0/8 or 2001:db8::/32";
                Fault::new(Code::ConfigInvalid, format!("{why}, not `{text}`"))
            })
        };
        Ok(Proxies(list.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Returns who asks over a socket of this address.
    pub(crate) fn peer(&self, socket: IpAddr, headers: &HeaderMap) -> Peer {
        let mut peer = socket.to_canonical();
        // Several headers of the name are one list, in their order.
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops.take(HOPS_MAX) {
            if !self.trust(peer) {
                break;
            }
            // What a proxy of ours wrote and we cannot read ends the search: it is the proxy itself that is counted.
            let Some(named) = address(hop) else { break };
            peer = named;
        }
        Peer(peer)
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }
}

impl Network {
    fn read(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let most = width(address);
        let bits = match bits {
            None => most,
            // Neither a sign nor a leading zero: one network is written one way.
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
        };
        // Everybody is no proxy of ours: the header would be anybody's to write.
        (1..=most).contains(&bits).then_some(Network { address, bits })
    }

    fn holds(&self, address: IpAddr) -> bool {
        let alike = |one: u128, other: u128| (one ^ other) >> (width(address) - self.bits) == 0;
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => alike(ours.to_bits().into(), theirs.to_bits().into()),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => alike(ours.to_bits(), theirs.to_bits()),
            _ => false,
        }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Reads one hop; some proxies add the port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let read = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    read.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn peer(proxies: &[&str], socket: &str, forwarded: &[&str]) -> String {
        let list: Vec<String> = proxies.iter().map(|text| (*text).to_owned()).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(value.as_bytes()).expect("a header"));
        }
        let socket = socket.parse().expect("an address");
        Proxies::read(&list).expect("the list").peer(socket, &headers).0.to_string()
    }

    #[test]
    fn a_forged_header_counts_for_nothing_without_a_trusted_proxy_se_30() {
        for proxies in [&[][..], &["10.0.0.0/8"]] {
            assert_eq!(peer(proxies, "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
            assert_eq!(peer(proxies, "192.0.2.1", &["203.0.113.9, 10.0.0.1"]), "192.0.2.1");
        }
    }

    #[test]
    fn a_proxys_word_is_read_from_its_end_se_30() {
        let ours: &[&str] = &["10.0.0.0/8", "2001:db8::/32"];
        for (forwarded, expected) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            // Only the last stranger was seen by a proxy of ours; who stands before it made that up.
            (&["127.0.0.1, 198.51.100.7, 203.0.113.9"], "203.0.113.9"),
            (&["198.51.100.7, 203.0.113.9, 10.2.3.4"], "203.0.113.9"),
            (&["198.51.100.7", "203.0.113.9", "10.2.3.4"], "203.0.113.9"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:db9::7]:4711"], "2001:db9::7"),
            (&["[2001:db9::7]"], "2001:db9::7"),
            (&["203.0.113.9, 2001:db8::1"], "203.0.113.9"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
            // What cannot be read is not skipped.
            (&["203.0.113.9, unknown"], "10.0.0.1"),
            (&["203.0.113.9,"], "10.0.0.1"),
            (&["203.0.113.9, \u{665}"], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(peer(ours, "10.0.0.1", forwarded), expected, "{forwarded:?}");
        }
        assert_eq!(peer(ours, "::ffff:10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        let long = ["10.0.0.1"; 10_000].join(",");
        assert_eq!(peer(ours, "10.0.0.1", &[&format!("203.0.113.9,{long}")]), "10.0.0.1", "a list without an end");
    }

    #[test]
    fn a_network_is_what_its_first_bits_say() {
        for (network, inside, outside) in [
            ("192.0.2.128/25", "192.0.2.200", "192.0.2.100"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1/32", "192.0.2.1", "192.0.2.0"),
            ("128.0.0.0/1", "255.0.0.1", "127.0.0.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
        ] {
            assert_eq!(peer(&[network], inside, &["203.0.113.9"]), "203.0.113.9", "{network}");
            assert_eq!(peer(&[network], outside, &["203.0.113.9"]), outside, "{network}");
        }
        for wrong in
            ["", "proxy", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0/8", "::/129", "0.0.0.0/0", "::/0"]
        {
            let fault = Proxies::read(&[wrong.to_owned()]).expect_err(wrong);
            assert_eq!(fault.code(), Code::ConfigInvalid, "{wrong}");
        }
    }
}
