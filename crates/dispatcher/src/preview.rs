//! `PreviewRoute`: what would be decided, without anything being stored or anybody minted.

use casement_event::convert::{self, message::decision as stored_decision};
use casement_event::{Uuid, v1};
use casement_proto::message::v1 as api;
use casement_shell::auth::Caller;
use casement_shell::grpc::{bad_field, bad_fields};
use tonic::Status;

use crate::answers::unavailable;
use crate::grpc::{Messages, stranger};
use crate::{request, templates, waiting};

impl Messages {
    /// Decides as a send would.
    pub(crate) async fn preview(
        &self,
        caller: &Caller,
        preview: api::PreviewRouteRequest,
    ) -> Result<v1::Decision, Status> {
        let asked = preview
            .request
            .ok_or_else(|| bad_field("request", "is required"))?;
        let now = convert::instant("evaluate_time", preview.evaluate_time.as_ref())
            .map_err(|error| bad_field("evaluate_time", error.to_string()))?
            .unwrap_or_else(|| self.engine.clock.now());
        let policies = &self.engine.rules.routing;
        let checked = request::check(&asked, policies, self.default_ttl, now);
        let mut checked = checked.map_err(bad_fields)?;
        let account = self.account(caller, &checked.number).await?;
        self.can_seal(&asked)?;
        self.refer(caller, &mut checked, &account).await?;
        self.complete(&asked, &mut checked, &account)?;
        waiting::reach(&self.engine.log, &asked.not_before).await?;
        // A stranger is previewed without being minted.
        let key = match self.find(&account, &checked).await? {
            Some(key) => key,
            None => stranger(&checked)?,
        };
        let fresh = self.requested(caller, &asked, &checked, &account, &key, Uuid::nil(), now)?;
        // What is to go later is decided on then, as far as that can be known now.
        let send_at = checked.send_at.unwrap_or(now).max(now);
        let at = match preview.evaluate_time {
            Some(_) => now,
            None => send_at,
        };
        let mut routed = Box::pin(self.engine.route(&fresh, &account, None, at))
            .await
            .map_err(|error| unavailable(&error))?;
        let decision = &mut routed.decision;
        decision.earliest_send_at = decision.earliest_send_at.max(send_at);
        let hold = self.preview_hold(&fresh, &account, &routed, at).await?;
        let mut decision = v1::Decision {
            hold,
            ..stored_decision(&routed.decision)
        };
        self.show(&checked.content, &account, &mut decision);
        Ok(decision)
    }

    /// Adds what the customer would read to what is said of the template. No decision that is
    /// stored has it.
    fn show(&self, content: &v1::Content, account: &v1::Number, decision: &mut v1::Decision) {
        let shown = content.template.as_ref().and_then(|asked| {
            let directory = &self.engine.directory;
            let known = directory.template(&account.waba_id, &asked.name, &asked.language)?;
            templates::shown(asked, &known)
        });
        let Some(shown) = shown else { return };
        let of_template = |candidate: &&mut v1::Candidate| {
            candidate.route() == v1::Route::Template && candidate.verdict() != v1::Verdict::RuledOut
        };
        for candidate in decision.candidates.iter_mut().filter(of_template) {
            candidate.text = format!("{} It reads: {shown}", candidate.text);
        }
    }
}
