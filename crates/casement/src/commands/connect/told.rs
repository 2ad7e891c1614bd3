//! What is printed: for people line by line, for programs as one object.

use casement_whatsapp::manage::App;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::records::{Kept, Records};
use super::{ConnectArgs, Found, trouble};

/// Fields that Casement cannot do without.
const FIELDS_NEEDED: [&str; 2] = ["messages", "message_template_status_update"];
/// Fields that it understands, for who uses what they tell of.
const FIELDS_USEFUL: [&str; 6] = [
    "user_preferences",
    "user_id_update",
    "calls",
    "standby",
    "smb_message_echoes",
    "account_update",
];
/// Stands where no callback URL was given.
const CALLBACK_TO_FILL_IN: &str = "https://<your public address>/webhooks/whatsapp";

/// Everything there is to tell.
pub(super) struct Telling<'a> {
    pub(super) args: &'a ConnectArgs,
    pub(super) found: &'a Found,
    pub(super) records: &'a Records,
    pub(super) kept: &'a [Kept],
    pub(super) verify_token: Option<&'a str>,
    pub(super) now: Timestamp,
}

impl Telling<'_> {
    fn warnings(&self) -> Vec<String> {
        let (token, number) = (&self.found.token, &self.found.number);
        let mut warnings = trouble::warnings(self.args, token, number, self.now);
        warnings.extend(self.records.left_out.iter().cloned());
        warnings
    }

    fn was_subscribed(&self) -> bool {
        let id = &self.found.app.id;
        self.found.before.iter().any(|app| app.id == *id)
    }

    pub(super) fn json(&self) -> anyhow::Result<Value> {
        let Found {
            app, token, number, ..
        } = self.found;
        let apps: Vec<Value> = self
            .found
            .after
            .iter()
            .map(|app| json!({"id": app.id, "name": app.name}))
            .collect();
        let kept: Vec<Value> = self.kept.iter().map(Kept::json).collect();
        Ok(json!({
            "app": {"id": app.id, "name": app.name},
            "token": {
                "kind": token.kind,
                "scopes": token.scopes,
                "expire_time": token.expires_at.map(|at| at.to_string()),
            },
            "number": {
                "number": number.e164(),
                "verified_name": number.verified_name,
                "status": number.status,
                "quality_rating": number.quality_rating,
                "code_verification_status": number.code_verification_status,
                "name_status": number.name_status,
                "is_test": number.is_test(),
            },
            "account": {
                "waba_id": self.args.waba,
                "name": self.found.account.name,
                "portfolio_id": self.records.number.portfolio_id,
            },
            "subscribed_apps": apps,
            "was_subscribed": self.was_subscribed(),
            "webhook": {
                "callback_url": self.args.callback_url,
                "verify_token": self.verify_token,
                "fields": FIELDS_NEEDED,
                "more_fields": FIELDS_USEFUL,
            },
            "records": self.records.json()?,
            "kept": kept,
            "warnings": self.warnings(),
        }))
    }

    pub(super) fn lines(&self) -> anyhow::Result<Vec<String>> {
        let Found {
            app,
            token,
            number,
            account,
            after,
            ..
        } = self.found;
        let mut lines = Vec::new();
        let mut add = |key: &str, text: String| lines.push(format!("{key:<12} {text}"));
        let kind = or_dash(&token.kind).to_ascii_lowercase().replace('_', " ");
        let end = match token.expires_at {
            Some(at) => format!("ends {} ({})", time(at), from_now(at, self.now)),
            None => "never ends".to_owned(),
        };
        add("app", name(app));
        add("token", format!("{kind}, {end}"));
        add("scopes", token.scopes.join(", "));
        add(
            "number",
            format!(
                "{} ({}): {}, quality {}, code {}, name {}",
                number.e164(),
                or_dash(&number.verified_name),
                or_dash(&number.status),
                or_dash(&number.quality_rating),
                or_dash(&number.code_verification_status),
                or_dash(&number.name_status),
            ),
        );
        add(
            "account",
            format!(
                "{} ({}), portfolio {}",
                account.id,
                or_dash(&account.name),
                self.records.number.portfolio_id
            ),
        );
        let how = if self.was_subscribed() {
            "as before"
        } else {
            "new"
        };
        let apps: Vec<String> = after.iter().map(name).collect();
        add("webhooks", format!("go to {}; ours {how}", apps.join(", ")));
        for (index, template) in self.found.templates.iter().enumerate() {
            let key = if index == 0 { "templates" } else { "" };
            add(
                key,
                format!(
                    "{} {}: {}, {}",
                    template.name,
                    template.language,
                    template.category.to_ascii_lowercase(),
                    template.status.to_ascii_lowercase()
                ),
            );
        }
        if self.found.templates.is_empty() {
            add("templates", "none yet".to_owned());
        }
        for warning in self.warnings() {
            add("warning", warning);
        }
        lines.push(String::new());
        lines.push("To be entered at Meta (app dashboard, WhatsApp, Configuration):".to_owned());
        lines.extend(self.to_enter());
        for kept in self.kept {
            lines.push(String::new());
            lines.push(kept.line());
        }
        if self.kept.is_empty() {
            lines.push(String::new());
            lines.push("For the accounts file (or let --write add it):".to_owned());
            lines.push(String::new());
            lines.push(self.records.toml()?.trim_end().to_owned());
        }
        Ok(lines)
    }

    fn to_enter(&self) -> Vec<String> {
        let callback = self.args.callback_url.as_deref();
        let verify_token = self
            .verify_token
            .unwrap_or("what stands in `ingress.apps.default.verify_token`, a text of your own");
        vec![
            format!("callback URL {}", callback.unwrap_or(CALLBACK_TO_FILL_IN)),
            format!("verify token {verify_token}"),
            format!("fields       {}", FIELDS_NEEDED.join(", ")),
            format!("             as you use them: {}", FIELDS_USEFUL.join(", ")),
        ]
    }
}

fn name(app: &App) -> String {
    format!("{} ({})", or_dash(&app.name), app.id)
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "–" } else { text }
}

/// Returns an instant for people.
pub(super) fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%F %T UTC").to_string()
}

/// Returns how far away an instant is, in the unit that fits.
pub(super) fn from_now(at: Timestamp, now: Timestamp) -> String {
    let left = at.duration_since(now);
    match left.as_hours() {
        ..0 => "over".to_owned(),
        0 => format!("in {} min", left.as_mins()),
        hours @ 1..72 => format!("in {hours} h"),
        hours => format!("in {} days", hours / 24),
    }
}
