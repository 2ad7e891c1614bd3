//! Subjects of the log.

use casement_domain::id::{BusinessNumber, CustomerId, MessageId, PortfolioId};
use casement_event::subject::{self, Family};

use crate::cut;

/// No id from outside widens or splits a subject: what parses as an id is one token, the subject
/// made of it reads back as the same ids, and any text that reads as a subject is the very subject
/// that its ids make.
///
/// # Panics
/// When that does not hold.
pub fn subjects(input: &[u8]) {
    let (number, rest) = cut(input);
    let (id, rest) = cut(rest);
    let number = String::from_utf8_lossy(number);
    let id = String::from_utf8_lossy(id);
    of_ids(&number, &id);
    of_text(&String::from_utf8_lossy(rest));
}

fn of_ids(number: &str, id: &str) {
    let Ok(number) = BusinessNumber::parse(number) else {
        return;
    };
    assert!(
        number
            .partition()
            .to_string()
            .parse::<u8>()
            .is_ok_and(|partition| partition < 64)
    );
    if let Ok(customer) = CustomerId::parse(id) {
        for family in [
            Family::Inbound,
            Family::Window,
            Family::Evidence,
            Family::Note,
        ] {
            let subject = subject::conversation(family, &number, &customer);
            is_whole(&subject, 6);
            assert_eq!(
                subject::parse_conversation(&subject),
                Some((family, number.clone(), customer.clone()))
            );
            assert_eq!(subject::parse_message(&subject), None);
        }
    }
    if let Ok(portfolio) = PortfolioId::parse(id) {
        is_whole(&subject::link(&portfolio, "t"), 5);
    }
    if let Ok(message) = MessageId::parse(id) {
        assert_eq!(message.as_str(), id);
        for (family, subject) in [
            (Family::Message, subject::message(&message)),
            (Family::Report, subject::report(&message)),
        ] {
            is_whole(&subject, 6);
            assert_eq!(
                subject::parse_message(&subject),
                Some((family, message.clone()))
            );
        }
    }
}

fn of_text(text: &str) {
    if let Some((family, number, customer)) = subject::parse_conversation(text) {
        assert_eq!(text, subject::conversation(family, &number, &customer));
    }
    if let Some((family, message)) = subject::parse_message(text) {
        let rebuilt = match family {
            Family::Message => subject::message(&message),
            _ => subject::report(&message),
        };
        assert_eq!(text, rebuilt);
    }
}

/// A subject to publish to: so many tokens, none empty, no wildcard, no space.
fn is_whole(subject: &str, tokens: usize) {
    assert_eq!(subject.split('.').count(), tokens, "{subject:?}");
    assert!(
        subject.split('.').all(|token| !token.is_empty()),
        "{subject:?}"
    );
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'*' && byte != b'>';
    assert!(subject.bytes().all(is_plain), "{subject:?}");
}
