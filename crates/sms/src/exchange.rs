//! One request and its answer, as every gateway's client makes it.

use std::time::Duration;

use casement_shell::http::answer;
use reqwest::{StatusCode, Url};

use crate::outcome::{Outcome, RESPONSE_BYTES_MAX};

/// What a gateway answered, before anybody has read it.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    /// How long it asks to wait.
    pub(crate) retry_after: Option<Duration>,
    /// The body; empty if it broke off and the headers refuse.
    pub(crate) body: Vec<u8>,
}

/// Makes a request, and returns its answer or what its absence means for the message.
///
/// `refuses` says which statuses leave no doubt that the message was not taken.
pub(crate) async fn exchange(
    http: &reqwest::Client,
    url: &Url,
    request: reqwest::Request,
    refuses: impl FnOnce(StatusCode) -> bool,
) -> Result<Answered, Outcome> {
    let response = http.execute(request).await;
    let response = response.map_err(|error| Outcome::of_error(&error, url))?;
    let status = response.status();
    let retry_after = answer::retry_after(response.headers());
    let body = match answer::read(response, RESPONSE_BYTES_MAX).await {
        Ok(body) => body,
        // Headers that refuse are enough: what is missing of the text does not matter.
        Err(_) if refuses(status) => Vec::new(),
        Err(error) => {
            return Err(Outcome::Unknown {
                reason: error.to_string(),
            });
        }
    };
    Ok(Answered {
        status,
        retry_after,
        body,
    })
}
