//! Where an access token may travel.

use reqwest::Url;

/// Domains that the platform's links lead to; a host may be one of them or below one.
pub const META_HOSTS: [&str; 5] = [
    "facebook.com",
    "fbcdn.net",
    "fbsbx.com",
    "whatsapp.com",
    "whatsapp.net",
];

/// The hosts that links may lead to: those of a list by https, and that of the Graph API as it is
/// configured.
#[derive(Debug, Clone)]
pub struct Hosts {
    graph: Option<Url>,
    domains: Vec<String>,
}

impl Hosts {
    /// Takes the Graph API's base URL, and domains.
    pub fn new<D: Into<String>>(graph_url: &str, domains: impl IntoIterator<Item = D>) -> Self {
        Self {
            graph: Url::parse(graph_url).ok(),
            domains: domains.into_iter().map(Into::into).collect(),
        }
    }

    /// Returns whether a link may be followed.
    pub fn allow(&self, url: &Url) -> bool {
        if self.graph.as_ref().is_some_and(|graph| {
            graph.scheme() == url.scheme()
                && graph.host() == url.host()
                && graph.port_or_known_default() == url.port_or_known_default()
        }) {
            return true;
        }
        // A name and a password before the host belong to no link of the platform's.
        let is_plain = url.username().is_empty() && url.password().is_none();
        is_plain
            && url.scheme() == "https"
            && url.port().is_none()
            && url.domain().is_some_and(|host| {
                self.domains.iter().any(|domain| {
                    host.strip_suffix(domain.as_str())
                        .is_some_and(|before| before.is_empty() || before.ends_with('.'))
                })
            })
    }
}
