//! What is known of a thing that counts, and what it counts.
//!
//! A join is a maximum or a minimum of each part, so that facts may come in any order and as often
//! as they like.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Measure {
    Received,
    Calls,
    Requested,
    Sent,
    Delivered,
    Read,
    Failed,
    Unknown,
    FailedByClass,
    Failovers,
    CostEstimated,
    CostReported,
    CostAttempts,
    Held,
    Ended,
    ExpiredUnanswered,
    Responses,
    ResponseMillis,
    ResponsesByClass,
    TemplateSent,
    TemplateDelivered,
    TemplateRead,
    TemplateFailed,
}

impl Measure {
    const ALL: [Self; 23] = [
        Self::Received,
        Self::Calls,
        Self::Requested,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Failed,
        Self::Unknown,
        Self::FailedByClass,
        Self::Failovers,
        Self::CostEstimated,
        Self::CostReported,
        Self::CostAttempts,
        Self::Held,
        Self::Ended,
        Self::ExpiredUnanswered,
        Self::Responses,
        Self::ResponseMillis,
        Self::ResponsesByClass,
        Self::TemplateSent,
        Self::TemplateDelivered,
        Self::TemplateRead,
        Self::TemplateFailed,
    ];

    /// As it is stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Calls => "calls",
            Self::Requested => "requested",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::FailedByClass => "failed_by_class",
            Self::Failovers => "failovers",
            Self::CostEstimated => "cost_estimated",
            Self::CostReported => "cost_reported",
            Self::CostAttempts => "cost_attempts",
            Self::Held => "held",
            Self::Ended => "ended",
            Self::ExpiredUnanswered => "expired_unanswered",
            Self::Responses => "responses",
            Self::ResponseMillis => "response_millis",
            Self::ResponsesByClass => "responses_by_class",
            Self::TemplateSent => "template_sent",
            Self::TemplateDelivered => "template_delivered",
            Self::TemplateRead => "template_read",
            Self::TemplateFailed => "template_failed",
        }
    }

    /// Reads what was stored.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }

    /// Whether it is kept by the minute, too.
    pub(crate) fn is_plotted(self) -> bool {
        matches!(self, Self::Received | Self::Sent | Self::Failed)
    }
}

/// Something that a thing counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) brand_id: String,
    /// Of messages, what stands for key=value; empty for all traffic.
    pub(crate) label: String,
    pub(crate) number: String,
    /// Minutes since 1970.
    pub(crate) minute: i64,
    pub(crate) measure: Measure,
    pub(crate) detail: String,
    pub(crate) value: i64,
}

/// All that is known of a thing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Thing {
    /// Of what counts by itself: a customer's message, a call, an answer, an expiry.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub(crate) once: Option<Once>,
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub(crate) requested: Option<Requested>,
    /// When it was first held.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<i64>,
    #[serde(rename = "a", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) attempts: BTreeMap<u32, Attempt>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
}

/// What counts by itself, at once whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Once {
    /// Seconds since 1970.
    #[serde(rename = "t")]
    pub(crate) at: i64,
    #[serde(rename = "b")]
    pub(crate) brand_id: String,
    #[serde(rename = "n")]
    pub(crate) number: String,
    #[serde(rename = "i")]
    pub(crate) items: Vec<(Measure, String, i64)>,
}

/// A message was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Requested {
    #[serde(rename = "t")]
    pub(crate) at: i64,
    #[serde(rename = "b")]
    pub(crate) brand_id: String,
    #[serde(rename = "n")]
    pub(crate) number: String,
    /// What stands for each, sorted.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) labels: Vec<String>,
    /// Name and language, with a slash between them; empty if it has none.
    #[serde(rename = "m", default, skip_serializing_if = "String::is_empty")]
    pub(crate) template: String,
}

/// How a message ended. What its `MessageEnded` says comes before what other events do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Ended {
    #[serde(rename = "r")]
    pub(crate) rank: u8,
    #[serde(rename = "t")]
    pub(crate) at: i64,
    #[serde(rename = "o")]
    pub(crate) outcome: String,
}

/// One claim and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<Started>,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(crate) accepted: Option<i64>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub(crate) delivered: Option<i64>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(crate) read: Option<i64>,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub(crate) unknown: Option<i64>,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<Failed>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(crate) cost: Option<Price>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Started {
    #[serde(rename = "t")]
    pub(crate) at: i64,
    #[serde(rename = "r")]
    pub(crate) route: String,
    #[serde(rename = "g", default, skip_serializing_if = "String::is_empty")]
    pub(crate) gateway: String,
    #[serde(rename = "w", default)]
    pub(crate) in_window: bool,
}

/// A word for what went wrong comes before none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Failed {
    #[serde(rename = "u")]
    pub(crate) is_unknown: bool,
    #[serde(rename = "t")]
    pub(crate) at: i64,
    #[serde(rename = "c")]
    pub(crate) class: String,
}

/// What an attempt costs. What is known better is greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Price {
    /// 1 by the rate card, 2 as reported, 3 not delivered and not billed.
    #[serde(rename = "r")]
    pub(crate) rank: u8,
    #[serde(rename = "k")]
    pub(crate) category: String,
    #[serde(rename = "c", default, skip_serializing_if = "String::is_empty")]
    pub(crate) currency: String,
    #[serde(rename = "m", default)]
    pub(crate) micros: i64,
}

fn least<T: Ord>(one: &mut Option<T>, other: Option<T>) {
    if let Some(other) = other
        && one.as_ref().is_none_or(|one| other < *one)
    {
        *one = Some(other);
    }
}

impl Thing {
    /// Takes what is told besides.
    pub(crate) fn join(&mut self, other: Self) {
        least(&mut self.once, other.once);
        least(&mut self.requested, other.requested);
        least(&mut self.held, other.held);
        least(&mut self.ended, other.ended);
        for (number, attempt) in other.attempts {
            self.attempts.entry(number).or_default().join(attempt);
        }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data is JSON")
    }

    /// Reads what [`Thing::to_json`] wrote.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// When its customer was last written to by a template outside their window, and the platform
    /// took it.
    pub(crate) fn written_outside_window(&self) -> Option<i64> {
        let outside = |attempt: &Attempt| {
            let started = attempt.started.as_ref()?;
            let counts = started.route == TEMPLATE && !started.in_window;
            (counts && attempt.accepted.is_some()).then_some(started.at)
        };
        self.attempts.values().filter_map(outside).max()
    }

    /// Returns what it counts, as far as is known of it.
    pub(crate) fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        if let Some(once) = &self.once {
            for (measure, detail, value) in &once.items {
                items.push(Item {
                    brand_id: once.brand_id.clone(),
                    label: String::new(),
                    number: once.number.clone(),
                    minute: once.at.div_euclid(60),
                    measure: *measure,
                    detail: detail.clone(),
                    value: *value,
                });
            }
        }
        // Whose a message is, its request says, which is the first of it.
        let Some(requested) = &self.requested else {
            return items;
        };
        let all = self.counted(requested);
        let labels = std::iter::once("").chain(requested.labels.iter().map(String::as_str));
        for label in labels {
            items.extend(all.iter().map(|(at, measure, detail, value)| Item {
                brand_id: requested.brand_id.clone(),
                label: label.to_owned(),
                number: requested.number.clone(),
                minute: at.div_euclid(60),
                measure: *measure,
                detail: detail.clone(),
                value: *value,
            }));
        }
        items
    }

    fn counted(&self, requested: &Requested) -> Vec<(i64, Measure, String, i64)> {
        let mut all = vec![(requested.at, Measure::Requested, String::new(), 1)];
        all.extend(self.held.map(|at| (at, Measure::Held, String::new(), 1)));
        all.extend(
            self.ended
                .as_ref()
                .map(|ended| (ended.at, Measure::Ended, ended.outcome.clone(), 1)),
        );
        let mut previous: Option<&Started> = None;
        for attempt in self.attempts.values() {
            let Some(started) = &attempt.started else {
                continue;
            };
            if let Some(before) = previous
                && (before.route != started.route || before.gateway != started.gateway)
            {
                let detail = format!("{}>{}", before.route, started.route);
                all.push((started.at, Measure::Failovers, detail, 1));
            }
            previous = Some(started);
            attempt.count(started, &requested.template, &mut all);
        }
        all
    }
}

/// The word for the route of templates.
const TEMPLATE: &str = "TEMPLATE";

impl Attempt {
    fn join(&mut self, other: Self) {
        least(&mut self.started, other.started);
        least(&mut self.accepted, other.accepted);
        least(&mut self.delivered, other.delivered);
        least(&mut self.read, other.read);
        least(&mut self.unknown, other.unknown);
        least(&mut self.failed, other.failed);
        if other.cost > self.cost {
            self.cost = other.cost;
        }
    }

    fn count(&self, started: &Started, template: &str, all: &mut Vec<(i64, Measure, String, i64)>) {
        // What arrived was delivered; what was read, too.
        let delivered = match (self.delivered, self.read) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let failed = self.failed.as_ref().map(|failed| failed.at);
        for (at, measure, of_template) in [
            (self.accepted, Measure::Sent, Measure::TemplateSent),
            (delivered, Measure::Delivered, Measure::TemplateDelivered),
            (self.read, Measure::Read, Measure::TemplateRead),
            (failed, Measure::Failed, Measure::TemplateFailed),
        ] {
            let Some(at) = at else { continue };
            all.push((at, measure, started.route.clone(), 1));
            if started.route == TEMPLATE && !template.is_empty() {
                all.push((at, of_template, template.to_owned(), 1));
            }
        }
        if let Some(at) = self.unknown {
            all.push((at, Measure::Unknown, started.route.clone(), 1));
        }
        if let Some(failed) = &self.failed {
            all.push((failed.at, Measure::FailedByClass, failed.class.clone(), 1));
        }
        if let Some(price) = &self.cost {
            let measure = match price.rank {
                1 => Measure::CostEstimated,
                2 => Measure::CostReported,
                _ => return,
            };
            let detail = format!("{}/{}", price.category, price.currency);
            all.push((started.at, measure, detail.clone(), price.micros));
            all.push((started.at, Measure::CostAttempts, detail, 1));
        }
    }
}
