//! Every event that may stand on the log, and its type name.

use bytes::Bytes;
use casement_proto::events::v1;
use prost::Message as _;

/// A stored payload could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer Casement, or by somebody else.
    #[error("event type `{0}` is not known to this version")]
    UnknownType(String),
    /// The bytes are not a message of that type.
    #[error("payload is not a `{event_type}`")]
    Malformed {
        /// The type that the headers promised.
        event_type: String,
        /// What was wrong with the bytes.
        #[source]
        source: prost::DecodeError,
    },
}

macro_rules! events {
    ($($name:ident),* $(,)?) => {
        /// An event of the log. The variants are the messages of `casement.events.v1`.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the .proto files document each event")]
        pub enum Event {
            $($name(v1::$name),)*
        }

        impl Event {
            /// The type names of all events, in the order of the enum.
            pub const TYPES: &[&str] = &[$(concat!("casement.events.v1.", stringify!($name)),)*];

            /// Returns the type as it stands in `ce-type`: the full protobuf name.
            pub fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => concat!("casement.events.v1.", stringify!($name)),)*
                }
            }

            /// Returns the payload.
            pub fn encode(&self) -> Bytes {
                match self {
                    $(Self::$name(event) => event.encode_to_vec().into(),)*
                }
            }

            /// Reads a payload of the given type.
            pub fn decode(event_type: &str, payload: &[u8]) -> Result<Self, DecodeError> {
                let malformed =
                    |source| DecodeError::Malformed { event_type: event_type.to_owned(), source };
                match event_type.strip_prefix("casement.events.v1.") {
                    $(Some(stringify!($name)) => {
                        v1::$name::decode(payload).map(Self::$name).map_err(malformed)
                    })*
                    _ => Err(DecodeError::UnknownType(event_type.to_owned())),
                }
            }
        }

        $(impl From<v1::$name> for Event {
            fn from(event: v1::$name) -> Self {
                Self::$name(event)
            }
        })*
    };
}

events! {
    RawPack,
    InboundMessageReceived, InboundCallReceived, InboundSmsReceived,
    CustomerIdentityChanged, CustomerPreferenceReported, ThreadOwnerChanged, EchoReceived,
    HistoryImported,
    LateFact, MovedTo, CustomerMerged,
    WindowOpened, WindowExtended, WindowExpiring, WindowExpired, WindowCorrected,
    WindowRefused, WindowProven, CustomerAnswered, FreeEntryPointStarted,
    FreeEntryPointReported,
    NoteAdded, ConversationAssigned, ConversationMarkedRead, ConversationClosed, ConversationReopened,
    ConversationLabelled,
    MediaStored, MediaDeferred, MediaUnavailable,
    ForeignStatusReported, GroupEventReceived, WebhookUnrecognized, WebhookParked, AccountReported,
    AppContactReported,
    MessageRequested, MessageHeld, MessageReleased, MessageDeferred,
    AttemptStarted, AttemptAccepted, AttemptRejected, AttemptUnknown, AttemptAbandoned,
    DeliveryAdvanced, DeliveryContradicted, DeliveryOverdue, DoubleExposure, MessageBilled, SpendCounted,
    MessageEnded, MessageExpired, MessageCancelled,
    StatusReported,
    BrandRecorded, NumberRecorded, NumberPaused, NumberResumed, TemplateRecorded, TemplatesSynced, TemplateHeld,
    NumberHealthChanged, DowngradeRequested, DeregistrationAdvanced, RegistrationCounted,
    InteractionNotSupported,
    MigrationStarted, MigrationStepBegun, MigrationStepCompleted, MigrationStepFailed,
    MigrationStepOverdue, MigrationResumed, MigrationCompleted, MigrationCancelled,
    NumberMigratedAway, NumberReturned,
    SendsHalted, SendsResumed,
    ApplicationStarted, ApplicationUpdated, ApplicationInviteAccepted,
    BusinessVerificationChanged, ApplicationTermsSigned, ApplicationHandedOver,
    ApplicationActivated, ApplicationStepOverdue, ApplicationCancelled,
    CustomerLinked, ConsentRecorded, CustomerErased, ErasureAdvanced, MediaErased, CustomerExported,
    RawWebhookShown, DataShown, ReadModelsAsked, AccessRefused,
    DeadLetter, DeadLetterSettled, DeadLettersAsked, DeadLetterRetried, ParkedPostsReplayed,
    OnboardingAdvanced,
    WatchRaised, WatchCleared,
    LeaseTaken, ContentKeyStored, SecretStored, SecretDeleted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        let event = Event::from(v1::MessageCancelled {
            message_id: "15550001111-00000000000000000000000000000001".to_owned(),
            ..Default::default()
        });
        let read = Event::decode(event.event_type(), &event.encode()).unwrap();
        assert_eq!(read, event);
    }

    #[test]
    fn an_unknown_type_and_a_broken_payload_are_told_apart() {
        let unknown = Event::decode("casement.events.v1.Nonsense", &[]);
        assert!(matches!(unknown, Err(DecodeError::UnknownType(_))));
        let broken = Event::decode("casement.events.v1.MessageCancelled", &[0xff]);
        assert!(matches!(broken, Err(DecodeError::Malformed { .. })));
    }
}
