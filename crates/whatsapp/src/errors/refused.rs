//! What a refusal of a management call means to whoever made it: sign-up, registration, numbers,
//! migration.
//!
//! The same codes as in [`super::rules`], read for another question: not what becomes of a
//! message, but what a person or a saga can do next (Meta: error codes, registration and
//! migration).

use super::NO_CODE;

/// Why Meta refused a management call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// The token is not valid or has ended (0, 102, 104, 190).
    Token,
    /// The app's id or secret is wrong (101).
    App,
    /// The token may not do this, or not to this object (3, 10, 200 to 299, 131005).
    Permission,
    /// There is nothing by that id, or the number was deleted or has moved away (33; 100 with 33;
    /// 803).
    NotThere,
    /// The call itself is wrong (100, 131008, 131009).
    Invalid,
    /// The code of a sign-up was exchanged already or waited more than 30 seconds: the business
    /// signs up again (100 with 36007 or 36009).
    SignUpCode,
    /// Too many calls (4, 17, 32, 613, 80007, 80008): later the same call is taken.
    TooManyCalls,
    /// Meta has a fault of its own (1, 2, 131000, 131016, 133004). The call may have had its
    /// effect.
    Unavailable,
    /// The number is being changed and takes nothing for about a minute (131057).
    Maintenance,
    /// An earlier deregistration did not finish: deregister again (133000).
    HalfDeregistered,
    /// The two-step PIN is not the number's (133005; 131031 in older answers counts as
    /// [`Self::Locked`]).
    PinWrong,
    /// The number has to prove again whose it is, with a code (133006).
    VerifyFirst,
    /// The two-step PIN was wrong too often; wait (133008).
    PinGuessedTooOften,
    /// The two-step PIN was entered too fast; wait a little (133009).
    PinTooFast,
    /// The number is not registered (133010).
    NotRegistered,
    /// The number was deleted minutes ago; wait five minutes (133015).
    DeletedMomentsAgo,
    /// Registered and deregistered more than ten times in 72 hours: locked for 72 hours (133016).
    RegistrationLocked,
    /// A verification code was asked for too often or too soon (136024).
    CodeTooSoon,
    /// The verification code is not the one that was sent, or no longer (136025).
    CodeWrong,
    /// The account or the business is blocked or locked (368, 131031).
    Locked,
    /// There is something wrong with the payment method (131042).
    Payment,
    /// The number is in this account already (2388012).
    NumberThere,
    /// The number cannot be verified for a migration: there is none under way for it (2388091,
    /// 2388093).
    NoMigration,
    /// The number cannot be added or moved as things stand: what Meta asks for beforehand is
    /// missing (2388103, and other codes of its family that have no name here).
    NotEligible,
    /// Something else; see its rule.
    Other,
}

/// Returns what a management call's refusal means.
pub fn refused(code: i64, subcode: Option<i64>) -> Refused {
    match code {
        0 | 102 | 104 | 190 => Refused::Token,
        101 => Refused::App,
        3 | 10 | 200..=299 | 131_005 => Refused::Permission,
        33 | 803 => Refused::NotThere,
        100 if subcode == Some(33) => Refused::NotThere,
        100 if matches!(subcode, Some(36_007 | 36_009)) => Refused::SignUpCode,
        100 | 131_008 | 131_009 => Refused::Invalid,
        4 | 17 | 32 | 613 | 80_007 | 80_008 => Refused::TooManyCalls,
        NO_CODE | 1 | 2 | 131_000 | 131_016 | 133_004 => Refused::Unavailable,
        131_057 => Refused::Maintenance,
        133_000 => Refused::HalfDeregistered,
        133_005 => Refused::PinWrong,
        133_006 => Refused::VerifyFirst,
        133_008 => Refused::PinGuessedTooOften,
        133_009 => Refused::PinTooFast,
        133_010 => Refused::NotRegistered,
        133_015 => Refused::DeletedMomentsAgo,
        133_016 => Refused::RegistrationLocked,
        136_024 => Refused::CodeTooSoon,
        136_025 => Refused::CodeWrong,
        368 | 131_031 => Refused::Locked,
        131_042 => Refused::Payment,
        2_388_012 => Refused::NumberThere,
        2_388_091 | 2_388_093 => Refused::NoMigration,
        2_388_000..=2_388_999 => Refused::NotEligible,
        _ => Refused::Other,
    }
}

impl Refused {
    /// Returns what it says and what helps, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Token => "the access token is not valid or has ended: a new one is needed",
            Self::App => "the app's id or secret is wrong",
            Self::Permission => "the token may not do this, or not to this object",
            Self::NotThere => "there is nothing by that id, or it was deleted or has moved away",
            Self::Invalid => "the call is wrong",
            Self::SignUpCode => "the sign-up's code was used or is too old: sign up again",
            Self::TooManyCalls => "too many calls: wait and try again",
            Self::Unavailable => "the platform has a fault of its own: look, then try again",
            Self::Maintenance => "the number is being changed: try again in a minute",
            Self::HalfDeregistered => {
                "an earlier deregistration did not finish: deregister the number again"
            }
            Self::PinWrong => {
                "the two-step PIN is not the number's: bring the PIN it has, or let its owner \
                 reset it in WhatsApp Manager"
            }
            Self::VerifyFirst => "the number must be verified again with a code",
            Self::PinGuessedTooOften => "the two-step PIN was wrong too often: wait",
            Self::PinTooFast => "the two-step PIN was entered too fast: wait a little",
            Self::NotRegistered => "the number is not registered",
            Self::DeletedMomentsAgo => "the number was deleted minutes ago: wait five minutes",
            Self::RegistrationLocked => {
                "the number was registered and deregistered too often: locked for 72 hours"
            }
            Self::CodeTooSoon => "a verification code was asked for too often or too soon: wait",
            Self::CodeWrong => "the verification code is not the one that was sent, or too old",
            Self::Locked => "the account or the business is blocked or locked",
            Self::Payment => "there is something wrong with the payment method",
            Self::NumberThere => "the number is in this account already",
            Self::NoMigration => "no migration of this number is under way",
            Self::NotEligible => {
                "the number cannot be added or moved as things stand: a precondition is missing"
            }
            Self::Other => "the platform refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules;
    use super::*;

    #[test]
    fn each_code_of_registration_and_migration_has_a_name_to_branch_on() {
        for (code, expected) in [
            (133_000, Refused::HalfDeregistered),
            (133_004, Refused::Unavailable),
            (133_005, Refused::PinWrong),
            (133_006, Refused::VerifyFirst),
            (133_008, Refused::PinGuessedTooOften),
            (133_009, Refused::PinTooFast),
            (133_010, Refused::NotRegistered),
            (133_015, Refused::DeletedMomentsAgo),
            (133_016, Refused::RegistrationLocked),
            (136_024, Refused::CodeTooSoon),
            (136_025, Refused::CodeWrong),
            (2_388_012, Refused::NumberThere),
            (2_388_091, Refused::NoMigration),
            (2_388_093, Refused::NoMigration),
            (2_388_103, Refused::NotEligible),
            (2_388_299, Refused::NotEligible),
            (999, Refused::Other),
        ] {
            assert_eq!(refused(code, None), expected, "{code}");
        }
    }

    #[test]
    fn a_subcode_tells_a_missing_object_and_a_stale_sign_up_from_a_wrong_call() {
        assert_eq!(refused(100, None), Refused::Invalid);
        assert_eq!(refused(100, Some(33)), Refused::NotThere);
        assert_eq!(refused(100, Some(36_007)), Refused::SignUpCode);
        assert_eq!(refused(100, Some(36_009)), Refused::SignUpCode);
    }

    #[test]
    fn what_halts_a_token_halts_no_number() {
        for row in rules() {
            let code = *row.codes.start();
            let is_token = row.scope == super::super::Scope::Token;
            assert_eq!(refused(code, None) == Refused::Token, is_token, "{code}");
        }
    }

    #[test]
    fn meanings_are_sentences_for_people() {
        for reason in [Refused::Other, Refused::PinWrong, Refused::NotEligible] {
            let told = reason.meaning();
            assert!(!told.ends_with('.') && !told.contains("  "), "{told}");
        }
    }
}
