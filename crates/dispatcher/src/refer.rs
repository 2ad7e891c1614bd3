//! Messages that a request names: those of ours by their own id, for which the platform's is put.

use casement_domain::id::MessageId;
use casement_domain::message::AttemptState;
use casement_domain::routing::Route;
use casement_event::v1;
use casement_shell::auth::Caller;
use casement_shell::grpc::{bad_field, bad_fields};
use tonic::Status;

use crate::aggregate::Loaded;
use crate::content;
use crate::grpc::Messages;
use crate::request::Checked;

impl Messages {
    /// Puts the platform's ids where a request names messages of ours. What was accepted over
    /// WhatsApp has one; nothing else can be answered or reacted to. Then checks what only the
    /// number can tell.
    pub(crate) async fn refer(
        &self,
        caller: &Caller,
        checked: &mut Checked,
        account: &v1::Number,
    ) -> Result<(), Status> {
        let at = checked.send_at.max(Some(self.engine.clock.now()));
        let problems = content::check_uploads(&checked.content, account, at.unwrap_or_default());
        if !problems.is_empty() {
            return Err(bad_fields(problems));
        }
        let reply_to = self
            .provider_id(caller, checked, "reply_to_message_id", &checked.reply_to)
            .await?;
        if let Some(found) = reply_to {
            checked.reply_to = found;
        }
        let free_form = checked.content.free_form.as_ref();
        let Some(v1::free_form::Content::Reaction(reaction)) =
            free_form.and_then(|free_form| free_form.content.as_ref())
        else {
            return Ok(());
        };
        let field = "content.free_form.reaction.message_id";
        let target = self
            .provider_id(caller, checked, field, &reaction.message_id)
            .await?;
        if let Some(v1::free_form::Content::Reaction(reaction)) = checked
            .content
            .free_form
            .as_mut()
            .and_then(|free_form| free_form.content.as_mut())
            && let Some(target) = target
        {
            reaction.message_id = target;
        }
        Ok(())
    }

    /// The platform's id of a message of ours; `None` for what is the platform's already.
    async fn provider_id(
        &self,
        caller: &Caller,
        checked: &Checked,
        field: &str,
        text: &str,
    ) -> Result<Option<String>, Status> {
        let Ok(id) = MessageId::parse(text) else {
            return Ok(None);
        };
        let found = self.load(&id).await?;
        let found = found.filter(|found| {
            caller.acts_for(&found.context.conversation.brand) && *found.number() == checked.number
        });
        let found = found.ok_or_else(|| bad_field(field, "this number sent no such message"))?;
        let text = "WhatsApp has not accepted this message, so nothing can refer to it";
        accepted_id(&found)
            .map(Some)
            .ok_or_else(|| bad_field(field, text))
    }
}

/// The platform's id of a message's newest attempt that it accepted.
fn accepted_id(of: &Loaded) -> Option<String> {
    let attempts = of.message.attempts.iter().rev();
    attempts
        .filter(|attempt| Route::WHATSAPP.contains(&attempt.route))
        .find_map(|attempt| match &attempt.state {
            AttemptState::Accepted { provider_id, .. } => Some(provider_id.clone()),
            _ => None,
        })
}
