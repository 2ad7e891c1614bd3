//! What a customer allows, to and from what is stored.

use casement_domain::consent::{Channel, Choice, Consent, Provenance, Scope, Topic};
use casement_proto::events::v1;
use jiff::{SignedDuration, Timestamp};

use super::{ConvertError, instant, required_instant, timestamp};

/// Longest wording, in characters.
const WORDING_CHARS_MAX: usize = 2_000;

/// Longest of the other texts about an opt-in, in characters.
const TEXT_CHARS_MAX: usize = 256;

/// How far ahead of ours the clock of whoever tells a time may be.
const AHEAD_MAX: SignedDuration = SignedDuration::from_secs(60);

/// What stands before the words of [`v1::ConsentSource`].
const SOURCE_PREFIX: &str = "CONSENT_SOURCE_";

/// What an assertion on a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asserted {
    /// The channels that it is for.
    pub channels: Vec<Channel>,
    /// What the customer said, and when.
    pub choice: Choice,
    /// It stands in the customer's record, too.
    pub is_recorded: bool,
}

/// Returns the words in force as stored, one entry a topic.
pub fn consents(of: &Consent) -> Vec<v1::Consent> {
    of.choices().map(stored).collect()
}

/// Returns what is known besides the words in force, as stored.
pub fn others(of: &Consent) -> Vec<v1::Consent> {
    of.others().map(stored).collect()
}

fn stored((topic, choice): (Topic, &Choice)) -> v1::Consent {
    let provenance = choice.provenance.clone();
    v1::Consent {
        channel: channel(topic.channel).into(),
        purpose: purpose(topic.scope).to_owned(),
        allowed: !choice.is_refused,
        provenance: provenance.source,
        time: Some(timestamp(choice.at)),
        wording: provenance.wording,
        provider_message_hash: provenance.reference,
        wording_version: provenance.wording_version,
        language: provenance.language,
        evidence: provenance.evidence,
        recorded_by: provenance.recorded_by,
    }
}

/// Reads words. One that is not understood fails the whole: it may be a refusal.
pub fn read<'a>(
    stored: impl IntoIterator<Item = &'a v1::Consent>,
) -> Result<Consent, ConvertError> {
    stored.into_iter().map(entry).collect()
}

/// Reads all that a record says is known.
pub fn read_record(stored: &v1::ConsentRecorded) -> Result<Consent, ConvertError> {
    read(stored.consents.iter().chain(&stored.also))
}

fn entry(stored: &v1::Consent) -> Result<(Topic, Choice), ConvertError> {
    let unusable = |field, problem: String| ConvertError::Unusable { field, problem };
    let channel = read_channel(stored.channel()).ok_or_else(|| {
        let problem = format!("channel {} is not known", stored.channel);
        unusable("channel", problem)
    })?;
    let scope = read_purpose(&stored.purpose).ok_or_else(|| {
        let problem = format!("`{}` is not known", stored.purpose);
        unusable("purpose", problem)
    })?;
    let choice = Choice {
        at: required_instant("time", stored.time.as_ref())?,
        is_refused: !stored.allowed,
        provenance: Provenance {
            source: stored.provenance.clone(),
            wording: stored.wording.clone(),
            reference: stored.provider_message_hash.clone(),
            wording_version: stored.wording_version.clone(),
            language: stored.language.clone(),
            evidence: stored.evidence.clone(),
            recorded_by: stored.recorded_by.clone(),
        },
    };
    Ok((Topic { channel, scope }, choice))
}

/// Returns a channel as stored.
pub fn channel(of: Channel) -> v1::Channel {
    match of {
        Channel::Whatsapp => v1::Channel::Whatsapp,
        Channel::Sms => v1::Channel::Sms,
    }
}

/// Reads a channel; `None` if none was stored.
pub fn read_channel(stored: v1::Channel) -> Option<Channel> {
    match stored {
        v1::Channel::Whatsapp => Some(Channel::Whatsapp),
        v1::Channel::Sms => Some(Channel::Sms),
        v1::Channel::Unspecified => None,
    }
}

/// Returns the stored word for a scope; the empty one stands for everything.
pub fn purpose(of: Scope) -> &'static str {
    match of {
        Scope::Everything => "",
        Scope::Marketing => "marketing",
        Scope::Utility => "utility",
        Scope::Authentication => "authentication",
        Scope::Service => "service",
    }
}

/// Reads a scope; `None` if the word is not known.
pub fn read_purpose(stored: &str) -> Option<Scope> {
    let mut scopes = Scope::ALL.into_iter();
    scopes.find(|scope| purpose(*scope) == stored)
}

/// Returns the word by which a source stands in a provenance; `None` if none was given.
pub fn source(of: v1::ConsentSource) -> Option<&'static str> {
    let is_given = of != v1::ConsentSource::Unspecified;
    is_given.then(|| of.as_str_name().trim_start_matches(SOURCE_PREFIX))
}

/// Reads the word of a source; unspecified for what was heard and not recorded.
pub fn read_source(word: &str) -> v1::ConsentSource {
    v1::ConsentSource::from_str_name(&format!("{SOURCE_PREFIX}{word}")).unwrap_or_default()
}

/// Returns a time as consent counts it: in whole seconds, as the platform tells the time of what
/// customers write. Of an opt-in and a refusal within one second, the refusal counts.
pub fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Returns what is wrong with an assertion, each with its field. What else is recorded about
/// consent is checked as one, too.
pub fn problems(of: &v1::ConsentAssertion, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    let mut problem = |field, what: &str| problems.push((field, what.to_owned()));
    if v1::ConsentSource::try_from(of.source).is_err() {
        problem("source", "is no known source");
    } else if source(of.source()).is_none() {
        problem("source", "say where it comes from, such as WEB_FORM");
    }
    match instant("time", of.time.as_ref()) {
        Err(error) => problem("time", &error.to_string()),
        Ok(None) => problem("time", "say when the customer said so"),
        Ok(Some(at)) if at.duration_since(now) > AHEAD_MAX => problem("time", "is in the future"),
        Ok(Some(_)) => {}
    }
    for (field, text, chars_max) in [
        ("wording", &of.wording, WORDING_CHARS_MAX),
        ("wording_version", &of.wording_version, TEXT_CHARS_MAX),
        ("language", &of.language, TEXT_CHARS_MAX),
        ("evidence", &of.evidence, TEXT_CHARS_MAX),
    ] {
        if text.chars().count() > chars_max {
            problem(field, &format!("at most {chars_max} characters"));
        }
    }
    let is_known =
        |channel: &i32| v1::Channel::try_from(*channel).is_ok_and(|it| read_channel(it).is_some());
    if !of.channels.iter().all(is_known) {
        problem("channels", "name WHATSAPP or SMS, or none for both");
    }
    problems
}

/// Reads an assertion, as it was checked when it was accepted.
pub fn read_assertion(stored: &v1::ConsentAssertion) -> Result<Asserted, ConvertError> {
    let source = source(stored.source()).ok_or(ConvertError::Absent("source"))?;
    let named = stored.channels().filter_map(read_channel);
    let mut channels: Vec<Channel> = named.collect();
    if channels.is_empty() {
        channels = Channel::ALL.to_vec();
    }
    let choice = Choice {
        at: whole_second(required_instant("time", stored.time.as_ref())?),
        is_refused: false,
        provenance: Provenance {
            source: source.to_owned(),
            wording: stored.wording.clone(),
            wording_version: stored.wording_version.clone(),
            language: stored.language.clone(),
            evidence: stored.evidence.clone(),
            ..Provenance::default()
        },
    };
    Ok(Asserted {
        channels,
        choice,
        is_recorded: stored.record,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(second: i64, is_refused: bool, source: &str) -> Choice {
        Choice {
            at: Timestamp::from_second(second).unwrap(),
            is_refused,
            provenance: Provenance {
                source: source.to_owned(),
                wording: "stop".to_owned(),
                reference: "abc".to_owned(),
                wording_version: "v2".to_owned(),
                language: "de".to_owned(),
                evidence: "form 7".to_owned(),
                recorded_by: "ana".to_owned(),
            },
        }
    }

    #[test]
    fn a_consent_reads_back_as_it_was_written() {
        let (web, twice) = ("WEB_FORM", "DOUBLE_OPT_IN");
        let all: Consent = [
            (Topic::SMS, choice(1, true, Provenance::SMS_KEYWORD)),
            (Topic::WHATSAPP_MARKETING, choice(2, true, "OPERATOR")),
            (Topic::WHATSAPP_MARKETING, choice(3, false, twice)),
            (Topic::WHATSAPP_MARKETING, choice(4, false, web)),
        ]
        .into_iter()
        .collect();
        for consent in [Consent::default(), all] {
            let stored = v1::ConsentRecorded {
                consents: consents(&consent),
                also: others(&consent),
                ..v1::ConsentRecorded::default()
            };
            assert_eq!(stored.consents.len(), consent.choices().count());
            assert_eq!(read_record(&stored).unwrap(), consent);
        }
    }

    #[test]
    fn every_scope_and_source_has_a_word_of_its_own() {
        for scope in Scope::ALL {
            assert_eq!(read_purpose(purpose(scope)), Some(scope));
        }
        assert_eq!(read_purpose("surveys"), None);
        for number in 1..=11 {
            let known = v1::ConsentSource::try_from(number).unwrap();
            assert_eq!(read_source(source(known).unwrap()), known);
        }
        assert_eq!(source(v1::ConsentSource::Unspecified), None);
        assert_eq!(
            read_source(Provenance::SMS_KEYWORD),
            v1::ConsentSource::Unspecified
        );
    }

    #[test]
    fn an_assertion_is_for_all_channels_unless_it_names_one_and_counts_whole_seconds() {
        let stored = v1::ConsentAssertion {
            source: v1::ConsentSource::Paper.into(),
            time: Some(timestamp(Timestamp::new(7, 900_000_000).unwrap())),
            evidence: "scan 7".to_owned(),
            ..v1::ConsentAssertion::default()
        };
        let read = read_assertion(&stored).unwrap();
        assert_eq!(read.channels, Channel::ALL);
        assert_eq!(read.choice.at, Timestamp::from_second(7).unwrap());
        assert_eq!(read.choice.provenance.source, "PAPER");
        assert!(!read.choice.is_refused && !read.is_recorded);
        let one = v1::ConsentAssertion {
            channels: vec![v1::Channel::Sms.into()],
            ..stored.clone()
        };
        assert_eq!(read_assertion(&one).unwrap().channels, [Channel::Sms]);
        let nameless = v1::ConsentAssertion {
            source: 0,
            ..stored
        };
        assert!(read_assertion(&nameless).is_err());
    }

    #[test]
    fn what_is_missing_too_long_or_yet_to_come_is_named() {
        let now = Timestamp::from_second(1_000).unwrap();
        let at = |second| Some(timestamp(Timestamp::from_second(second).unwrap()));
        let sound = v1::ConsentAssertion {
            source: v1::ConsentSource::WebForm.into(),
            time: at(1_060),
            ..v1::ConsentAssertion::default()
        };
        assert_eq!(problems(&sound, now), []);
        let fields = |of: &v1::ConsentAssertion| -> Vec<&str> {
            problems(of, now)
                .into_iter()
                .map(|(field, _)| field)
                .collect()
        };
        assert_eq!(fields(&v1::ConsentAssertion::default()), ["source", "time"]);
        let wrong = v1::ConsentAssertion {
            source: 99,
            time: at(1_061),
            wording: "x".repeat(2_001),
            evidence: "x".repeat(257),
            channels: vec![0],
            ..sound
        };
        assert_eq!(
            fields(&wrong),
            ["source", "time", "wording", "evidence", "channels"]
        );
    }

    #[test]
    fn what_is_not_understood_is_never_taken_for_a_permission() {
        let sound = v1::Consent {
            channel: v1::Channel::Sms.into(),
            time: Some(timestamp(Timestamp::UNIX_EPOCH)),
            ..v1::Consent::default()
        };
        assert!(read([&sound]).is_ok());
        for broken in [
            v1::Consent {
                channel: 99,
                ..sound.clone()
            },
            v1::Consent {
                purpose: "surveys".to_owned(),
                ..sound.clone()
            },
            v1::Consent {
                time: None,
                ..sound.clone()
            },
        ] {
            assert!(read([&broken]).is_err());
        }
    }
}
