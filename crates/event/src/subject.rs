//! The subjects of the log. One place builds them, one place reads them.
//!
//! `<p>` is the number's partition: one stream today, many later, without moving a subject.

use casement_domain::id::{BrandId, BusinessNumber, CustomerId, MediaId, MessageId, PortfolioId};

/// The streams, by name.
pub mod stream {
    /// Posts as received.
    pub const RAW: &str = "RAW";
    /// Identifier links and consent.
    pub const CUSTOMERS: &str = "CUSTOMERS";
    /// What happens in conversations.
    pub const EVENTS: &str = "EVENTS";
    /// The life of outbound messages, and provider reports about them.
    pub const MESSAGES: &str = "MESSAGES";
    /// Brands, numbers, templates.
    pub const ACCOUNTS: &str = "ACCOUNTS";
    /// What can never succeed.
    pub const DEAD: &str = "DEAD";
    /// What services ask for over the broker, until it is done. Named in full: services that are
    /// not Casement's write it.
    pub const COMMANDS: &str = "CASEMENT_COMMANDS";
    /// Which replica is the active one; not part of the record.
    pub const LEASES: &str = "LEASES";
    /// Keys of sensitive messages that are not over; not part of the record.
    pub const SENSITIVE_KEYS: &str = "SENSITIVE_KEYS";
    /// Secrets that arrived at run time, sealed; not part of the record.
    pub const SECRETS: &str = "SECRETS";
}

/// Families of subjects whose last token is a customer, a message or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// The customer's messages, calls and identity changes.
    Inbound,
    /// Window events.
    Window,
    /// What Meta proved about the window.
    Evidence,
    /// Notes and assignment.
    Note,
    /// An outbound message's life.
    Message,
    /// Provider reports about an outbound message.
    Report,
    /// What became of a file that came with a customer's message.
    Media,
}

impl Family {
    /// Returns the token of the family.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Window => "window",
            Self::Evidence => "evidence",
            Self::Note => "note",
            Self::Message => "message",
            Self::Report => "report",
            Self::Media => "media",
        }
    }

    /// Returns the filter that matches all of the family.
    pub fn filter(self) -> String {
        format!("casement.events.{}.>", self.token())
    }
}

/// Returns the subject of a customer's events in one of the conversation families.
pub fn conversation(family: Family, number: &BusinessNumber, customer: &CustomerId) -> String {
    format!(
        "casement.events.{}.{}.{number}.{customer}",
        family.token(),
        number.partition()
    )
}

/// Returns the filter over all conversations of one number in a family.
pub fn number_filter(family: Family, number: &BusinessNumber) -> String {
    format!(
        "casement.events.{}.{}.{number}.>",
        family.token(),
        number.partition()
    )
}

/// Returns the filter over all families of one conversation: any newer fact of the customer.
pub fn conversation_any(number: &BusinessNumber, customer: &CustomerId) -> String {
    format!(
        "casement.events.*.{}.{number}.{customer}",
        number.partition()
    )
}

/// Returns the subject of an outbound message's life.
pub fn message(id: &MessageId) -> String {
    message_family(Family::Message, id)
}

/// Returns the subject of provider reports about an outbound message.
pub fn report(id: &MessageId) -> String {
    message_family(Family::Report, id)
}

/// Returns the subject of a file that came with a customer's message.
pub fn media(id: &MediaId) -> String {
    let number = id.number();
    format!("casement.events.media.{}.{number}.{id}", number.partition())
}

fn message_family(family: Family, id: &MessageId) -> String {
    let number = id.number();
    format!(
        "casement.events.{}.{}.{number}.{id}",
        family.token(),
        number.partition()
    )
}

/// Returns the subject of statuses of messages that are not ours.
pub fn foreign(number: &BusinessNumber) -> String {
    format!("casement.events.foreign.{}.{number}", number.partition())
}

/// Returns the subject of a group's traffic. `group` is hashed to a token by the caller.
pub fn group(number: &BusinessNumber, group: &str) -> String {
    format!(
        "casement.events.group.{}.{number}.{group}",
        number.partition()
    )
}

/// Returns the subject of packed posts of a source, such as `whatsapp` or `twilio`.
pub fn raw(source: &str) -> String {
    format!("casement.raw.{source}")
}

/// Returns the subject of the link of one identifier. `token` is its keyed hash.
pub fn link(portfolio: &PortfolioId, token: &str) -> String {
    format!("casement.customers.link.{portfolio}.{token}")
}

/// Returns the subject of a customer's consent.
pub fn consent(portfolio: &PortfolioId, customer: &CustomerId) -> String {
    format!("casement.customers.consent.{portfolio}.{customer}")
}

/// Returns the subject of who took out what is held of a customer.
pub fn exported(portfolio: &PortfolioId, customer: &CustomerId) -> String {
    format!("casement.customers.exported.{portfolio}.{customer}")
}

/// Returns the subject of a tombstone: of an identifier, by its keyed hash, or of a customer, by the
/// customer's id.
pub fn erased(portfolio: &PortfolioId, token: &str) -> String {
    format!("casement.customers.erased.{portfolio}.{token}")
}

/// Matches all tombstones.
pub const ALL_ERASED: &str = "casement.customers.erased.>";

/// Returns the portfolio and the token of a tombstone's subject.
pub fn parse_erased(subject: &str) -> Option<(PortfolioId, &str)> {
    let rest = subject.strip_prefix("casement.customers.erased.")?;
    let (portfolio, token) = rest.split_once('.')?;
    let portfolio = PortfolioId::parse(portfolio).ok()?;
    (!token.is_empty() && !token.contains('.')).then_some((portfolio, token))
}

/// Returns the subject of an erasure.
pub fn erasure(portfolio: &PortfolioId, erasure_id: &str) -> String {
    format!("casement.customers.erasure.{portfolio}.{erasure_id}")
}

/// Matches all erasures.
pub const ALL_ERASURES: &str = "casement.customers.erasure.>";

/// Matches all that stands in conversations of a customer, at whatever number.
pub fn conversations_of(customer: &CustomerId) -> String {
    format!("casement.events.*.*.*.{customer}")
}

/// The filter over the links of a portfolio.
pub fn links(portfolio: &PortfolioId) -> String {
    format!("casement.customers.link.{portfolio}.*")
}

/// The filter over what all customers of a portfolio allow.
pub fn consents(portfolio: &PortfolioId) -> String {
    format!("casement.customers.consent.{portfolio}.*")
}

/// The filter over what every customer allows.
pub const ALL_CONSENTS: &str = "casement.customers.consent.>";

/// Returns whose consent a subject holds: the portfolio and the customer.
pub fn parse_consent(subject: &str) -> Option<(PortfolioId, CustomerId)> {
    let rest = subject.strip_prefix("casement.customers.consent.")?;
    let (portfolio, customer) = rest.split_once('.')?;
    let customer = CustomerId::parse(customer).ok()?;
    Some((PortfolioId::parse(portfolio).ok()?, customer))
}

/// Returns the subject of an account record: `brand`, `number` or `template`, and its id.
pub fn account(kind: &str, id: &str) -> String {
    format!("casement.accounts.{kind}.{id}")
}

/// Returns the subject of what webhooks say about an account.
pub fn reported(kind: &str, id: &str) -> String {
    format!("casement.accounts.reported.{kind}.{id}")
}

/// Matches the record of every number.
pub const ALL_NUMBERS: &str = "casement.accounts.number.*";

/// Matches every halt.
pub const ALL_HALTS: &str = "casement.accounts.halt.>";

/// Returns whether a subject is one of those that commands to send are published to.
pub fn is_send_command(subject: &str) -> bool {
    subject.starts_with("casement.commands.send.") && !subject.contains(['*', '>', ' '])
}

/// Returns the subject of a halt. `scope` is its stable word.
pub fn halt(scope: &str, id: &str) -> String {
    format!("casement.accounts.halt.{}.{id}", scope.to_ascii_lowercase())
}

/// Stands for posts that somebody was shown as they were received.
pub const SHOWN_WEBHOOKS: &str = "casement.accounts.shown.webhook";

/// Stands for exports of the archive.
pub const SHOWN_ARCHIVE: &str = "casement.accounts.shown.archive";

/// Stands for exports of what customers allow.
pub const SHOWN_CONSENTS: &str = "casement.accounts.shown.consents";

/// Stands for items that no role could handle and somebody was shown.
pub const SHOWN_DEAD_LETTERS: &str = "casement.accounts.shown.dead-letter";

/// Stands for wishes to have read models made anew.
pub const ASKED_READ_MODELS: &str = "casement.accounts.asked.read-models";

/// Returns the subject of calls that a process refused. `role` is one token.
pub fn refused(role: &str) -> String {
    format!("casement.accounts.refused.{role}")
}

/// Matches every verdict of what is watched.
pub const ALL_WATCHES: &str = "casement.accounts.watch.>";

/// Returns the subject of a verdict: which check, and what it is about. What would not be one token
/// of a subject stands there as a digest.
pub fn watch(check: &str, of: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_token = (1..=64).contains(&of.len()) && of.bytes().all(is_plain);
    if is_token {
        format!("casement.accounts.watch.{check}.{of}")
    } else {
        let digest = crate::id::watched(of).simple();
        format!("casement.accounts.watch.{check}.{digest}")
    }
}

/// Returns the subject of what months have cost. `of` names what is added up there.
pub fn spend(of: &str) -> String {
    format!("casement.accounts.spend.{of}")
}

/// Returns the subject of a role's dead letters.
pub fn dead(role: &str) -> String {
    format!("casement.dead.{role}")
}

/// Where services put requests to send.
pub const SEND_COMMANDS: &str = "casement.commands.send.>";

/// Returns the subject on which a service asks to send from a number of a brand.
pub fn send_command(brand: &BrandId, number: &BusinessNumber, service: &str) -> String {
    format!("casement.commands.send.{brand}.{number}.{service}")
}

/// Returns where a service may be answered besides its own inbox.
pub fn answers(brand: &BrandId, service: &str) -> String {
    format!("casement.answers.{brand}.{service}.")
}

/// Who asks for what, as the subject of a command says and the broker's permissions vouch for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The brand it asks for.
    pub brand: BrandId,
    /// The number that it may send from.
    pub number: BusinessNumber,
    /// Its own name.
    pub service: String,
}

/// Returns who asks to send; `None` if a subject is none of such commands.
pub fn parse_send_command(subject: &str) -> Option<Sender> {
    let mut tokens = subject.strip_prefix("casement.commands.send.")?.split('.');
    let brand = BrandId::parse(tokens.next()?).ok()?;
    let digits = tokens.next()?;
    let number = BusinessNumber::parse(digits).ok()?;
    let service = tokens.next()?;
    let is_one = !service.is_empty() && service.len() <= 128 && tokens.next().is_none();
    (is_one && number.digits() == digits).then(|| Sender {
        brand,
        number,
        service: service.to_owned(),
    })
}

/// Matches the keys of all sensitive messages.
pub const ALL_CONTENT_KEYS: &str = "casement.keys.>";

/// Returns the subject of a sensitive message's key.
pub fn content_key(id: &MessageId) -> String {
    let number = id.number();
    format!("casement.keys.{}.{number}.{id}", number.partition())
}

/// Matches all stored secrets.
pub const ALL_SECRETS: &str = "casement.secrets.>";

/// Returns the subject of a stored secret.
pub fn secret(brand: &str, name: &str) -> String {
    format!("casement.secrets.{brand}.{name}")
}

/// Returns the message whose key a subject is for.
pub fn parse_content_key(subject: &str) -> Option<MessageId> {
    let (_, last) = subject.strip_prefix("casement.keys.")?.rsplit_once('.')?;
    MessageId::parse(last)
        .ok()
        .filter(|id| content_key(id) == subject)
}

/// Returns the subject of a lease.
pub fn lease(name: &str) -> String {
    format!("casement.leases.{name}")
}

/// Returns the token under which a template is recorded.
pub fn template_token(waba: &str, name: &str, language: &str) -> String {
    format!("{waba}-{name}-{language}")
}

/// Returns the family, number and customer of a conversation's subject.
pub fn parse_conversation(subject: &str) -> Option<(Family, BusinessNumber, CustomerId)> {
    let (family, number, last) = parse(subject)?;
    let is_conversation = matches!(
        family,
        Family::Inbound | Family::Window | Family::Evidence | Family::Note
    );
    let customer = CustomerId::parse(last).ok().filter(|_| is_conversation)?;
    Some((family, number, customer))
}

/// Returns the family and id of a message's or a report's subject.
pub fn parse_message(subject: &str) -> Option<(Family, MessageId)> {
    let (family, number, last) = parse(subject)?;
    let is_message = matches!(family, Family::Message | Family::Report);
    MessageId::parse(last)
        .ok()
        .filter(|id| is_message && *id.number() == number)
        .map(|id| (family, id))
}

/// Returns the file of a subject of the media family.
pub fn parse_media(subject: &str) -> Option<MediaId> {
    let (family, number, last) = parse(subject)?;
    MediaId::parse(last)
        .ok()
        .filter(|id| family == Family::Media && *id.number() == number)
}

fn parse(subject: &str) -> Option<(Family, BusinessNumber, &str)> {
    let mut tokens = subject.strip_prefix("casement.events.")?.split('.');
    let family = match tokens.next()? {
        "inbound" => Family::Inbound,
        "window" => Family::Window,
        "evidence" => Family::Evidence,
        "note" => Family::Note,
        "message" => Family::Message,
        "report" => Family::Report,
        "media" => Family::Media,
        _ => return None,
    };
    let partition = tokens.next()?;
    let digits = tokens.next()?;
    let number = BusinessNumber::parse(digits).ok()?;
    let last = tokens.next()?;
    // One spelling only: what reads as a subject of ours is what we would have written.
    let is_ours = number.digits() == digits
        && number.partition().to_string() == partition
        && tokens.next().is_none();
    is_ours.then_some((family, number, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_never_change() {
        let number = BusinessNumber::parse("+15550001111").unwrap();
        let customer = CustomerId::parse("c1").unwrap();
        let id = MessageId::new(&number, 1);
        let table = [
            (
                conversation(Family::Inbound, &number, &customer),
                "casement.events.inbound.03.15550001111.c1",
            ),
            (
                conversation_any(&number, &customer),
                "casement.events.*.03.15550001111.c1",
            ),
            (
                message(&id),
                "casement.events.message.03.15550001111.15550001111-00000000000000000000000000000001",
            ),
            (
                report(&id),
                "casement.events.report.03.15550001111.15550001111-00000000000000000000000000000001",
            ),
            (foreign(&number), "casement.events.foreign.03.15550001111"),
            (raw("whatsapp"), "casement.raw.whatsapp"),
            (
                account("number", "15550001111"),
                "casement.accounts.number.15550001111",
            ),
            (
                reported("parked", "106"),
                "casement.accounts.reported.parked.106",
            ),
            (halt("WABA", "h1"), "casement.accounts.halt.waba.h1"),
            (spend("all"), "casement.accounts.spend.all"),
            (dead("ingress"), "casement.dead.ingress"),
            (
                content_key(&id),
                "casement.keys.03.15550001111.15550001111-00000000000000000000000000000001",
            ),
            (
                media(&MediaId::new(&number, 1)),
                "casement.events.media.03.15550001111.15550001111-00000000000000000000000000000001",
            ),
        ];
        for (built, expected) in table {
            assert_eq!(built, expected);
        }
    }

    #[test]
    fn a_command_says_who_asks_and_nothing_else_does() {
        let sender = Sender {
            brand: BrandId::parse("shop").unwrap(),
            number: BusinessNumber::parse("+15550001111").unwrap(),
            service: "crm".to_owned(),
        };
        let subject = send_command(&sender.brand, &sender.number, &sender.service);
        assert_eq!(subject, "casement.commands.send.shop.15550001111.crm");
        assert_eq!(parse_send_command(&subject), Some(sender));
        for other in [
            "casement.commands.send.shop.15550001111",
            "casement.commands.send.shop.15550001111.crm.more",
            "casement.commands.send.shop.+15550001111.crm",
            "casement.commands.send.shop.15550001111.",
            "casement.commands.cancel.shop.15550001111.crm",
            "casement.events.message.03.15550001111.x",
        ] {
            assert_eq!(parse_send_command(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_built_reads_back() {
        let number = BusinessNumber::parse("+15550001111").unwrap();
        let customer = CustomerId::parse("c1").unwrap();
        let id = MessageId::new(&number, 1);
        for family in [
            Family::Inbound,
            Family::Window,
            Family::Evidence,
            Family::Note,
        ] {
            let subject = conversation(family, &number, &customer);
            assert_eq!(
                parse_conversation(&subject),
                Some((family, number.clone(), customer.clone()))
            );
            assert_eq!(parse_message(&subject), None);
        }
        assert_eq!(
            parse_message(&message(&id)),
            Some((Family::Message, id.clone()))
        );
        assert_eq!(parse_message(&report(&id)), Some((Family::Report, id)));
        let file = MediaId::new(&number, 1);
        assert_eq!(parse_media(&media(&file)), Some(file.clone()));
        assert_eq!(parse_message(&media(&file)), None);
        assert_eq!(parse_conversation(&media(&file)), None);
        assert_eq!(
            parse_conversation("casement.events.foreign.03.15550001111"),
            None
        );
    }
}
