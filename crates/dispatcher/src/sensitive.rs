//! Content that nobody may find later, such as one-time codes.
//!
//! Each message has a key of its own. With it the content is encrypted, and only that stands in the
//! record. The key stands on another stream, wrapped by the dispatcher's own, and is erased when
//! the message is over. It is stored first, so that nothing is ever accepted that cannot be opened.
//!
//! This is how content is sealed and opened, and what may be told of it. Erasing what an end left
//! behind is the `keeper`'s.

pub(crate) mod keeper;
mod vault;

use std::borrow::Cow;

use casement_domain::id::MessageId;
use casement_domain::message::Message;
use casement_domain::routing::SmsSize;
use casement_event::v1;
use casement_event_log::{AppendError, Log, ReadError, content_keys};
use casement_proto::message::v1::SendMessageRequest;
use jiff::Timestamp;
use prost::Message as _;
use tonic::Status;
use zeroize::Zeroizing;

use vault::Unsealed;
pub(crate) use vault::Vault;

use crate::aggregate::Loaded;
use crate::answers::{internal, not_sealed};
use crate::engine::Engine;
use crate::grpc::Messages;
use crate::provider::{Answer, never_left};
use crate::{compose, request, stakes};

/// What is told instead of a provider's words, which may repeat what they are about.
const WITHHELD: &str = "Not kept, since the message is sensitive.";

/// Smallest length that content is padded to, in bytes.
const PADDED_LEN_MIN: usize = 512;

/// Content cannot be sealed or opened now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SensitiveError {
    /// There is no key of ours.
    #[error("no key for sensitive content is set: set dispatcher.sensitive_key")]
    Unset,
    /// The key that it was sealed under is not among ours.
    #[error(
        "sensitive content was sealed under a key that is not in dispatcher.sensitive_key any more: \
         put key {0} back below the others"
    )]
    Unknown(String),
    /// The keys could not be read.
    #[error("key of sensitive content could not be read")]
    Read(#[from] ReadError),
    /// The key could not be stored.
    #[error("key of sensitive content could not be stored")]
    Store(#[from] AppendError),
}

/// Seals the content of a fresh message, and stores the key. Returns where the key stands.
async fn seal(
    vault: &Vault,
    log: &Log,
    fresh: &mut v1::MessageRequested,
    id: &MessageId,
    asked: &SendMessageRequest,
    now: Timestamp,
) -> Result<u64, SensitiveError> {
    let content = fresh.content.take().unwrap_or_default();
    let size = compose::sms_text(&content).map(compose::sms_size);
    let plain = padded(&content);
    let (mut sealed, key) = vault.seal(id, &plain).ok_or(SensitiveError::Unset)?;
    if let Some(size) = size {
        size.encoding.clone_into(&mut sealed.sms_encoding);
        sealed.sms_segments = size.segments;
    }
    let digest = vault.digest(&sealed.master_key_id, id, &request::digest(asked));
    fresh.request_digest = digest.ok_or(SensitiveError::Unset)?;
    fresh.content = Some(outline(&content));
    fresh.sealed_content = Some(sealed);
    Ok(content_keys::store(log, id, key, now).await?)
}

/// What a message says, if it is sealed.
pub(crate) enum Opened {
    /// It is not.
    Plain,
    Content(Box<v1::Content>),
    /// Nothing opens it any more.
    Never,
}

impl Opened {
    /// Returns the message with what it says, which is for its call alone; `None` if nothing opens
    /// it any more.
    pub(crate) fn of(self, message: &Loaded) -> Option<Cow<'_, Loaded>> {
        match self {
            Self::Plain => Some(Cow::Borrowed(message)),
            Self::Content(content) => {
                let mut opened = message.clone();
                opened.request.content = Some(*content);
                Some(Cow::Owned(opened))
            }
            Self::Never => None,
        }
    }
}

/// Opens a message.
pub(crate) async fn open(
    vault: &Vault,
    log: &Log,
    message: &Loaded,
) -> Result<Opened, SensitiveError> {
    let Some(sealed) = &message.request.sealed_content else {
        return Ok(Opened::Plain);
    };
    let id = &message.context.id;
    for key in content_keys::read(log, id).await? {
        match vault.open(id, sealed, &key) {
            Unsealed::Opened(plain) => {
                if let Some(content) = unpadded(&plain) {
                    return Ok(Opened::Content(Box::new(content)));
                }
            }
            Unsealed::Unknown(master) => return Err(SensitiveError::Unknown(master)),
            Unsealed::Closed => {}
        }
    }
    Ok(Opened::Never)
}

/// The answer for a call whose content nothing opens any more.
pub(crate) fn never_opened() -> Answer {
    let text = "The key of its sensitive content is gone.";
    never_left(0, text, casement_domain::message::Refusal::Fail)
}

/// Returns whether a request asks for the message that is known under its id.
pub(crate) fn is_same(
    vault: &Vault,
    known: &Loaded,
    asked: &SendMessageRequest,
) -> Result<bool, SensitiveError> {
    let digest = request::digest(asked);
    let Some(sealed) = &known.request.sealed_content else {
        return Ok(known.request.request_digest == digest);
    };
    let master = &sealed.master_key_id;
    let keyed = vault.digest(master, &known.context.id, &digest);
    let keyed = keyed.ok_or_else(|| SensitiveError::Unknown(master.clone()))?;
    Ok(known.request.request_digest == keyed)
}

impl Messages {
    /// Refuses what could not be sealed.
    pub(crate) fn can_seal(&self, asked: &SendMessageRequest) -> Result<(), Status> {
        if asked.sensitive && !self.engine.vault.has_key() {
            return Err(not_sealed(&SensitiveError::Unset));
        }
        Ok(())
    }

    /// Seals a fresh message if it is sensitive, and returns where its key stands then.
    pub(crate) async fn seal(
        &self,
        fresh: &mut Loaded,
        asked: &SendMessageRequest,
        now: Timestamp,
    ) -> Result<Option<u64>, Status> {
        if !asked.sensitive {
            return Ok(None);
        }
        let Engine { vault, log, .. } = &*self.engine;
        let id = fresh.context.id.clone();
        let mut request = fresh.request.clone();
        let kept = seal(vault, log, &mut request, &id, asked, now).await;
        let kept = kept.map_err(|error| not_sealed(&error))?;
        *fresh = Loaded::fresh(request, id).map_err(|error| internal(&error))?;
        Ok(Some(kept))
    }

    /// Erases the key of a message that was not stored.
    pub(crate) async fn discard(&self, kept: Option<u64>) {
        let Some(sequence) = kept else { return };
        let erased = content_keys::erase_one(&self.engine.log, sequence).await;
        if let Err(error) = erased {
            tracing::warn!(error = %error, "key of a message that was not stored is not erased yet");
        }
    }
}

/// Erases what opens a message, if this is its end. What cannot be erased now is the `keeper`'s.
pub(crate) async fn forget(log: &Log, message: &Loaded, before: &Message) {
    let is_end = message.message.is_over() && !before.is_over();
    if message.request.sealed_content.is_none() || !is_end {
        return;
    }
    if let Err(error) = content_keys::erase(log, &message.context.id).await {
        tracing::warn!(
            message = %message.context.id, error = %error,
            "key of a sensitive message that is over is not erased yet"
        );
    }
}

/// Returns how large a sealed text is as SMS; `None` if it is not sealed, or not known.
pub(crate) fn sms_size(request: &v1::MessageRequested) -> Option<SmsSize> {
    let sealed = request.sealed_content.as_ref()?;
    let encoding = ["GSM-7", "UCS-2"]
        .into_iter()
        .find(|known| *known == sealed.sms_encoding)?;
    Some(SmsSize {
        encoding,
        segments: sealed.sms_segments,
        // How long the text is, is nobody's business.
        units: 0,
    })
}

/// Returns an answer without the provider's own words.
pub(crate) fn withheld(answer: Answer) -> Answer {
    match answer {
        Answer::Accepted { .. } => answer,
        Answer::Refused {
            error,
            refusal,
            told,
        } => {
            let error = v1::ProviderError {
                code: error.code,
                title: error.title,
                message: WITHHELD.to_owned(),
                ..v1::ProviderError::default()
            };
            Answer::Refused {
                error,
                refusal,
                told,
            }
        }
        Answer::Unknown { .. } => Answer::Unknown {
            reason: WITHHELD.to_owned(),
        },
    }
}

/// What may be told of content: enough to route by, and nothing that it says.
fn outline(of: &v1::Content) -> v1::Content {
    let free_form = of.free_form.as_ref().map(|_| v1::FreeForm {
        // Whether the customer is answered hangs on it.
        content: stakes::is_reaction(Some(of))
            .then(|| v1::free_form::Content::Reaction(v1::Reaction::default())),
        ..v1::FreeForm::default()
    });
    let template = of.template.as_ref().map(|template| {
        let is_body = |of: &&v1::TemplateComponent| of.r#type.eq_ignore_ascii_case("body");
        let bodies = template.components.iter().filter(is_body);
        v1::TemplateContent {
            name: template.name.clone(),
            language: template.language.clone(),
            // As many as the template takes, and what is in none of them.
            components: bodies
                .map(|body| v1::TemplateComponent {
                    r#type: "body".to_owned(),
                    parameters: vec![v1::TemplateParameter::default(); body.parameters.len()],
                    ..v1::TemplateComponent::default()
                })
                .collect(),
            ..v1::TemplateContent::default()
        }
    });
    let sms = of.sms.as_ref().map(|sms| v1::SmsContent {
        sender: sms.sender.clone(),
        ..v1::SmsContent::default()
    });
    v1::Content {
        free_form,
        template,
        sms,
    }
}

/// Content as bytes, with its length before it and as many zeros after it as make a power of two.
fn padded(content: &v1::Content) -> Zeroizing<Vec<u8>> {
    let len = content.encoded_len();
    let whole = (len + size_of::<u64>())
        .next_power_of_two()
        .max(PADDED_LEN_MIN);
    // At once as large as it will be: what is moved leaves itself behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(whole));
    bytes.extend_from_slice(&u64::try_from(len).unwrap_or(u64::MAX).to_le_bytes());
    bytes.extend_from_slice(&Zeroizing::new(content.encode_to_vec()));
    bytes.resize(whole, 0);
    bytes
}

fn unpadded(bytes: &[u8]) -> Option<v1::Content> {
    let (len, rest) = bytes.split_first_chunk::<{ size_of::<u64>() }>()?;
    let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
    v1::Content::decode(rest.get(..len)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> v1::Content {
        let parameter = v1::TemplateParameter {
            name: String::new(),
            value: Some(v1::template_parameter::Value::Text(text.to_owned())),
        };
        let component = |kind: &str| v1::TemplateComponent {
            r#type: kind.to_owned(),
            parameters: vec![parameter.clone()],
            ..v1::TemplateComponent::default()
        };
        v1::Content {
            free_form: Some(v1::FreeForm {
                text: text.to_owned(),
                ..v1::FreeForm::default()
            }),
            template: Some(v1::TemplateContent {
                name: "code".to_owned(),
                language: "en".to_owned(),
                components: vec![component("BODY"), component("button")],
                ..v1::TemplateContent::default()
            }),
            sms: Some(v1::SmsContent {
                text: text.to_owned(),
                sender: "ACME".to_owned(),
            }),
        }
    }

    #[test]
    fn an_outline_says_which_template_it_is_and_how_much_it_takes_and_nothing_else() {
        let outline = outline(&content("493817"));
        let template = outline.template.as_ref().unwrap();
        assert_eq!(
            (template.name.as_str(), template.language.as_str()),
            ("code", "en")
        );
        assert_eq!(template.components.len(), 1);
        assert_eq!(compose::template(template, None).given_parameters, 1);
        assert_eq!(outline.sms.as_ref().unwrap().sender, "ACME");
        assert!(outline.free_form.is_some());
        let bytes = outline.encode_to_vec();
        assert!(!String::from_utf8_lossy(&bytes).contains("493817"));
    }

    #[test]
    fn an_outline_of_a_reaction_is_one() {
        for reaction in [
            v1::free_form::Content::Reaction(v1::Reaction {
                emoji: "👍".to_owned(),
                ..v1::Reaction::default()
            }),
            v1::free_form::Content::RawJson(r#"{"type": "reaction"}"#.to_owned()),
        ] {
            let free_form = Some(v1::FreeForm {
                content: Some(reaction),
                ..v1::FreeForm::default()
            });
            let content = v1::Content {
                free_form,
                ..v1::Content::default()
            };
            assert!(stakes::is_reaction(Some(&outline(&content))));
        }
        assert!(!stakes::is_reaction(Some(&outline(&content("x")))));
    }

    #[test]
    fn padding_hides_how_long_a_text_is_and_is_taken_off_again() {
        let long = "x".repeat(5_000);
        for text in [
            "",
            "1",
            "493817",
            "a code of many words, longer than others",
            &long,
        ] {
            let bytes = padded(&content(text));
            assert!(bytes.len().is_power_of_two());
            assert_eq!(unpadded(&bytes), Some(content(text)));
        }
        assert_eq!(
            padded(&content("1")).len(),
            padded(&content("493817")).len()
        );
        assert_eq!(unpadded(&[1, 2]), None);
        assert_eq!(unpadded(&[255; 64]), None);
    }

    #[test]
    fn what_a_provider_says_is_not_kept_but_its_code_is() {
        let refused = withheld(Answer::Refused {
            error: v1::ProviderError {
                code: 132_000,
                title: "parameters do not fit".to_owned(),
                message: "493817 is one too many".to_owned(),
                details: "493817".to_owned(),
                ..v1::ProviderError::default()
            },
            refusal: casement_domain::message::Refusal::Fail,
            told: None,
        });
        let unknown = withheld(Answer::Unknown {
            reason: "493817 and nothing more came back".to_owned(),
        });
        let told = format!("{refused:?} {unknown:?}");
        assert!(!told.contains("493817"), "{told}");
        assert!(
            told.contains("132000") && told.contains("do not fit"),
            "{told}"
        );
    }
}
