//! Laws of the walk, on generated posts.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::{Item, ItemKind, parse};

/// Fields, and the names of the arrays they are known for.
const FIELDS: &[(&str, &[&str])] = &[
    ("messages", &["messages", "statuses", "errors"]),
    ("calls", &["calls", "statuses", "errors"]),
    ("smb_message_echoes", &["message_echoes", "errors"]),
    ("history", &["history", "messages", "errors"]),
    ("user_id_update", &["user_id_update", "errors"]),
    ("user_preferences", &["user_preferences", "errors"]),
    (
        "standby",
        &["messages", "statuses", "message_echoes", "errors"],
    ),
];

/// Keys that the parser looks at, so that generated objects often hit them.
const KEYS: &[&str] = &[
    "id",
    "timestamp",
    "type",
    "from",
    "text",
    "status",
    "event",
    "direction",
    "value",
    "category",
    "user_id",
    "contacts",
    "messages",
    "statuses",
    "errors",
    "standby",
    "metadata",
    "changes",
    "field",
    "entry",
    "interactive",
    "edit",
    "message",
    "system",
    "profile",
    "wa_id",
    "pricing",
    "conversation",
    "recipient_id",
    "recipient_type",
    "phone_number_id",
    "start_time",
    "history",
    "threads",
    "context",
    "code",
    "error_data",
];

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (1_700_000_000_i64..1_800_000_000).prop_map(|time| json!(time.to_string())),
        select(vec![
            "text",
            "edit",
            "system",
            "group",
            "sent",
            "connect",
            "4915550001",
            "DE.x1"
        ])
        .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((select(KEYS), inner), 0..8).prop_map(|fields| {
                Value::Object(
                    fields
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

/// One value with some of its field's arrays, full of good, bad and strange elements.
fn known_change() -> impl Strategy<Value = (Value, usize)> {
    let element = prop_oneof![
        any_json(),
        ("[a-z]{1,8}", "[a-z]{1,6}", option::of("4[0-9]{9}")).prop_map(|(id, kind, from)| json!({
            "id": id, "timestamp": "1790000000", "type": kind, "status": kind, "event": kind,
            "from": from, "recipient_id": from, "text": {"body": kind},
        })),
    ];
    let arrays = vec(vec(element, 0..4), 1..4);
    (select(FIELDS), arrays, vec(any_json(), 0..3)).prop_map(
        |((field, names), arrays, contacts)| {
            let mut holder = Map::new();
            let mut count = 0;
            for (name, elements) in names.iter().zip(arrays) {
                count += elements.len();
                holder.insert((*name).to_owned(), Value::from(elements));
            }
            holder.insert("contacts".to_owned(), Value::from(contacts));
            let mut value = json!({"metadata": {"phone_number_id": "7001"}});
            if field == "standby" {
                value["standby"] = Value::Object(holder);
            } else {
                value.as_object_mut().expect("an object").extend(holder);
            }
            (json!({"field": field, "value": value}), count)
        },
    )
}

fn known_post() -> impl Strategy<Value = (Value, usize)> {
    vec(vec(known_change(), 0..4), 0..4).prop_map(|entries| {
        let count = entries.iter().flatten().map(|(_, count)| count).sum();
        let entries: Vec<Value> = entries
            .into_iter()
            .enumerate()
            .map(|(index, changes)| {
                let changes: Vec<Value> = changes.into_iter().map(|(change, _)| change).collect();
                json!({"id": index.to_string(), "time": 1_790_000_000, "changes": changes})
            })
            .collect();
        (
            json!({"object": "whatsapp_business_account", "entry": entries}),
            count,
        )
    })
}

fn items(body: &Value) -> Vec<Item> {
    parse(body.to_string().as_bytes()).expect("a post").items
}

/// Keeps of a post one item: all else of its value, but of the arrays only the one element.
fn post_of(body: &Value, item: &Item) -> Value {
    let (entry, change) = (item.origin.entry_index, item.origin.change_index);
    let (_, inside) = item.origin.path.split_once(".value.").expect("an element");
    let name = inside
        .rsplit('.')
        .next()
        .and_then(|it| it.split('[').next())
        .expect("an array");
    let mut change = body["entry"][entry]["changes"][change].clone();
    let holder = if inside.starts_with("standby.") {
        &mut change["value"]["standby"]
    } else {
        &mut change["value"]
    };
    let holder = holder.as_object_mut().expect("an object");
    holder.retain(|key, value| key == name || key == "contacts" || !value.is_array());
    holder.insert(name.to_owned(), json!([item.raw]));
    json!({"entry": [{"id": body["entry"][entry]["id"], "time": body["entry"][entry]["time"], "changes": [change]}]})
}

proptest! {
    #[test]
    fn no_bytes_and_no_json_make_it_panic(
        bytes in vec(any::<u8>(), 0..200),
        json in any_json(),
        entries in vec(any_json(), 0..4),
        value in any_json(),
        (field, _) in select(FIELDS),
    ) {
        let _ = parse(&bytes);
        let _ = parse(json.to_string().as_bytes());
        let _ = parse(json!({"entry": entries}).to_string().as_bytes());
        let body = json!({"entry": [{"changes": [{"field": field, "value": value}]}]});
        prop_assert!(parse(body.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn there_are_as_many_items_as_elements((body, count) in known_post()) {
        prop_assert_eq!(items(&body).len(), count);
    }

    #[test]
    fn every_item_keeps_its_own_json_and_says_where_it_stood((body, _) in known_post()) {
        for item in items(&body) {
            let pointer = format!("/{}", item.origin.path.replace('[', "/").replace(']', "").replace('.', "/"));
            prop_assert_eq!(body.pointer(&pointer), Some(&item.raw));
            prop_assert!(!matches!(item.kind, ItemKind::Unrecognized));
        }
    }

    #[test]
    fn an_item_posted_alone_is_the_same_item((body, _) in known_post()) {
        for item in items(&body) {
            let alone = items(&post_of(&body, &item));
            prop_assert_eq!(alone.len(), 1);
            prop_assert_eq!(&alone[0].kind, &item.kind);
            prop_assert_eq!(&alone[0].raw, &item.raw);
            prop_assert_eq!(&alone[0].phone_number_id, &item.phone_number_id);
            prop_assert_eq!(&alone[0].origin.entry_id, &item.origin.entry_id);
        }
    }
}
