//! Whether the broker is as many servers as copies of each stream are asked for.
//!
//! It only compares. That copies are made where streams have fewer is for an operator to say, with
//! [`crate::snapshot::Snapshots::replicate`].

use serde_json::Value;

/// The fewest servers of which one may be away.
const SERVERS_MIN: u64 = 3;

/// Returns what does not fit: `name` is the cluster's, if the broker says that it is in one, and
/// `size` how many servers it counts, if it was asked.
pub(crate) fn mismatch(name: Option<&str>, size: Option<u64>, replicas: usize) -> Option<String> {
    let copies = replicas as u64;
    match (name.filter(|name| !name.is_empty()), size) {
        (None, _) if copies > 1 => Some(format!(
            "log.replicas is {copies}, but it is one server alone: set log.replicas to 1, or start \
             {copies} servers with a `cluster` block each (deploy/nats/cluster.conf)"
        )),
        (Some(name), Some(size)) if copies > size => Some(format!(
            "log.replicas is {copies}, but its cluster {name} counts {size} servers: start the \
             others, each with a server_name of its own and routes to all"
        )),
        (Some(name), Some(size)) if copies == 1 && size >= SERVERS_MIN => Some(format!(
            "log.replicas is 1, but its cluster {name} counts {size} servers, and each stream would \
             stand on one of them, and be away with it: set log.replicas to 3, and have streams \
             that are there already copied by `casement broker replicate`"
        )),
        _ => None,
    }
}

/// Returns how many servers of the cluster keep streams, as one's monitoring address tells.
pub(crate) fn size(varz: &Value) -> Option<u64> {
    varz["jetstream"]["meta"]["cluster_size"].as_u64()
}

/// Returns each of several monitoring addresses.
pub(crate) fn addresses(monitoring: &str) -> impl Iterator<Item = &str> {
    let all = monitoring.split(',').map(str::trim);
    all.filter(|address| !address.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_servers_must_fit_and_the_answer_says_what_to_change() {
        let table = [
            (None, None, 1, ""),
            (Some(""), None, 1, ""),
            (Some("c"), None, 3, ""),
            (Some("c"), None, 1, ""),
            (Some("c"), Some(3), 3, ""),
            (Some("c"), Some(5), 3, ""),
            (None, None, 3, "set log.replicas to 1"),
            (Some("c"), Some(2), 3, "start the others"),
            (Some("c"), Some(3), 5, "start the others"),
            (Some("c"), Some(3), 1, "set log.replicas to 3"),
        ];
        for (name, size, replicas, expected) in table {
            let found = mismatch(name, size, replicas);
            let is_so = match &found {
                None => expected.is_empty(),
                Some(found) => !expected.is_empty() && found.contains(expected),
            };
            assert!(is_so, "{name:?} {size:?} {replicas}: {found:?}");
        }
    }

    #[test]
    fn several_monitoring_addresses_are_told_apart() {
        let all: Vec<_> = addresses("a:8222, b:8222,").collect();
        assert_eq!(all, ["a:8222", "b:8222"]);
    }
}
