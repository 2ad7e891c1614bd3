//! What stands in a link's subject instead of the identifier: a keyed hash of it.

use casement_domain::customer::Identifier;
use casement_domain::id::PortfolioId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// Makes subject tokens from identifiers. Keyed, so that subjects tell nothing.
///
/// The key can never change once links are stored: all roles need the same one.
#[derive(Debug, Clone)]
pub struct Tokens {
    key: SecretString,
}

impl Tokens {
    /// Takes the key.
    pub fn new(key: SecretString) -> Self {
        Self { key }
    }

    /// Returns the token: 32 hexadecimal digits.
    pub fn token(&self, portfolio: &PortfolioId, identifier: &Identifier) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose_secret().as_bytes())
            .expect("HMAC takes keys of any length");
        for part in [
            portfolio.as_str(),
            identifier.kind.as_str(),
            &identifier.value,
        ] {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part.as_bytes());
        }
        hex::encode(&mac.finalize().into_bytes()[..16])
    }
}

#[cfg(test)]
mod tests {
    use casement_domain::customer::Kind;

    use super::*;

    #[test]
    fn tokens_never_change_and_depend_on_key_portfolio_and_kind() {
        let token = |key: &str, portfolio: &str, kind| {
            Tokens::new(key.to_owned().into()).token(
                &PortfolioId::parse(portfolio).unwrap(),
                &Identifier {
                    kind,
                    value: "15550001111".to_owned(),
                },
            )
        };
        let known = token("k", "p", Kind::Phone);
        assert_eq!(known, "7dceb94556eb8515fdc68049347c8b7b");
        assert_ne!(known, token("other", "p", Kind::Phone));
        assert_ne!(known, token("k", "q", Kind::Phone));
        assert_ne!(known, token("k", "p", Kind::UserId));
    }
}
