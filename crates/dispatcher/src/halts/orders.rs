//! What a message belongs to, and which halt an error of the platform orders.

use casement_domain::halt::{Cause, Channels, End, Order, Scope, Sending, Target, Traffic};
use casement_domain::sms::Senders;
use casement_event::v1;
use casement_event_log::conversation::Key;
use casement_secrets::Secrets;
use casement_whatsapp::errors::{self, Action, ErrorRule, Lift};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::gateways;
use crate::aggregate::Loaded;

/// After how long a token that was refused is tried again although it has not changed.
const TOKEN_PROBE: SignedDuration = SignedDuration::from_hours(1);

/// What a provider said to a call, as its error table has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Told {
    /// The platform.
    Platform {
        rule: ErrorRule,
        /// The pause that the answer asked for.
        retry_after: Option<std::time::Duration>,
    },
    /// An SMS gateway.
    Gateway(casement_sms::errors::ErrorRule),
}

/// Returns all that a message belongs to. Of gateways, all that SMS of its number go through.
pub(crate) fn sending(of: &Loaded, account: &v1::Number, senders: &Senders) -> Sending {
    let conversation = &of.context.conversation;
    let mut targets = vec![
        Target::new(Scope::Brand, &account.brand_id),
        Target::new(Scope::Portfolio, &account.portfolio_id),
        Target::new(Scope::Waba, &account.waba_id),
        Target::new(Scope::Number, &account.number),
        pair(&of.key()),
    ];
    targets.extend(token(account).map(|place| Target::new(Scope::Token, place)));
    if let Some(template) = template(&of.request) {
        for language in [template.language.as_str(), ""] {
            targets.push(Target::template(&account.waba_id, &template.name, language));
        }
    }
    targets.extend(gateways::targets(account, senders));
    for label in &of.request.labels {
        targets.push(Target::label(&conversation.brand, &label.key, &label.value));
    }
    Sending {
        targets,
        is_marketing: of.request.purpose() == v1::Purpose::Marketing,
    }
}

/// Returns whether a number's messages can belong to a target; of labels and templates that is
/// not known.
pub(crate) fn reaches(target: &Target, account: &v1::Number, senders: &Senders) -> bool {
    let first = || target.key.split('/').next().unwrap_or_default();
    match target.scope {
        Scope::Brand => target.key == account.brand_id,
        Scope::Portfolio => target.key == account.portfolio_id,
        Scope::Waba => target.key == account.waba_id,
        Scope::Token => token(account).is_some_and(|place| place == target.key),
        Scope::Number => target.key == account.number,
        Scope::Template => first() == account.waba_id,
        Scope::Label => first() == account.brand_id,
        Scope::Gateway => gateways::targets(account, senders).contains(target),
        Scope::Pair => first() == account.number,
    }
}

/// Returns the halt that follows from what a provider said to an attempt; `gateway` is the one
/// that it went through, if it was an SMS.
pub(crate) fn order(
    told: &Told,
    of: &Loaded,
    gateway: &str,
    account: &v1::Number,
    met_at: Timestamp,
) -> Option<Order> {
    let (rule, retry_after) = match told {
        Told::Platform { rule, retry_after } => (rule, *retry_after),
        Told::Gateway(rule) => return gateways::order(rule, gateway, account, met_at),
    };
    let (target, traffic, may_go_elsewhere, end) = match rule.action {
        Action::Halt {
            traffic,
            next_route,
            lift,
        } => {
            let traffic = match traffic {
                errors::Traffic::Everything => Traffic::Everything,
                errors::Traffic::Marketing => Traffic::Marketing,
                errors::Traffic::Templates => Traffic::Templates,
            };
            (
                target(rule.scope, of, account)?,
                traffic,
                next_route,
                end(lift),
            )
        }
        Action::TemplateUnusable { lift } => {
            let target = target(errors::Scope::Template, of, account)?;
            (target, Traffic::Everything, true, end(lift))
        }
        // A pair's pause is kept by the order of its conversation.
        Action::Delay { first, factor }
            if !matches!(rule.scope, errors::Scope::Message | errors::Scope::Pair) =>
        {
            let first = first.max(retry_after.unwrap_or_default());
            let end = End::Time {
                first: signed(first),
                factor,
            };
            (
                target(rule.scope, of, account)?,
                Traffic::Everything,
                false,
                end,
            )
        }
        Action::MarketingCapped { not_before } => {
            let end = End::Time {
                first: signed(not_before),
                factor: 1,
            };
            (pair(&of.key()), Traffic::Marketing, false, end)
        }
        _ => return None,
    };
    Some(Order {
        target,
        traffic,
        channels: Channels::Whatsapp,
        may_go_elsewhere,
        cause: Cause::Code {
            code: rule.code,
            meaning: rule.meaning.to_owned(),
        },
        end,
        met_at,
    })
}

fn end(lift: Lift) -> End {
    match lift {
        Lift::Operator => End::Open,
        // It may have been replaced while the call was under way, so that nobody sees it change.
        Lift::NewToken => End::Probe {
            first: TOKEN_PROBE,
            factor: 2,
        },
        Lift::After(wait) => End::Time {
            first: signed(wait),
            factor: 2,
        },
        Lift::Probe { first, factor } => End::Probe {
            first: signed(first),
            factor,
        },
    }
}

fn target(scope: errors::Scope, of: &Loaded, account: &v1::Number) -> Option<Target> {
    Some(match scope {
        errors::Scope::Message => return None,
        errors::Scope::Pair => pair(&of.key()),
        errors::Scope::Template => {
            let template = template(&of.request)?;
            Target::template(&account.waba_id, &template.name, &template.language)
        }
        errors::Scope::Number => Target::new(Scope::Number, &account.number),
        errors::Scope::Waba => Target::new(Scope::Waba, &account.waba_id),
        // A token is of one app, and what else the app has is not known here.
        errors::Scope::Token | errors::Scope::App => Target::new(Scope::Token, token(account)?),
    })
}

fn pair(key: &Key) -> Target {
    Target::pair(key.number.digits(), key.customer.as_str())
}

fn template(request: &v1::MessageRequested) -> Option<&v1::TemplateContent> {
    request.content.as_ref()?.template.as_ref()
}

/// Returns where a number's access token is found; it tells tokens from one another without
/// telling them.
pub(crate) fn token(account: &v1::Number) -> Option<String> {
    use v1::secret_ref::Source;
    let source = account.token.as_ref()?.source.as_ref()?;
    Some(match source {
        Source::File(path) => format!("file:{path}"),
        Source::Env(name) => format!("env:{name}"),
        Source::Stored(name) => format!("stored:{name}"),
    })
}

/// Returns what tells a number's access token from another one in the same place; `None` if it
/// cannot be had. Tokens are long and random, so that the few digits of a hash tell nothing.
pub(crate) fn fingerprint(secrets: &Secrets, account: &v1::Number) -> Option<String> {
    let token = secrets.resolve(account.token.as_ref()).ok()?;
    Some(digest(&[token]))
}

/// A few digits that tell secrets apart.
pub(super) fn digest(secrets: &[SecretString]) -> String {
    let mut hash = Sha256::new();
    for secret in secrets {
        hash.update(secret.expose_secret());
    }
    let hash = hash.finalize();
    let head = hash
        .first_chunk::<8>()
        .map_or(0, |head| u64::from_be_bytes(*head));
    format!("{head:016x}")
}

fn signed(wait: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use casement_whatsapp::errors::{lookup, rules};

    use super::*;

    fn account() -> v1::Number {
        let source = v1::secret_ref::Source::File("/secrets/meta".to_owned());
        v1::Number {
            number: "15550001111".to_owned(),
            brand_id: "b".to_owned(),
            portfolio_id: "p".to_owned(),
            waba_id: "w".to_owned(),
            token: Some(v1::SecretRef {
                source: Some(source),
            }),
            ..v1::Number::default()
        }
    }

    fn message() -> Loaded {
        let number = casement_domain::id::BusinessNumber::parse("15550001111").unwrap();
        let id = casement_domain::id::MessageId::new(&number, 1);
        let time = Some(casement_event::convert::timestamp(Timestamp::UNIX_EPOCH));
        let template = v1::TemplateContent {
            name: "order".to_owned(),
            language: "en".to_owned(),
            ..v1::TemplateContent::default()
        };
        let request = v1::MessageRequested {
            message_id: id.to_string(),
            conversation: Some(v1::Conversation {
                number: "15550001111".to_owned(),
                customer_id: "c1".to_owned(),
                brand_id: "b".to_owned(),
                portfolio_id: "p".to_owned(),
            }),
            content: Some(v1::Content {
                template: Some(template),
                ..v1::Content::default()
            }),
            labels: vec![v1::Label {
                key: "campaign".to_owned(),
                value: "spring".to_owned(),
            }],
            request_time: time,
            expire_time: time,
            ..v1::MessageRequested::default()
        };
        Loaded::fresh(request, id).unwrap()
    }

    fn ordered(code: i64) -> Option<Order> {
        let told = Told::Platform {
            rule: lookup(code),
            retry_after: None,
        };
        order(&told, &message(), "", &account(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn each_scope_of_the_error_table_halts_what_it_says() {
        let waba = Target::new(Scope::Waba, "w");
        let number = Target::new(Scope::Number, "15550001111");
        let token = Target::new(Scope::Token, "file:/secrets/meta");
        let template = Target::template("w", "order", "en");
        let pair = Target::pair("15550001111", "c1");
        let (all, some) = (Traffic::Everything, Traffic::Marketing);
        for (code, target, traffic, may_go_elsewhere) in [
            (0, &token, all, true),
            (190, &token, all, true),
            (4, &token, all, false),
            (10, &waba, all, false),
            (131_042, &waba, all, true),
            (80_007, &waba, all, false),
            (131_064, &waba, Traffic::Templates, false),
            (133_010, &number, all, false),
            (130_429, &number, all, false),
            (131_057, &number, all, false),
            (131_048, &number, some, true),
            (132_001, &template, all, true),
            (132_015, &template, all, true),
            (132_016, &template, all, true),
            (131_049, &pair, some, false),
        ] {
            let order = ordered(code).unwrap_or_else(|| panic!("{code} halts nothing"));
            assert_eq!(
                (&order.target, order.traffic, order.may_go_elsewhere),
                (target, traffic, may_go_elsewhere),
                "{code}"
            );
        }
        for code in [
            1, 100, 131_000, 131_026, 131_047, 131_050, 131_056, 2_494_191,
        ] {
            assert_eq!(ordered(code), None, "{code}");
        }
    }

    #[test]
    fn whatever_is_halted_stops_the_message_that_met_it() {
        let (message, account) = (message(), account());
        let none = Senders::default();
        let sending = sending(&message, &account, &none);
        for row in rules() {
            if let Some(order) = ordered(*row.codes.start()) {
                assert!(sending.targets.contains(&order.target), "{row:?}");
                assert!(reaches(&order.target, &account, &none), "{row:?}");
            }
        }
    }

    #[test]
    fn a_wait_is_never_shorter_than_what_the_answer_asked_for() {
        let told = Told::Platform {
            rule: lookup(130_429),
            retry_after: Some(std::time::Duration::from_secs(30)),
        };
        let order = order(&told, &message(), "", &account(), Timestamp::UNIX_EPOCH).unwrap();
        let End::Time { first, .. } = order.end else {
            panic!("{order:?}")
        };
        assert_eq!(first, SignedDuration::from_secs(30));
    }

    #[test]
    fn a_label_reaches_its_own_brand_alone() {
        let (account, none) = (account(), Senders::default());
        assert!(reaches(&Target::label("b", "k", "v"), &account, &none));
        assert!(!reaches(&Target::label("other", "k", "v"), &account, &none));
        assert!(reaches(
            &Target::template("w", "order", ""),
            &account,
            &none
        ));
        assert!(!reaches(
            &Target::template("v", "order", ""),
            &account,
            &none
        ));
    }
}
