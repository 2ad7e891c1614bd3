//! What webhooks tell of numbers and their accounts. Which numbers a report is about, and which
//! facts it holds, is read here; whether they are news is the keeper's to say.

use std::time::Duration;

use casement_domain::number_health::{FALSE, Fact, Kind, Source, TRUE};
use casement_event::convert::instant;
use casement_event::subject::stream;
use casement_event::v1::account_facts::Facts;
use casement_event::{Event, v1};
use casement_event_log::{Delivery, Failure, Log, WorkSpec};
use jiff::Timestamp;

use super::{Keeper, News};
use crate::book::Book;
use crate::ledger::Ledger;
use crate::reports::bury;

/// Reports in hand at once. They are applied one by one anyway.
const IN_HAND_MAX: usize = 16;

/// How long one may take before another process gets it.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// The durable queue of reports about numbers and accounts.
pub(crate) fn work() -> WorkSpec {
    WorkSpec {
        name: "accounts-number-reports",
        stream: stream::ACCOUNTS,
        filters: vec![
            "casement.accounts.reported.number.>".to_owned(),
            "casement.accounts.reported.account.>".to_owned(),
        ],
        in_hand_max: IN_HAND_MAX,
        ack_wait: ACK_WAIT,
    }
}

/// Takes up one report. It is done with, too, if there is nothing in it for us.
pub(crate) async fn take_up(
    log: &Log,
    book: &Book,
    keeper: &Keeper,
    delivery: Delivery,
) -> Result<(), Failure> {
    let stored = delivery.stored;
    let reported = match stored.event() {
        Ok(Event::AccountReported(reported)) => reported,
        Ok(_) => return Ok(()),
        Err(error) => return bury(log, book, &stored, error.to_string()).await,
    };
    let Some(told) = read(&reported, stored.stored_at) else {
        return Ok(());
    };
    let numbers = whom(book.desk().await?.ledger(), &told.about);
    for number in numbers {
        let news = News {
            number: number.clone(),
            phone_number_id: String::new(),
            facts: told.facts.clone(),
        };
        keeper.hear(news, "").await?;
        if told.is_to_be_checked {
            keeper.check_soon(&number);
        }
    }
    Ok(())
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) about: About,
    pub(super) facts: Vec<(Kind, Fact)>,
    /// There may be more to it than the report says.
    pub(super) is_to_be_checked: bool,
}

/// Which numbers a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    /// One, by its digits.
    Number(String),
    /// One, by the platform's id of it.
    PhoneNumberId(String),
    /// All of a business account or a portfolio.
    Account(String),
}

fn whom(ledger: &Ledger, about: &About) -> Vec<String> {
    let is_meant = |number: &v1::Number| match about {
        About::Number(digits) => number.number == *digits,
        About::PhoneNumberId(id) => number.phone_number_id == *id,
        About::Account(id) => number.waba_id == *id || number.portfolio_id == *id,
    };
    let numbers = ledger.numbers.values().map(|entry| &entry.record);
    let meant = numbers.filter(|number| is_meant(number));
    meant.map(|number| number.number.clone()).collect()
}

/// Reads a report; `None` if it says nothing of numbers. A report without its own time counts from
/// when it was stored, and so does one that says that it comes from later than that.
pub(super) fn read(reported: &v1::AccountReported, stored_at: Timestamp) -> Option<Told> {
    let time = reported.times.as_ref().and_then(|times| {
        let time = times.event_time.as_ref().or(times.received_time.as_ref());
        instant("times", time).ok().flatten()
    });
    let at = time.map_or(stored_at, |time| time.min(stored_at));
    let said = Said { reported, at };
    match reported.facts.as_ref()?.facts.as_ref()? {
        Facts::NumberQuality(facts) => Some(said.quality(facts)),
        Facts::NumberName(facts) => Some(said.name(facts)),
        Facts::AccountUpdate(facts) => said.update(facts),
        Facts::Review(facts) => {
            let review = said.fact(&facts.decision);
            Some(said.of_account(vec![(Kind::AccountReview, review)], false))
        }
        Facts::Alert(facts) => Some(said.alert(facts)),
        Facts::Capability(facts) if facts.daily_customers_limit.is_empty() => None,
        Facts::Capability(facts) => {
            let limit = said.fact(&facts.daily_customers_limit);
            Some(said.of_account(vec![(Kind::MessagingLimit, limit)], true))
        }
        Facts::Security(facts) => {
            let security = said.fact(&facts.event);
            Some(said.of_number(vec![(Kind::Security, security)], false))
        }
        Facts::CallSettings(facts) if facts.calling_status.is_empty() => None,
        Facts::CallSettings(facts) => {
            let calling = said.fact(&facts.calling_status.to_ascii_uppercase());
            Some(said.of_number(vec![(Kind::Calling, calling)], false))
        }
        // Templates and what is sold with them have keepers of their own.
        Facts::TemplateStatus(_)
        | Facts::TemplateQuality(_)
        | Facts::TemplateCategory(_)
        | Facts::TemplateComponents(_)
        | Facts::Payment(_)
        | Facts::Username(_)
        | Facts::PartnerSolution(_)
        | Facts::Flow(_) => None,
    }
}

struct Said<'a> {
    reported: &'a v1::AccountReported,
    at: Timestamp,
}

impl Said<'_> {
    fn fact(&self, value: &str) -> Fact {
        Fact::new(self.at, Source::Webhook, value)
    }

    fn of_account(&self, facts: Vec<(Kind, Fact)>, is_to_be_checked: bool) -> Told {
        Told {
            about: About::Account(self.reported.entry_id.clone()),
            facts,
            is_to_be_checked,
        }
    }

    /// About the number that the report names, or else about all of its account.
    fn of_number(&self, facts: Vec<(Kind, Fact)>, is_to_be_checked: bool) -> Told {
        let digits = digits(&self.reported.number);
        let id = &self.reported.phone_number_id;
        let about = if !id.is_empty() {
            About::PhoneNumberId(id.clone())
        } else if !digits.is_empty() {
            About::Number(digits)
        } else {
            About::Account(self.reported.entry_id.clone())
        };
        Told {
            about,
            facts,
            is_to_be_checked,
        }
    }

    /// What its events mean besides an upgrade is asked for (Meta: phone_number_quality_update).
    fn quality(&self, facts: &v1::NumberQualityFacts) -> Told {
        let mut told = Vec::new();
        if !facts.limit.is_empty() {
            told.push((Kind::MessagingLimit, self.fact(&facts.limit)));
        }
        if facts.event == "THROUGHPUT_UPGRADE" {
            told.push((Kind::Throughput, self.fact("HIGH")));
        }
        self.of_number(told, true)
    }

    fn name(&self, facts: &v1::NumberNameFacts) -> Told {
        let decision = match facts.decision.as_str() {
            "REJECTED" => "DECLINED",
            "PENDING" => "PENDING_REVIEW",
            decision => decision,
        };
        let why = match facts.rejection_reason.as_str() {
            "" | "NONE" => decision.to_owned(),
            reason => format!("{decision} {reason}"),
        };
        let name = self.fact(&facts.requested_name).because(why);
        self.of_number(vec![(Kind::RequestedName, name)], true)
    }

    fn alert(&self, facts: &v1::AlertFacts) -> Told {
        let detail = [&facts.severity, &facts.status, &facts.description];
        let detail: Vec<_> = detail.into_iter().filter(|text| !text.is_empty()).collect();
        let detail = detail.iter().map(|text| text.as_str()).collect::<Vec<_>>();
        let alert = self.fact(&facts.r#type).because(detail.join(" "));
        let mut told = vec![(Kind::Alert, alert)];
        match facts.r#type.as_str() {
            "OBA_APPROVED" => told.push((Kind::Official, self.fact(TRUE))),
            "OBA_REJECTED" => told.push((Kind::Official, self.fact(FALSE))),
            _ => {}
        }
        let about = match facts.entity_type.as_str() {
            _ if facts.entity_id.is_empty() => About::Account(self.reported.entry_id.clone()),
            "PHONE_NUMBER" => About::PhoneNumberId(facts.entity_id.clone()),
            _ => About::Account(facts.entity_id.clone()),
        };
        Told {
            about,
            facts: told,
            is_to_be_checked: true,
        }
    }

    /// Meta: account_update. Events that concern no sending are left to others.
    fn update(&self, facts: &v1::AccountUpdateFacts) -> Option<Told> {
        let event = facts.event.as_str();
        let status = |word: &str| (Kind::Status, self.fact(word).because(event));
        let state = |word: &str| (Kind::AccountState, self.fact(word).because(&facts.ban_date));
        let told = match event {
            "ACCOUNT_DELETED" => vec![state(event), status("DELETED")],
            "DISABLED_UPDATE" => match facts.ban_state.as_str() {
                "DISABLE" => vec![state("DISABLE"), status("BANNED")],
                // What it is then, the platform is asked.
                "REINSTATE" => vec![state("REINSTATE"), status("UNKNOWN")],
                word => vec![state(word)],
            },
            "ACCOUNT_RESTRICTION" => vec![(Kind::Restriction, self.restriction(facts))],
            "ACCOUNT_VIOLATION" => vec![(Kind::Violation, self.fact(&facts.violation_type))],
            "PARTNER_REMOVED" if facts.disconnection_reason.is_empty() => {
                vec![(Kind::Disconnection, self.fact(event))]
            }
            "PARTNER_REMOVED" | "ACCOUNT_OFFBOARDED" => {
                let reason = match facts.disconnection_reason.as_str() {
                    "" => event,
                    reason => reason,
                };
                let by = &facts.disconnection_initiated_by;
                vec![
                    (Kind::Disconnection, self.fact(reason).because(by)),
                    (Kind::Status, self.fact("DISCONNECTED").because(reason)),
                ]
            }
            "ACCOUNT_RECONNECTED" => {
                vec![(Kind::Disconnection, self.fact("")), status("UNKNOWN")]
            }
            _ => return None,
        };
        let account = match facts.waba_id.as_str() {
            "" => &self.reported.entry_id,
            waba_id => waba_id,
        };
        let about = match digits(&facts.phone_number) {
            digits if digits.is_empty() => About::Account(account.to_owned()),
            digits => About::Number(digits),
        };
        Some(Told {
            about,
            facts: told,
            is_to_be_checked: true,
        })
    }

    /// All restrictions as one fact, until the last of them ends; for good if one has no end.
    fn restriction(&self, facts: &v1::AccountUpdateFacts) -> Fact {
        let words = facts.restrictions.iter().map(|one| one.r#type.as_str());
        let ends = facts.restrictions.iter().map(|one| {
            instant("expire_time", one.expire_time.as_ref())
                .ok()
                .flatten()
        });
        let ends: Option<Vec<_>> = ends.collect();
        Fact {
            until: ends.and_then(|ends| ends.into_iter().max()),
            ..self.fact(&words.collect::<Vec<_>>().join(","))
        }
    }
}

fn digits(number: &str) -> String {
    number.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
