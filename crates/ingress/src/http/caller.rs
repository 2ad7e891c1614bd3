//! Who is calling: the address, and the names that a client certificate proves.
//!
//! Both come from the connection. Where a proxy ends TLS they come from headers, which are
//! believed from the proxies' addresses and from nowhere else. Whether a name is the right one is
//! decided elsewhere.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, Request};
use casement_shell::server::Peer;
use ipnet::IpNet;

/// How much of an IPv6 address belongs to its network; the rest is the host's to choose.
const IPV6_NETWORK: u32 = 64;

/// Whose word is taken for who calls.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// Proxies in front of us.
    pub(crate) proxies: Vec<IpNet>,
    /// Where they put the subject of a certificate that they have verified.
    pub(crate) client_header: Option<HeaderName>,
    /// Where they put whom they took the request from.
    pub(crate) address_header: Option<HeaderName>,
}

/// Who is calling, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Where refusals are counted; an IPv6 address stands for its network.
    pub(crate) address: Option<IpAddr>,
    names: Arc<[String]>,
}

impl Caller {
    /// Returns whether a verified certificate gives the caller this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.names
            .iter()
            .any(|proven| proven.eq_ignore_ascii_case(name))
    }
}

impl Trust {
    /// Returns who calls.
    pub(crate) fn caller<B>(&self, request: &Request<B>) -> Caller {
        let Some(peer) = request.extensions().get::<Peer>() else {
            return Caller {
                address: None,
                names: Arc::default(),
            };
        };
        let address = peer.address.ip().to_canonical();
        if !self.trusts(address) {
            return Caller {
                address: Some(network(address)),
                names: peer.certificate.clone().unwrap_or_default(),
            };
        }
        let headers = request.headers();
        let subject = self
            .client_header
            .as_ref()
            .and_then(|name| only(headers, name));
        Caller {
            address: self
                .address_header
                .as_ref()
                .and_then(|name| self.forwarded_for(headers, name))
                .map(network),
            names: subject.and_then(common_name).into_iter().collect(),
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.contains(&address))
    }

    /// The last address that is no proxy of ours: what stands before it, anybody may have written.
    fn forwarded_for(&self, headers: &HeaderMap, name: &HeaderName) -> Option<IpAddr> {
        let mut all = Vec::new();
        for value in headers.get_all(name) {
            all.extend(value.to_str().ok()?.split(','));
        }
        for text in all.into_iter().rev() {
            let address = text.trim().parse::<IpAddr>().ok()?.to_canonical();
            if !self.trusts(address) {
                return Some(address);
            }
        }
        None
    }
}

/// Returns a header's value if it stands there once: of two, one may be the caller's own.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let mask = u128::MAX << (u128::BITS - IPV6_NETWORK);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

/// Returns the common name of a subject as proxies write it: a distinguished name (RFC 4514, as in
/// `CN=client.example,O=Example`), or the name alone. One with several common names, with quotes,
/// or with an escape inside of the name has none: it might be read in two ways.
fn common_name(subject: &str) -> Option<String> {
    if !subject.contains('=') {
        return is_plain(subject).then(|| subject.to_owned());
    }
    if subject.contains('"') {
        return None;
    }
    let mut found = None;
    for part in parts(subject)? {
        let (key, value) = part.split_once('=')?;
        if key.trim().eq_ignore_ascii_case("CN") {
            let value = value.trim();
            if found.is_some() || !is_plain(value) {
                return None;
            }
            found = Some(value.to_owned());
        }
    }
    found
}

fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.* ".contains(&byte);
    !name.is_empty() && name.bytes().all(is_plain)
}

/// Splits a distinguished name at what is not escaped.
fn parts(subject: &str) -> Option<Vec<Cow<'_, str>>> {
    let mut parts = Vec::new();
    let (mut begin, mut is_escaped) = (0, false);
    for (at, byte) in subject.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b',' | b'+' | b';' => {
                parts.push(Cow::Borrowed(subject.get(begin..at)?));
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(Cow::Borrowed(subject.get(begin..)?));
    Some(parts)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn trust() -> Trust {
        Trust {
            proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            client_header: Some(HeaderName::from_static("x-client")),
            address_header: Some(HeaderName::from_static("x-forwarded-for")),
        }
    }

    fn from(peer: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::new(());
        let address: IpAddr = peer.parse().unwrap();
        request.extensions_mut().insert(Peer {
            address: SocketAddr::from((address, 4711)),
            certificate: Some(Arc::from(["own.example".to_owned()])),
        });
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn headers_are_believed_from_a_proxy_and_from_nobody_else() {
        let headers = [
            ("x-client", "CN=meta.example"),
            ("x-forwarded-for", "203.0.113.9"),
        ];
        let caller = trust().caller(&from("10.1.2.3", &headers));
        assert_eq!(caller.address, "203.0.113.9".parse().ok());
        assert!(caller.is("meta.example") && !caller.is("own.example"));

        let caller = trust().caller(&from("198.51.100.7", &headers));
        assert_eq!(caller.address, "198.51.100.7".parse().ok());
        assert!(caller.is("OWN.example") && !caller.is("meta.example"));
    }

    #[test]
    fn a_proxy_that_names_nobody_leaves_the_caller_unknown() {
        let caller = trust().caller(&from("::ffff:10.1.2.3", &[]));
        assert_eq!(caller.address, None);
        assert!(!caller.is("own.example"), "that is the proxy's");
        let twice = [("x-client", "CN=a.example"), ("x-client", "CN=b.example")];
        let caller = trust().caller(&from("10.1.2.3", &twice));
        assert!(!caller.is("a.example") && !caller.is("b.example"));
        let nowhere = trust().caller(&Request::new(()));
        assert_eq!(nowhere.address, None);
    }

    #[test]
    fn the_address_is_the_last_that_is_no_proxy() {
        for (header, expected) in [
            ("203.0.113.9", Some("203.0.113.9")),
            ("1.1.1.1, 203.0.113.9", Some("203.0.113.9")),
            ("203.0.113.9, 10.9.9.9", Some("203.0.113.9")),
            ("junk, 203.0.113.9", Some("203.0.113.9")),
            ("203.0.113.9, junk", None),
            ("10.9.9.9", None),
            ("", None),
        ] {
            let caller = trust().caller(&from("10.1.2.3", &[("x-forwarded-for", header)]));
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(caller.address, expected, "{header}");
        }
    }

    #[test]
    fn the_hosts_of_an_ipv6_network_count_as_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn a_subject_has_one_common_name_or_none() {
        for (subject, expected) in [
            ("client.example", Some("client.example")),
            ("CN=client.example", Some("client.example")),
            (
                "cn = client.example , O=Example, C=US",
                Some("client.example"),
            ),
            ("O=Example\\, Inc,CN=client.example", Some("client.example")),
            ("C=US+CN=client.example", Some("client.example")),
            ("O=Example", None),
            ("CN=a.example,CN=b.example", None),
            // A company that calls itself so.
            (
                "CN=evil.example,O=x\\,CN=client.example",
                Some("evil.example"),
            ),
            ("O=\"x,CN=client.example\"", None),
            ("CN=client\\2eexample", None),
            ("/O=x/CN=client.example", None),
            ("CN=", None),
            ("", None),
            ("a,b", None),
        ] {
            assert_eq!(common_name(subject).as_deref(), expected, "{subject}");
        }
    }
}
