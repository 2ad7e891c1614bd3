//! Ids of uploaded files: they say for themselves which number they are good for, and until when,
//! so that a stale or foreign one is refused before anything is durable, and nothing needs to be
//! kept. They are no secrets and grant nothing: the platform looks at its own id only.

use std::fmt;

use jiff::Timestamp;

/// Longest id of the platform's that is believed.
const ID_LEN_MAX: usize = 64;

/// A file at the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadId {
    /// The number that may send it, by the platform's id.
    pub(crate) phone_number_id: String,
    /// When the platform forgets it.
    pub(crate) expires_at: Timestamp,
    /// The platform's id of it.
    pub(crate) provider_media_id: String,
}

impl UploadId {
    /// Reads an id; `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("up-")?.splitn(3, '-');
        let (number, until, media) = (parts.next()?, parts.next()?, parts.next()?);
        let is_id = |text: &str| {
            (1..=ID_LEN_MAX).contains(&text.len())
                && text.bytes().all(|it| it.is_ascii_alphanumeric())
        };
        let expires_at = Timestamp::from_second(until.parse().ok()?).ok()?;
        (is_id(number) && is_id(media)).then(|| Self {
            phone_number_id: number.to_owned(),
            expires_at,
            provider_media_id: media.to_owned(),
        })
    }

    /// Returns why a number cannot send it at a time; `None` if it can.
    pub(crate) fn problem(&self, phone_number_id: &str, at: Timestamp) -> Option<&'static str> {
        if self.phone_number_id != phone_number_id {
            Some("was uploaded for another number")
        } else if self.expires_at <= at {
            Some("is forgotten by the platform by then: upload the file again")
        } else {
            None
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = self.expires_at.as_second();
        write!(
            out,
            "up-{}-{until}-{}",
            self.phone_number_id, self.provider_media_id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_id_reads_as_it_was_written() {
        let upload = UploadId {
            phone_number_id: "700100".to_owned(),
            expires_at: at(1_800_000_000),
            provider_media_id: "4490709327384033".to_owned(),
        };
        let text = upload.to_string();
        assert_eq!(text, "up-700100-1800000000-4490709327384033");
        assert_eq!(UploadId::parse(&text), Some(upload));
    }

    #[test]
    fn what_is_no_id_is_none() {
        for text in [
            "",
            "4490",
            "up-1-2",
            "up--2-3",
            "up-1-x-3",
            "up-1-2-",
            "up-1-2-3/4",
            "up-1-2-3-4",
        ] {
            assert_eq!(UploadId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn it_is_good_for_its_number_and_its_time() {
        let upload = UploadId::parse("up-700-1000-9").unwrap();
        assert_eq!(upload.problem("700", at(999)), None);
        assert!(
            upload
                .problem("700", at(1000))
                .unwrap()
                .contains("forgotten")
        );
        assert!(
            upload
                .problem("701", at(999))
                .unwrap()
                .contains("another number")
        );
    }
}
