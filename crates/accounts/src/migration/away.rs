//! Numbers that have gone: recorded by hand, or seen at the platform.
//!
//! A refused call and a webhook are a suspicion; only what the platform answers when it is asked
//! about the number is taken for a fact. A number that is on its way here has not gone anywhere.

use casement_event::v1;
use casement_whatsapp::errors::Refused;
use casement_whatsapp::manage::Number;

use super::number;
use crate::book::{Book, BookError};
use crate::decide::{Authority, Refusal};
use crate::platform::{Leave, Platform, PlatformError};

/// Stands on what the platform told.
const TELLER: &str = "platform";

/// The platform's word for a number that moved to another account (Meta: phone numbers, status).
const MIGRATED: &str = "MIGRATED";

/// What shows that a number has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Somebody said so.
    ByHand,
    /// The platform shows the status of a number that moved.
    StatusMigrated,
    /// The platform knows no number by its id, and its account lists it no more.
    NumberGone,
}

impl Evidence {
    /// Returns the stable word for programs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ByHand => "RECORDED_BY_HAND",
            Self::StatusMigrated => "STATUS_MIGRATED",
            Self::NumberGone => "NUMBER_GONE",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::ByHand => "",
            Self::StatusMigrated => "The platform shows that the number moved to another account.",
            Self::NumberGone => {
                "The platform knows no number by its id, and its business account lists it no more."
            }
        }
    }
}

/// Looks at what the platform answered about a number, and records that it has gone if the answer,
/// and its account, show that. Returns whether it has.
pub(crate) async fn suspect(
    book: &Book,
    platform: &Platform,
    leave: &Leave,
    account: &v1::Number,
    answer: &Result<Number, PlatformError>,
) -> Result<bool, BookError> {
    if account.moving.is_some() || account.migrate_away_time.is_some() {
        return Ok(false);
    }
    let evidence = match answer {
        Ok(number) if number.status == MIGRATED => Evidence::StatusMigrated,
        Err(PlatformError::Call(error)) if error.refused() == Some(Refused::NotThere) => {
            if is_listed(platform, leave, account).await {
                return Ok(false);
            }
            Evidence::NumberGone
        }
        _ => return Ok(false),
    };
    let cause = book.cause(TELLER);
    let mut desk = book.desk().await?;
    let recorded = desk
        .settle(&cause, |ledger| {
            // It may have moved here since it was asked about.
            let present = ledger.number(&account.number);
            let is_other = present.is_none_or(|it| it.phone_number_id != account.phone_number_id);
            if is_other {
                return Ok(None);
            }
            let (digits, authority) = (&account.number, Authority::Every);
            let reason = evidence.reason();
            number::away(
                ledger,
                digits,
                reason,
                evidence.as_str(),
                &authority,
                &cause,
            )
        })
        .await;
    match recorded {
        Ok(is_written) => Ok(is_written),
        // It is on its way here.
        Err(BookError::Refused(Refusal::Migration(_))) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the number's account has it, or does not say.
async fn is_listed(platform: &Platform, leave: &Leave, account: &v1::Number) -> bool {
    match platform.numbers(leave, &account.waba_id).await {
        Ok(numbers) => numbers
            .iter()
            .any(|number| number.e164().trim_start_matches('+') == account.number),
        // The account is gone with it; whatever else is wrong says nothing.
        Err(PlatformError::Call(error)) => error.refused() != Some(Refused::NotThere),
        Err(_) => true,
    }
}
