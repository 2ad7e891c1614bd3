//! However the same updates are posted, the same facts and the same final states come of them.
//!
//! No expectation is written down here but this one: what a transformation of the posts must not
//! change is compared with what the posts as they are amount to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::corpus::{self, POISON};
use crate::stage::{ONE, Stage, TWO};

/// Fields whose values hold updates in arrays; of others the whole value is one update.
const ARRAYS: &[&str] = &[
    "calls",
    "group_lifecycle_update",
    "group_participants_update",
    "group_settings_update",
    "group_status_update",
    "history",
    "message_echoes",
    "messages",
    "smb_app_state_sync",
    "smb_message_echoes",
    "standby",
    "user_id_update",
    "user_preferences",
];

/// Orders that are tried: enough to differ, few enough to wait for.
const SEEDS: [u64; 2] = [0x5eed_0001, 0x5eed_0002];

/// One update with all that belongs to it.
#[derive(Debug, Clone)]
struct Update {
    /// Sender and time of its entry.
    entry: Map<String, Value>,
    field: Value,
    /// The value without its arrays, but with its contacts.
    shell: Map<String, Value>,
    /// The array it stood in, and inside of which object; `None` if it is the whole value.
    array: Option<(String, Option<&'static str>)>,
    content: Value,
}

impl Update {
    /// Returns the update as a change of its entry.
    fn change(&self) -> Value {
        let value = match &self.array {
            None => self.content.clone(),
            Some((name, inside)) => {
                let mut value = Value::Object(self.shell.clone());
                let holder = match inside {
                    None => &mut value,
                    Some(inside) => &mut value[*inside],
                };
                holder[name] = json!([self.content]);
                value
            }
        };
        json!({"field": self.field, "value": value})
    }

    fn post(&self) -> Value {
        post_of(vec![(self.entry.clone(), vec![self.change()])])
    }

    /// Returns the same update as it would be for the other number, if it is for one at all.
    fn elsewhere(&self) -> Option<Self> {
        let text = serde_json::to_string(&(&self.shell, &self.content)).unwrap();
        if self.array.is_none() || !text.contains(&format!("\"{}\"", ONE.1)) {
            return None;
        }
        let text = text
            .replace(ONE.0, TWO.0)
            .replace(&format!("\"{}\"", ONE.1), &format!("\"{}\"", TWO.1));
        let (shell, content) = serde_json::from_str(&text).unwrap();
        Some(Self {
            shell,
            content,
            ..self.clone()
        })
    }
}

fn post_of(entries: Vec<(Map<String, Value>, Vec<Value>)>) -> Value {
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|(entry, changes)| {
            let mut entry = Value::Object(entry);
            entry["changes"] = Value::Array(changes);
            entry
        })
        .collect();
    json!({"object": "whatsapp_business_account", "entry": entries})
}

/// Takes posts apart into updates.
fn updates(posts: &[Value]) -> Vec<Update> {
    let mut updates = Vec::new();
    for post in posts {
        for entry in post["entry"].as_array().unwrap() {
            let mut head = entry.as_object().unwrap().clone();
            let changes = head.remove("changes").unwrap_or_default();
            for change in changes.as_array().into_iter().flatten() {
                updates.extend(of_change(&head, change));
            }
        }
    }
    updates
}

fn of_change(entry: &Map<String, Value>, change: &Value) -> Vec<Update> {
    let (field, value) = (&change["field"], &change["value"]);
    let whole = Update {
        entry: entry.clone(),
        field: field.clone(),
        shell: Map::new(),
        array: None,
        content: value.clone(),
    };
    if !ARRAYS.contains(&field.as_str().unwrap_or_default()) {
        return vec![whole];
    }
    let inside = value["standby"].is_object().then_some("standby");
    let holder = inside.map_or(value, |inside| &value[inside]);
    let is_update = |(name, value): &(&String, &Value)| value.is_array() && *name != "contacts";
    let mut shell = value.as_object().unwrap().clone();
    match inside {
        None => shell.retain(|name, value| !is_update(&(name, value))),
        Some(inside) => {
            let inner = shell[inside].as_object_mut().unwrap();
            inner.retain(|name, value| !is_update(&(name, value)));
        }
    }
    let arrays = holder.as_object().unwrap().iter().filter(is_update);
    arrays
        .flat_map(|(name, elements)| {
            let elements = elements.as_array().unwrap().iter();
            elements.map(|content| Update {
                shell: shell.clone(),
                array: Some((name.clone(), inside)),
                content: content.clone(),
                ..whole.clone()
            })
        })
        .collect()
}

/// Puts all updates into one post; those that stood in values of one number with the same
/// contacts share a value.
fn merged(updates: &[Update]) -> Value {
    let mut entries: Vec<(Map<String, Value>, Vec<Value>)> = Vec::new();
    let mut places: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for update in updates {
        let entry_key = Value::Object(update.entry.clone()).to_string();
        let entry = entries.iter().position(|(head, _)| *head == update.entry);
        let entry = entry.unwrap_or_else(|| {
            entries.push((update.entry.clone(), Vec::new()));
            entries.len() - 1
        });
        let shell = Value::Object(update.shell.clone());
        let key = format!("{entry_key} {} {shell}", update.field);
        if let (Some((name, inside)), Some(&(entry, change))) = (&update.array, places.get(&key)) {
            let value = &mut entries[entry].1[change]["value"];
            let holder = match inside {
                None => value,
                Some(inside) => &mut value[*inside],
            };
            match holder[name].as_array_mut() {
                Some(elements) => elements.push(update.content.clone()),
                None => holder[name] = json!([update.content]),
            }
        } else {
            entries[entry].1.push(update.change());
            if update.array.is_some() {
                places.insert(key, (entry, entries[entry].1.len() - 1));
            }
        }
    }
    post_of(entries)
}

/// A generator that is the same on every machine (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let limit = u64::try_from(limit).unwrap();
        usize::try_from(self.0 % limit).unwrap()
    }

    fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}

/// What a run amounts to.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    facts: BTreeMap<String, (String, String, Value)>,
    states: BTreeSet<String>,
    dead: usize,
}

impl Outcome {
    /// Returns what of it is not about the other number.
    fn without(&self, number: &str) -> Self {
        let mut rest = self.clone();
        rest.facts.retain(|_, (place, _, payload)| {
            !place.ends_with(number) && payload["number"] != number
        });
        rest.states.retain(|state| !state.starts_with(number));
        rest
    }

    fn assert_same(&self, other: &Self) {
        for (id, fact) in &self.facts {
            assert_eq!(other.facts.get(id), Some(fact), "{id}");
        }
        for (id, fact) in &other.facts {
            assert!(self.facts.contains_key(id), "nobody posted {fact:?}");
        }
        assert_eq!(self.states, other.states);
        assert_eq!(self.dead, other.dead);
    }
}

async fn outcome(posts: &[Value]) -> Outcome {
    let stage = Stage::start().await;
    for post in posts {
        assert_eq!(stage.post(post).await, 200);
    }
    stage.settled().await;
    let told = corpus::told(&stage).await;
    let dead: BTreeSet<&str> = told
        .iter()
        .filter(|one| one.event_type == "DeadLetter")
        .map(|one| one.id.as_str())
        .collect();
    Outcome {
        facts: corpus::facts(&told),
        states: corpus::states(&stage).await,
        dead: dead.len(),
    }
}

/// Posts as they are; then what they amount to, with nothing unreadable among them.
async fn as_they_are() -> (Vec<Update>, Outcome) {
    let posts = corpus::well();
    let outcome = outcome(&posts).await;
    assert_eq!(outcome.dead, 0);
    (updates(&posts), outcome)
}

#[tokio::test]
async fn each_update_posted_alone_leaves_the_same_facts_and_states() {
    let (updates, expected) = as_they_are().await;
    let split: Vec<Value> = updates.iter().map(Update::post).collect();
    assert!(split.len() > corpus::well().len());
    outcome(&split).await.assert_same(&expected);
}

#[tokio::test]
async fn all_updates_in_one_post_leave_the_same_facts_and_states() {
    let (updates, expected) = as_they_are().await;
    outcome(&[merged(&updates)]).await.assert_same(&expected);
}

#[tokio::test]
async fn updates_in_any_order_leave_the_same_facts_and_states() {
    let (updates, expected) = as_they_are().await;
    for seed in SEEDS {
        let mut posts: Vec<Value> = updates.iter().map(Update::post).collect();
        Dice(seed).shuffle(&mut posts);
        outcome(&posts).await.assert_same(&expected);
    }
}

#[tokio::test]
async fn repeated_updates_leave_the_same_facts_and_states() {
    let (updates, expected) = as_they_are().await;
    // Whole batches again, and single updates out of them, in any order.
    let mut posts: Vec<Value> = updates.iter().map(Update::post).collect();
    posts.extend(corpus::well());
    Dice(SEEDS[0]).shuffle(&mut posts);
    posts.push(merged(&updates));
    outcome(&posts).await.assert_same(&expected);
}

#[tokio::test]
async fn another_numbers_updates_between_change_nothing() {
    let (updates, expected) = as_they_are().await;
    let others: Vec<Update> = updates.iter().filter_map(Update::elsewhere).collect();
    assert!(others.len() > updates.len() / 2);
    let mut both = [updates, others].concat();
    Dice(SEEDS[1]).shuffle(&mut both);
    // Some share a post with the other's, most stand alone.
    let (together, alone) = both.split_at(both.len() / 4);
    let mut posts = vec![merged(together)];
    posts.extend(alone.iter().map(Update::post));
    let outcome = outcome(&posts).await;
    let theirs = |outcome: &Outcome| outcome.facts.len() - outcome.without(TWO.0).facts.len();
    assert!(theirs(&outcome) > expected.facts.len() / 2);
    outcome.without(TWO.0).assert_same(&expected.without(TWO.0));
}

#[tokio::test]
async fn one_poisoned_item_is_one_dead_letter_and_changes_nothing_else() {
    let (updates, expected) = as_they_are().await;
    let poisoned = &corpus::payloads()[POISON];
    for (seed, name) in SEEDS
        .into_iter()
        .zip(["message_without_id", "call_without_event"])
    {
        let poison = self::updates(&[poisoned[name].clone()]).remove(0);
        let mut all = updates.clone();
        all.insert(Dice(seed).below(all.len()), poison);
        let expected = Outcome {
            dead: 1,
            ..expected.clone()
        };
        outcome(&[merged(&all)]).await.assert_same(&expected);
    }
}
