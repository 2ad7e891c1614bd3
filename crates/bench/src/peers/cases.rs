//! Posts as Meta may send them: with one update, with many in each place where there may be many,
//! twice, and with a signature of somebody else.
//!
//! WhatsApp Cloud API: up to 1,000 updates are sent in one post, in several entries, changes and
//! items, and whatever is not answered 200 comes again.

use std::net::SocketAddr;

use casement_whatsapp::signature;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::posts::{NUMBER, SECRET};

/// An update: `message`, or `status` and which; and the platform's id of the message.
pub(super) type Update = (String, String);

/// A way to post updates.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) posts: Vec<Post>,
    /// What is to arrive, each once.
    pub(super) expected: Vec<Update>,
    /// What the ids of all its messages begin with.
    prefix: String,
}

impl Case {
    /// Whether an update is one of this case's posts.
    pub(super) fn is_of(&self, update: &Update) -> bool {
        update.1.starts_with(&self.prefix)
    }
}

/// A post.
#[derive(Debug, Clone)]
pub(super) struct Post {
    body: String,
    secret: &'static str,
}

impl Post {
    fn new(entries: &[Value]) -> Self {
        let body = json!({"object": "whatsapp_business_account", "entry": entries});
        Self {
            body: body.to_string(),
            secret: SECRET,
        }
    }

    /// Returns it as a request over HTTP.
    pub(super) fn request(&self, address: SocketAddr) -> Vec<u8> {
        let body = &self.body;
        let signature = signature::sign(body.as_bytes(), &SecretString::from(self.secret));
        let head = format!(
            "POST /webhooks/whatsapp HTTP/1.1\r\nhost: {address}\r\nuser-agent: facebookexternalua\r\n\
             accept: */*\r\ncontent-type: application/json\r\n{}: {signature}\r\n\
             content-length: {}\r\n\r\n",
            signature::HEADER,
            body.len()
        );
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

/// Makes the posts of a case, and notes what is in them.
struct Maker {
    case: usize,
    next: usize,
    at: Timestamp,
    expected: Vec<Update>,
}

impl Maker {
    fn new(case: usize, at: Timestamp) -> Self {
        Self {
            case,
            next: 0,
            at,
            expected: Vec::new(),
        }
    }

    fn prefix(&self) -> String {
        format!("wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQz{:02}", self.case)
    }

    fn id(&mut self) -> String {
        self.next += 1;
        format!("{}{:07}", self.prefix(), self.next)
    }

    /// The one customer of the case.
    fn customer(&self) -> Customer {
        Customer::new(self.case, 0)
    }

    fn message(&mut self) -> Value {
        let customer = self.customer();
        self.message_of(&customer)
    }

    fn message_of(&mut self, customer: &Customer) -> Value {
        let id = self.id();
        self.expected.push(("message".to_owned(), id.clone()));
        json!({
            "from": customer.phone,
            "from_user_id": customer.user_id,
            "id": id,
            "timestamp": self.at.as_second().to_string(),
            "type": "text",
            "text": {"body": "Hi, is the blue one still there in size 42? I would come by on Friday."},
        })
    }

    fn status(&mut self) -> Value {
        let (id, customer) = (self.id(), self.customer());
        self.expected
            .push(("status delivered".to_owned(), id.clone()));
        json!({
            "id": id,
            "status": "delivered",
            "timestamp": self.at.as_second().to_string(),
            "recipient_id": customer.phone,
            "recipient_user_id": customer.user_id,
        })
    }

    fn change(&self, name: &str, items: &[Value]) -> Value {
        self.customer().change(name, items)
    }

    fn case(self, name: &'static str, posts: Vec<Post>) -> Case {
        Case {
            name,
            posts,
            prefix: self.prefix(),
            expected: self.expected,
        }
    }
}

/// A customer, known by phone and by a user id of this business (WhatsApp Cloud API: webhooks carry
/// that one always).
struct Customer {
    phone: String,
    user_id: String,
}

impl Customer {
    fn new(case: usize, index: usize) -> Self {
        let digits = format!("{case:02}{index:05}");
        Self {
            phone: format!("1650{digits}"),
            user_id: format!("US.1349120865530{digits}"),
        }
    }

    fn change(&self, name: &str, items: &[Value]) -> Value {
        let (digits, id) = NUMBER;
        json!({"field": "messages", "value": {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": digits, "phone_number_id": id},
            "contacts": [{
                "profile": {"name": "Kerry Fisher"},
                "wa_id": self.phone,
                "user_id": self.user_id,
            }],
            name: items,
        }})
    }
}

fn entry(changes: &[Value]) -> Value {
    json!({"id": "102290129340398", "changes": changes})
}

/// All ways, the bad signature last.
pub(super) fn all(at: Timestamp) -> Vec<Case> {
    vec![
        singly(Maker::new(1, at)),
        messages(Maker::new(2, at)),
        changes(Maker::new(3, at)),
        entries(Maker::new(4, at)),
        statuses(Maker::new(5, at)),
        mixed(Maker::new(6, at)),
        hundred(Maker::new(7, at)),
        again(Maker::new(8, at)),
        elsewhere(Maker::new(9, at)),
        unsigned(Maker::new(10, at)),
    ]
}

fn singly(mut make: Maker) -> Case {
    let posts = (0..20)
        .map(|_| {
            let message = make.message();
            Post::new(&[entry(&[make.change("messages", &[message])])])
        })
        .collect();
    make.case("twenty posts with a message each", posts)
}

fn messages(mut make: Maker) -> Case {
    let items = [make.message(), make.message(), make.message()];
    let post = Post::new(&[entry(&[make.change("messages", &items)])]);
    make.case("three messages in a change", vec![post])
}

fn changes(mut make: Maker) -> Case {
    let (one, two) = (make.message(), make.message());
    let changes = [
        make.change("messages", &[one]),
        make.change("messages", &[two]),
    ];
    let post = Post::new(&[entry(&changes)]);
    make.case("two changes in an entry", vec![post])
}

fn entries(mut make: Maker) -> Case {
    let (one, two) = (make.message(), make.message());
    let entries = [
        entry(&[make.change("messages", &[one])]),
        entry(&[make.change("messages", &[two])]),
    ];
    let post = Post::new(&entries);
    make.case("two entries in a post", vec![post])
}

fn statuses(mut make: Maker) -> Case {
    let items = [make.status(), make.status(), make.status()];
    let post = Post::new(&[entry(&[make.change("statuses", &items)])]);
    make.case("three statuses in a change", vec![post])
}

fn mixed(mut make: Maker) -> Case {
    let messages = [make.message(), make.message()];
    let statuses = [make.status(), make.status()];
    let changes = [
        make.change("statuses", &statuses),
        make.change("messages", &messages),
    ];
    let post = Post::new(&[entry(&changes)]);
    make.case("two statuses and two messages in a post", vec![post])
}

fn hundred(mut make: Maker) -> Case {
    let changes: Vec<Value> = (0..100)
        .map(|_| {
            let message = make.message();
            make.change("messages", &[message])
        })
        .collect();
    let post = Post::new(&[entry(&changes)]);
    make.case("a hundred messages in a post", vec![post])
}

fn again(mut make: Maker) -> Case {
    let message = make.message();
    let post = Post::new(&[entry(&[make.change("messages", &[message])])]);
    make.case("the same post twice", vec![post.clone(), post])
}

fn elsewhere(mut make: Maker) -> Case {
    let (one, two) = (make.message(), make.message());
    let first = Post::new(&[entry(
        &[make.change("messages", std::slice::from_ref(&one))],
    )]);
    let both = Post::new(&[entry(&[make.change("messages", &[one, two])])]);
    make.case(
        "a message, and again in a post with another one",
        vec![first, both],
    )
}

fn unsigned(mut make: Maker) -> Case {
    let message = make.message();
    make.expected.clear();
    let post = Post {
        secret: "somebody-elses-secret",
        ..Post::new(&[entry(&[make.change("messages", &[message])])])
    };
    make.case("a post signed by somebody else", vec![post])
}

/// How many customers write the posts of a rate.
const CUSTOMERS: usize = 10_000;

/// Posts with so many messages each, every one in a change of its own, as they come from many
/// customers at once; and the messages of all of them.
pub(super) fn many(count: usize, messages: usize, at: Timestamp) -> (Vec<Post>, Vec<Update>) {
    let mut make = Maker::new(11, at);
    let posts = (0..count)
        .map(|post| {
            let changes: Vec<Value> = (0..messages)
                .map(|index| {
                    let customer = Customer::new(11, (post * messages + index) % CUSTOMERS);
                    let message = make.message_of(&customer);
                    customer.change("messages", &[message])
                })
                .collect();
            Post::new(&[entry(&changes)])
        })
        .collect();
    (posts, make.expected)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_cases_share_a_message_and_all_but_the_last_expect_some() {
        let cases = all("2026-01-01T00:00:00Z".parse().expect("a time"));
        let mut ids = HashSet::new();
        for case in &cases {
            for update in &case.expected {
                assert!(case.is_of(update));
                assert!(ids.insert(update.clone()), "{update:?} is in two cases");
            }
        }
        assert_eq!(ids.len(), 20 + 3 + 2 + 2 + 3 + 4 + 100 + 1 + 2);
        let (last, others) = cases.split_last().expect("there are cases");
        assert!(last.expected.is_empty());
        assert!(others.iter().all(|case| !case.expected.is_empty()));
    }

    #[test]
    fn what_is_expected_is_in_the_posts() {
        for case in all("2026-01-01T00:00:00Z".parse().expect("a time")) {
            let bodies: String = case.posts.iter().map(|post| post.body.as_str()).collect();
            for (_, id) in &case.expected {
                assert!(bodies.contains(id.as_str()), "{}: {id}", case.name);
            }
        }
    }
}
