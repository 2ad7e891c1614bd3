//! Which items of a post wait for one another.
//!
//! A customer's messages come in their order, and so do the reports about one message; what has
//! nothing to do with each other is put on the log together, where it shares a write. Pure: who a
//! customer is, is found elsewhere. Two who share an identifier are taken for one.

use std::collections::HashMap;

use casement_domain::customer::{self, Identifier};
use casement_whatsapp::webhook::{Item, ItemKind, MessageKind};

use crate::draft::addresses;

/// What an item has in common with others that must not overtake it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Customer(Identifier),
    Report(String),
}

/// Returns the items of a post, by their indices, as lanes: one after the other within a lane, in
/// the order of the post, and at once beside the others.
///
/// With an item about anything but plain messages and reports, such as a changed number, all are
/// one lane: it may concern the others.
pub(crate) fn lanes(items: &[Item]) -> Vec<Vec<usize>> {
    let mut lanes: Vec<Vec<usize>> = Vec::new();
    let mut lane_of: HashMap<Name, usize> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let Some(names) = names(item) else {
            return vec![(0..items.len()).collect()];
        };
        let mut met: Vec<usize> = names
            .iter()
            .filter_map(|name| lane_of.get(name).copied())
            .collect();
        met.sort_unstable();
        met.dedup();
        let lane = met.first().copied().unwrap_or_else(|| {
            lanes.push(Vec::new());
            lanes.len() - 1
        });
        for other in met.into_iter().skip(1) {
            let moved = std::mem::take(&mut lanes[other]);
            lanes[lane].extend(moved);
            for known in lane_of.values_mut().filter(|known| **known == other) {
                *known = lane;
            }
        }
        lanes[lane].push(index);
        lane_of.extend(names.into_iter().map(|name| (name, lane)));
    }
    lanes.retain(|lane| !lane.is_empty());
    for lane in &mut lanes {
        lane.sort_unstable();
    }
    lanes
}

/// Returns what an item is about; `None` if it may be about more than it names.
fn names(item: &Item) -> Option<Vec<Name>> {
    match &item.kind {
        ItemKind::Message(message) => {
            let is_plain =
                !matches!(message.kind, MessageKind::System) && message.group_id.is_none();
            let addresses = addresses(
                message.from_phone.as_deref(),
                message.user_id.as_deref(),
                message.parent_user_id.as_deref(),
            );
            let identifiers = customer::identifiers(&addresses);
            let is_named = is_plain && !identifiers.is_empty();
            is_named.then(|| identifiers.into_iter().map(Name::Customer).collect())
        }
        ItemKind::Status(report) => Some(vec![Name::Report(report.wamid.clone())]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use casement_whatsapp::webhook;
    use serde_json::{Value, json};

    use super::*;

    fn message(id: &str, phone: &str, user_id: &str) -> Value {
        let mut message = json!({"id": id, "timestamp": "1790000000", "type": "text",
            "text": {"body": "x"}});
        if !phone.is_empty() {
            message["from"] = json!(phone);
        }
        if !user_id.is_empty() {
            message["from_user_id"] = json!(user_id);
        }
        message
    }

    fn items(messages: &[Value], statuses: &[Value]) -> Vec<Item> {
        let value = json!({"messaging_product": "whatsapp",
            "metadata": {"phone_number_id": "7", "display_phone_number": "15550001111"},
            "messages": messages, "statuses": statuses});
        let post = json!({"entry": [{"id": "1",
            "changes": [{"field": "messages", "value": value}]}]});
        webhook::parse(post.to_string().as_bytes()).unwrap().items
    }

    fn ids(items: &[Item]) -> Vec<Vec<String>> {
        let id = |index: usize| items[index].raw["id"].as_str().unwrap().to_owned();
        let ids = |lane: Vec<usize>| lane.into_iter().map(id).collect();
        lanes(items).into_iter().map(ids).collect()
    }

    #[test]
    fn a_customers_messages_keep_their_order_and_others_do_not_wait() {
        let items = items(
            &[
                message("a1", "15550009999", ""),
                message("b1", "", "US.2"),
                message("a2", "15550009999", ""),
                message("b2", "", "US.2"),
            ],
            &[],
        );
        assert_eq!(ids(&items), [["a1", "a2"], ["b1", "b2"]]);
    }

    #[test]
    fn two_who_prove_to_share_an_identifier_are_one_lane_in_the_order_of_the_post() {
        let items = items(
            &[
                message("1", "15550009999", ""),
                message("2", "", "US.1"),
                message("3", "15550008888", ""),
                message("4", "15550009999", "US.1"),
                // Brazil's two spellings of one phone.
                message("5", "5511987654321", ""),
                message("6", "551187654321", ""),
            ],
            &[],
        );
        assert_eq!(
            ids(&items),
            [vec!["1", "2", "4"], vec!["3"], vec!["5", "6"]]
        );
    }

    #[test]
    fn reports_about_one_message_keep_their_order() {
        let status = |id: &str, status: &str| {
            json!({"id": id, "status": status, "timestamp": "1790000000",
                "recipient_id": "15550009999"})
        };
        let items = items(
            &[message("1", "15550009999", "")],
            &[
                status("w", "sent"),
                status("v", "sent"),
                status("w", "read"),
            ],
        );
        assert_eq!(ids(&items), [vec!["1"], vec!["w", "w"], vec!["v"]]);
    }

    #[test]
    fn beside_a_changed_number_or_a_nameless_item_all_wait_for_one_another() {
        let plain = message("1", "15550009999", "");
        let changed = json!({"id": "2", "timestamp": "1790000000", "type": "system",
            "from": "15550008888", "system": {"type": "user_changed_number", "wa_id": "15550007777"}});
        for other in [changed, message("3", "", "")] {
            let items = items(&[plain.clone(), other, message("4", "", "US.4")], &[]);
            assert_eq!(lanes(&items), [[0, 1, 2]]);
        }
    }
}
