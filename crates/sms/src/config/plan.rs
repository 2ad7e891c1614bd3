//! From the settings of a generic gateway to how it is called.

use reqwest::header::HeaderName;
use reqwest::{Method, Url};

use super::{CodeLists, Format, GenericGateway};
use crate::generic::{Body, Codes, Plan, Success, Text};

impl From<&CodeLists> for Codes {
    fn from(lists: &CodeLists) -> Self {
        Self {
            retry: lists.retry.clone(),
            retry_once: lists.retry_once.clone(),
            absent: lists.absent.clone(),
            unreachable: lists.unreachable.clone(),
            opt_out: lists.opt_out.clone(),
            fail: lists.fail.clone(),
            halt: lists.halt.clone(),
        }
    }
}

impl GenericGateway {
    /// Returns how the gateway is called, or what is wrong with the settings.
    pub fn plan(&self) -> Result<Plan, String> {
        let at = |key: &str, problem: &dyn std::fmt::Display| format!("`{key}`: {problem}");
        let url = Text::parse(&self.url).map_err(|error| at("url", &error))?;
        let start = url.plain_start();
        let has_host = Url::parse(start).is_ok_and(|url| url.has_host());
        let is_whole = start.len() == self.url.len()
            || start
                .split_once("://")
                .is_some_and(|(_, rest)| rest.contains(['/', '?']));
        if !has_host || !is_whole {
            return Err(at(
                "url",
                &"it must begin with https:// or http:// and a host without places",
            ));
        }
        let method = match self.method.as_str() {
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "GET" => Method::GET,
            _ => return Err(at("method", &"POST, PUT or GET")),
        };
        let body = match (self.body.as_str(), self.format) {
            ("", _) => Body::Empty,
            (text, Format::Json) => Body::json(text).map_err(|error| at("body", &error))?,
            (text, Format::Form) => Body::form(text).map_err(|error| at("body", &error))?,
        };
        if method == Method::GET && body != Body::Empty {
            return Err(at("body", &"a GET has none: put the places into `url`"));
        }
        for place in ["to", "text"] {
            let given = format!("{}{}", self.url, self.body);
            let spellings = [
                format!("{{{{{place}}}}}"),
                format!("{{{{{place}_digits}}}}"),
            ];
            let squeezed: String = given.split_whitespace().collect();
            if !spellings.iter().any(|spelling| squeezed.contains(spelling)) {
                return Err(format!(
                    "neither `url` nor `body` has the place `{{{{{place}}}}}`"
                ));
            }
        }
        let idempotency_header = match &self.idempotency_header {
            None => None,
            Some(name) => Some(
                header(name)
                    .ok_or_else(|| at("idempotency_header", &"it is no name of a header"))?,
            ),
        };
        for name in self.headers.keys() {
            header(name)
                .ok_or_else(|| at("headers", &format!("`{name}` is no name of a header")))?;
        }
        for (key, pointer) in [
            ("id", &self.id),
            ("success", &self.success),
            ("error_code", &self.error_code),
            ("error_text", &self.error_text),
        ] {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return Err(at(key, &"it is no JSON pointer: begin it with a slash"));
            }
        }
        if self.success.is_empty() != self.success_is.is_empty() {
            return Err(at("success_is", &"it belongs with `success`"));
        }
        if self.text_chars_max == 0 {
            return Err(at("text_chars_max", &"at least 1"));
        }
        let statuses = self.retry_statuses.iter().chain(&self.refuse_statuses);
        if let Some(odd) = statuses
            .into_iter()
            .find(|status| !(300..600).contains(*status))
        {
            return Err(format!("HTTP status {odd} cannot refuse"));
        }
        Ok(Plan {
            method,
            url,
            body,
            idempotency_header,
            text_chars_max: self.text_chars_max,
            id: Some(self.id.clone()).filter(|pointer| !pointer.is_empty()),
            success: (!self.success.is_empty()).then(|| Success {
                at: self.success.clone(),
                is: self.success_is.clone(),
            }),
            error_code: self.error_code.clone(),
            error_text: self.error_text.clone(),
            retry_statuses: self.retry_statuses.clone(),
            refuse_statuses: self.refuse_statuses.clone(),
            codes: Codes::from(&self.codes),
        })
    }
}

fn header(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok()
}
