//! Which customer events open or refresh the window, as a table with its sources.
//!
//! One row for each kind of event. What Meta's pages say is fixed; where they are silent, the row
//! holds the cautious answer, which an operator may override. Nothing here looks at a webhook: what
//! an item is called is decided where it is read.

use std::fmt;

/// A kind of customer event, as far as the window cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Any content a customer sends: text, media, location, contacts, replies, taps, orders.
    Content,
    /// A reaction to a message, or its removal. The platform says neither way.
    Reaction,
    /// The customer edited an earlier message. The platform says neither way.
    Edit,
    /// The customer revoked an earlier message. The platform says neither way.
    Revoke,
    /// The customer sent something that the API cannot show. A message all the same.
    Unsupported,
    /// Made by the platform itself, such as a changed number.
    System,
    /// Sent by the customer's app on its own, such as an automatic call-permission answer.
    Automatic,
    /// The customer called, answered or not, or accepted a call from the business.
    Call,
    /// A call event that the customer did not cause: ringing, rejected, recorded.
    CallProgress,
    /// The business wrote by other means.
    Echo,
    /// A message from before onboarding, as the platform sent it over then.
    History,
    /// Anything that would open the window, were it not from before the number's onboarding.
    BeforeOnboarding,
    /// Sent in a group chat, which has a window of its own.
    Group,
    /// An SMS. Another channel altogether.
    Sms,
    /// A choice about what the business may send.
    Preference,
    /// The thread passed to another responder.
    ThreadHandover,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Content,
        Self::Reaction,
        Self::Edit,
        Self::Revoke,
        Self::Unsupported,
        Self::System,
        Self::Automatic,
        Self::Call,
        Self::CallProgress,
        Self::Echo,
        Self::History,
        Self::BeforeOnboarding,
        Self::Group,
        Self::Sms,
        Self::Preference,
        Self::ThreadHandover,
    ];
}

/// Where a rule comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Meta's page on this topic says so: nobody may say otherwise.
    Meta(&'static str),
    /// No page says either way; this is why the default is what it is.
    Undocumented(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta(page) => write!(f, "Meta: {page}"),
            Self::Undocumented(reason) => write!(f, "undocumented: {reason}"),
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name in configuration, in answers and on stored facts.
    pub name: &'static str,
    /// The kind of event that it is about. Documented rows may share one.
    pub kind: Kind,
    /// Whether such an event opens or refreshes the window, unless overridden.
    pub qualifies: bool,
    /// Where that comes from.
    pub source: Source,
}

impl Rule {
    /// Returns whether an operator may say otherwise.
    pub const fn is_overridable(&self) -> bool {
        matches!(self.source, Source::Undocumented(_))
    }
}

const fn meta(name: &'static str, kind: Kind, qualifies: bool, page: &'static str) -> Rule {
    Rule {
        name,
        kind,
        qualifies,
        source: Source::Meta(page),
    }
}

const fn silent(name: &'static str, kind: Kind, qualifies: bool, reason: &'static str) -> Rule {
    Rule {
        name,
        kind,
        qualifies,
        source: Source::Undocumented(reason),
    }
}

/// Any message of the customer.
const MESSAGES: &str = "sending messages, customer service windows";
/// What a call does to the window.
const CALLS: &str = "calling, pricing";
/// A number in use in the phone app and here at once.
const COEXISTENCE: &str = "onboarding users of the WhatsApp Business app";

/// How many rows there are.
const RULES_LEN: usize = 30;

/// The table: what opens or refreshes the window, and where that is written.
pub const RULES: [Rule; RULES_LEN] = [
    meta("text", Kind::Content, true, MESSAGES),
    meta("image", Kind::Content, true, MESSAGES),
    meta("video", Kind::Content, true, MESSAGES),
    meta("audio", Kind::Content, true, MESSAGES),
    meta("document", Kind::Content, true, MESSAGES),
    meta("sticker", Kind::Content, true, MESSAGES),
    meta("location", Kind::Content, true, MESSAGES),
    meta("contacts", Kind::Content, true, MESSAGES),
    meta("interactive", Kind::Content, true, MESSAGES),
    meta("button", Kind::Content, true, MESSAGES),
    meta("order", Kind::Content, true, MESSAGES),
    meta("standby", Kind::Content, true, "standby webhook reference"),
    silent(
        "unsupported",
        Kind::Unsupported,
        true,
        "the customer did send something, which the API cannot show",
    ),
    silent(
        "reaction",
        Kind::Reaction,
        false,
        "a reply that is refused costs more than one that waits",
    ),
    silent(
        "edit",
        Kind::Edit,
        false,
        "it changes a message that has counted already",
    ),
    silent(
        "revoke",
        Kind::Revoke,
        false,
        "it takes back a message that has counted already",
    ),
    silent(
        "automatic",
        Kind::Automatic,
        false,
        "the customer's app acted, nobody wrote",
    ),
    silent(
        "system",
        Kind::System,
        false,
        "the platform made it, not the customer",
    ),
    meta("call_connect", Kind::Call, true, CALLS),
    meta("call_terminate", Kind::Call, true, CALLS),
    meta("call_accepted", Kind::Call, true, CALLS),
    meta("call_progress", Kind::CallProgress, false, CALLS),
    meta("echo", Kind::Echo, false, COEXISTENCE),
    meta("history", Kind::History, false, COEXISTENCE),
    meta("media_placeholder", Kind::History, false, COEXISTENCE),
    meta(
        "before_onboarding",
        Kind::BeforeOnboarding,
        false,
        COEXISTENCE,
    ),
    meta(
        "group",
        Kind::Group,
        false,
        "groups, pricing: a group has a window of its own",
    ),
    meta("sms", Kind::Sms, false, MESSAGES),
    meta("user_preferences", Kind::Preference, false, MESSAGES),
    meta("messaging_handovers", Kind::ThreadHandover, false, MESSAGES),
];

/// Returns the row of that name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

/// Returns the row for a kind of event; the first, where documented rows share one.
pub fn rule_of(kind: Kind) -> &'static Rule {
    let found = RULES.iter().find(|rule| rule.kind == kind);
    found.expect("a test holds that each kind has a row")
}

/// The table in force: its defaults, and what an operator overrode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QualifyingPolicy {
    /// One for each row.
    qualifies: [bool; RULES_LEN],
}

impl Default for QualifyingPolicy {
    fn default() -> Self {
        Self {
            qualifies: RULES.map(|rule| rule.qualifies),
        }
    }
}

/// A row cannot be overridden.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// There is no such row.
    #[error(
        "`{name}` is no kind of customer event; those that may be set are {}",
        overridable()
    )]
    Unknown {
        /// What was named.
        name: String,
    },
    /// The platform documents it.
    #[error(
        "`{}` cannot be overridden, since the platform documents it ({}): \
         it {} the window",
        rule.name, rule.source, if rule.qualifies { "opens" } else { "does not open" }
    )]
    Documented {
        /// The row.
        rule: &'static Rule,
    },
}

fn overridable() -> String {
    let names = RULES.iter().filter(|rule| rule.is_overridable());
    names.map(|rule| rule.name).collect::<Vec<_>>().join(", ")
}

impl QualifyingPolicy {
    /// Overrides one row. To say of a documented row what is documented is no override.
    pub fn with(mut self, name: &str, qualifies: bool) -> Result<Self, OverrideError> {
        let Some(index) = RULES.iter().position(|rule| rule.name == name) else {
            return Err(OverrideError::Unknown {
                name: name.to_owned(),
            });
        };
        let rule = &RULES[index];
        if !rule.is_overridable() && rule.qualifies != qualifies {
            return Err(OverrideError::Documented { rule });
        }
        self.qualifies[index] = qualifies;
        Ok(self)
    }

    /// Returns whether an event of this kind opens or refreshes the window.
    pub fn qualifies(&self, kind: Kind) -> bool {
        let mut rows = RULES.iter().zip(self.qualifies);
        rows.find(|(rule, _)| rule.kind == kind)
            .is_some_and(|(_, qualifies)| qualifies)
    }

    /// Returns each row with the answer in force.
    pub fn rows(&self) -> impl Iterator<Item = (&'static Rule, bool)> {
        RULES.iter().zip(self.qualifies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_event_has_a_row_and_each_row_a_name_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(rule_of(kind).kind, kind);
        }
        for (index, rule) in RULES.iter().enumerate() {
            assert!(
                RULES[..index].iter().all(|other| other.name != rule.name),
                "{} twice",
                rule.name
            );
            assert_eq!(super::rule(rule.name), Some(rule));
        }
        assert_eq!(super::rule("hologram"), None);
    }

    #[test]
    fn rows_that_share_a_kind_agree_and_none_of_them_can_be_overridden() {
        for rule in &RULES {
            let first = rule_of(rule.kind);
            assert_eq!(rule.qualifies, first.qualifies, "{}", rule.name);
            let sharing = RULES.iter().filter(|other| other.kind == rule.kind);
            assert!(
                sharing.count() == 1 || !rule.is_overridable(),
                "{}",
                rule.name
            );
        }
    }

    #[test]
    fn the_defaults_open_on_what_customers_write_and_on_calls_alone() {
        let policy = QualifyingPolicy::default();
        for kind in Kind::ALL {
            let opens = matches!(kind, Kind::Content | Kind::Call | Kind::Unsupported);
            assert_eq!(policy.qualifies(kind), opens, "{kind:?}");
        }
    }

    #[test]
    fn what_came_before_onboarding_and_what_the_business_wrote_open_nothing_whatever_is_set() {
        for name in ["history", "media_placeholder", "before_onboarding", "echo"] {
            let error = QualifyingPolicy::default().with(name, true).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(name) && told.contains(COEXISTENCE), "{told}");
        }
    }

    #[test]
    fn each_undocumented_row_and_only_those_can_be_overridden() {
        for rule in &RULES {
            let policy = QualifyingPolicy::default();
            assert_eq!(policy.with(rule.name, rule.qualifies), Ok(policy));
            let changed = policy.with(rule.name, !rule.qualifies);
            if rule.is_overridable() {
                let changed = changed.unwrap();
                for other in Kind::ALL {
                    let differs = changed.qualifies(other) != policy.qualifies(other);
                    assert_eq!(differs, other == rule.kind, "{} {other:?}", rule.name);
                }
            } else {
                assert_eq!(changed, Err(OverrideError::Documented { rule }));
            }
        }
        let told = QualifyingPolicy::default()
            .with("statuses", true)
            .unwrap_err()
            .to_string();
        assert!(told.contains("`statuses`") && told.contains("reaction, edit"));
    }

    #[test]
    fn the_operators_page_shows_the_table_as_it_is() {
        let page = include_str!("../../../../docs/operate/windows.md");
        let rows: Vec<&str> = page
            .lines()
            .skip_while(|line| !line.starts_with("| event |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let expected: Vec<String> = RULES
            .iter()
            .map(|rule| {
                let opens = if rule.qualifies { "yes" } else { "no" };
                let overridable = if rule.is_overridable() { "yes" } else { "no" };
                format!(
                    "| `{}` | {opens} | {overridable} | {} |",
                    rule.name, rule.source
                )
            })
            .collect();
        assert_eq!(rows, expected, "{}", expected.join("\n"));
    }
}
