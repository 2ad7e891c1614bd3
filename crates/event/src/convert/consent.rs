//! What a customer allows, to and from what is stored.

use casement_domain::consent::{Channel, Choice, Consent, Provenance, Scope, Topic};
use casement_proto::events::v1;

use super::{ConvertError, required_instant, timestamp};

/// The stored word for marketing; the empty one stands for everything.
const MARKETING: &str = "marketing";

/// Returns a consent as stored, one entry a topic.
pub fn consents(of: &Consent) -> Vec<v1::Consent> {
    of.choices()
        .map(|(topic, choice)| v1::Consent {
            channel: match topic.channel {
                Channel::Whatsapp => v1::Channel::Whatsapp,
                Channel::Sms => v1::Channel::Sms,
            }
            .into(),
            purpose: match topic.scope {
                Scope::Everything => String::new(),
                Scope::Marketing => MARKETING.to_owned(),
            },
            allowed: !choice.is_refused,
            provenance: choice.provenance.source.clone(),
            time: Some(timestamp(choice.at)),
            wording: choice.provenance.wording.clone(),
            provider_message_hash: choice.provenance.reference.clone(),
        })
        .collect()
}

/// Reads a consent. An entry that is not understood fails the whole: it may be a refusal.
pub fn read(stored: &[v1::Consent]) -> Result<Consent, ConvertError> {
    stored.iter().map(entry).collect()
}

fn entry(stored: &v1::Consent) -> Result<(Topic, Choice), ConvertError> {
    let unusable = |field, problem: String| ConvertError::Unusable { field, problem };
    let channel = match stored.channel() {
        v1::Channel::Whatsapp => Channel::Whatsapp,
        v1::Channel::Sms => Channel::Sms,
        v1::Channel::Unspecified => {
            let problem = format!("channel {} is not known", stored.channel);
            return Err(unusable("channel", problem));
        }
    };
    let scope = match stored.purpose.as_str() {
        "" => Scope::Everything,
        MARKETING => Scope::Marketing,
        other => return Err(unusable("purpose", format!("`{other}` is not known"))),
    };
    let choice = Choice {
        at: required_instant("time", stored.time.as_ref())?,
        is_refused: !stored.allowed,
        provenance: Provenance {
            source: stored.provenance.clone(),
            wording: stored.wording.clone(),
            reference: stored.provider_message_hash.clone(),
        },
    };
    Ok((Topic { channel, scope }, choice))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_consent_reads_back_as_it_was_written() {
        let choice = |second, is_refused| Choice {
            at: Timestamp::from_second(second).unwrap(),
            is_refused,
            provenance: Provenance {
                source: Provenance::SMS_KEYWORD.to_owned(),
                wording: "stop".to_owned(),
                reference: "abc".to_owned(),
            },
        };
        let all: Consent = [
            (Topic::SMS, choice(1, true)),
            (Topic::WHATSAPP_MARKETING, choice(2, false)),
        ]
        .into_iter()
        .collect();
        for consent in [Consent::default(), all] {
            assert_eq!(read(&consents(&consent)).unwrap(), consent);
        }
    }

    #[test]
    fn what_is_not_understood_is_never_taken_for_a_permission() {
        let sound = v1::Consent {
            channel: v1::Channel::Sms.into(),
            time: Some(timestamp(Timestamp::UNIX_EPOCH)),
            ..v1::Consent::default()
        };
        assert!(read(std::slice::from_ref(&sound)).is_ok());
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
            assert!(read(&[broken]).is_err());
        }
    }
}
