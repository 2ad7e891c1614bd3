//! What a stored secret is called: its brand, and a name within it.

use std::fmt;

use casement_domain::id::BrandId;

/// Longest name within a brand.
const LEN_MAX: usize = 64;

/// The name of a stored secret, written `<brand>/<name>`: what is one brand's is no other's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName {
    brand: String,
    name: String,
}

/// A text names no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// There is no brand, or none that can be one.
    #[error("must be `<brand>/<name>`")]
    Brand,
    /// The name is not one.
    #[error("name must have 1 to {LEN_MAX} characters: a to z, 0 to 9 and `-`")]
    Name,
}

impl SecretName {
    /// Names a secret of a brand.
    ///
    /// # Errors
    /// One of them cannot be a name.
    pub fn new(brand: &str, name: &str) -> Result<Self, BadName> {
        let brand = BrandId::parse(brand).map_err(|_| BadName::Brand)?;
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = (1..=LEN_MAX).contains(&name.len()) && name.bytes().all(is_plain);
        if !is_name {
            return Err(BadName::Name);
        }
        Ok(Self {
            brand: brand.to_string(),
            name: name.to_owned(),
        })
    }

    /// Reads `<brand>/<name>`.
    ///
    /// # Errors
    /// The text is not of that form.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let (brand, name) = text.split_once('/').ok_or(BadName::Brand)?;
        Self::new(brand, name)
    }

    /// Returns whose it is.
    pub fn brand(&self) -> &str {
        &self.brand
    }

    /// Returns its name within the brand.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns where it is stored.
    pub(crate) fn subject(&self) -> String {
        casement_event::subject::secret(&self.brand, &self.name)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.brand, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_what_could_be_two_subjects_is_none() {
        let name = SecretName::parse("shop/token-106").unwrap();
        assert_eq!((name.brand(), name.name()), ("shop", "token-106"));
        assert_eq!(SecretName::parse(&name.to_string()), Ok(name));
        for bad in [
            "token", "/token", "shop/", "shop/a.b", "shop/a/b", "shop/*", "shop/A",
        ] {
            assert!(SecretName::parse(bad).is_err(), "{bad}");
        }
    }
}
