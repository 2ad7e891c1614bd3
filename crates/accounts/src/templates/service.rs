//! `TemplateService`: who may, what is asked, what is answered.

use casement_event::v1;
use casement_proto::account::v1 as api;
use casement_proto::account::v1::template_service_server::TemplateService;
use casement_shell::auth::{Caller, Scope, require};
use casement_shell::grpc::bad_field;
use tonic::{Request, Response, Status};

use super::render;
use super::submit::{checked, not_there};
use super::sync::{Syncer, Why};
use crate::api::{required, status};
use crate::book::BookError;
use crate::decide::Refusal;
use crate::grpc::{authority, covers_waba};
use crate::template::language;

/// The service.
#[derive(Clone)]
pub struct Templates {
    syncer: Syncer,
}

impl Templates {
    pub(crate) fn new(syncer: Syncer) -> Self {
        Self { syncer }
    }

    /// Checks that a caller may touch an account's templates.
    async fn covered(&self, caller: &Caller, waba_id: &str) -> Result<(), Status> {
        let authority = authority(caller);
        let desk = self.syncer.book.desk().await.map_err(status)?;
        if covers_waba(&authority, desk.ledger(), waba_id) {
            Ok(())
        } else {
            Err(status(BookError::Refused(Refusal::AnotherBrand)))
        }
    }

    async fn found(
        &self,
        caller: &Caller,
        waba_id: String,
        name: String,
        asked_language: &str,
    ) -> Result<v1::Template, Status> {
        self.covered(caller, &waba_id).await?;
        let named = v1::Template {
            waba_id,
            name,
            language: of_language(asked_language)?,
            ..v1::Template::default()
        };
        self.syncer.known(&named).await?.ok_or_else(not_there)
    }

    /// Returns where a template's record stands.
    async fn position(&self, of: &v1::Template) -> Result<String, Status> {
        let desk = self.syncer.book.desk().await.map_err(status)?;
        let entry = desk.ledger().template(of);
        Ok(entry.map(|it| it.position.to_string()).unwrap_or_default())
    }
}

fn of_language(asked: &str) -> Result<String, Status> {
    language(asked).ok_or_else(|| bad_field("language", "is not like `en` or `en_US`"))
}

#[tonic::async_trait]
impl TemplateService for Templates {
    async fn sync_templates(
        &self,
        request: Request<api::SyncTemplatesRequest>,
    ) -> Result<Response<api::SyncTemplatesResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let request = request.into_inner();
        self.covered(&caller, &request.waba_id).await?;
        let name = Some(request.name.as_str()).filter(|name| !name.is_empty());
        let read = self
            .syncer
            .read(&request.waba_id, name, Why::Demand, &caller.name);
        let sync = read.await.map_err(status)?;
        let desk = self.syncer.book.desk().await.map_err(status)?;
        let entry = desk.ledger().syncs.get(&request.waba_id);
        Ok(Response::new(api::SyncTemplatesResponse {
            sync: Some(sync),
            position: entry.map(|it| it.position.to_string()).unwrap_or_default(),
        }))
    }

    async fn get_template(
        &self,
        request: Request<api::GetTemplateRequest>,
    ) -> Result<Response<api::GetTemplateResponse>, Status> {
        let caller = require(&request, Scope::Read)?;
        let request = request.into_inner();
        let waba_id = request.waba_id.clone();
        let template = self
            .found(&caller, request.waba_id, request.name, &request.language)
            .await?;
        let desk = self.syncer.book.desk().await.map_err(status)?;
        let sync = desk.ledger().syncs.get(&waba_id);
        Ok(Response::new(api::GetTemplateResponse {
            template: Some(template),
            sync: sync.map(|entry| entry.record.clone()),
        }))
    }

    async fn create_template(
        &self,
        request: Request<api::CreateTemplateRequest>,
    ) -> Result<Response<api::CreateTemplateResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let request = request.into_inner();
        let wanted = required("template", request.template)?;
        let definition = required("template.definition", wanted.definition.clone())?;
        let wanted = checked(&wanted, &request.request_id, Some(&definition))?;
        self.covered(&caller, &wanted.waba_id).await?;
        let created = self.syncer.create(
            wanted,
            definition,
            &request.request_id,
            request.allow_category_change,
            &caller.name,
        );
        let template = Box::pin(created).await?;
        let position = self.position(&template).await?;
        Ok(Response::new(api::CreateTemplateResponse {
            template: Some(template),
            position,
        }))
    }

    async fn update_template(
        &self,
        request: Request<api::UpdateTemplateRequest>,
    ) -> Result<Response<api::UpdateTemplateResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let request = request.into_inner();
        let mut wanted = required("template", request.template)?;
        let (waba_id, name) = (wanted.waba_id.clone(), wanted.name.clone());
        let known = self.found(&caller, waba_id, name, &wanted.language).await?;
        if wanted.category() == v1::TemplateCategory::Unspecified {
            wanted.category = known.category;
        }
        let definition = wanted.definition.clone();
        let is_empty = definition.is_none()
            && wanted.message_send_ttl.is_none()
            && wanted.category == known.category;
        if is_empty {
            let text = "says nothing that is to change: give a definition, a category or a \
                        message_send_ttl";
            return Err(bad_field("template", text));
        }
        let wanted = checked(&wanted, &request.request_id, definition.as_ref())?;
        let edited = self
            .syncer
            .edit(wanted, definition, &request.request_id, &caller.name);
        let template = Box::pin(edited).await?;
        let position = self.position(&template).await?;
        Ok(Response::new(api::UpdateTemplateResponse {
            template: Some(template),
            position,
        }))
    }

    async fn delete_template(
        &self,
        request: Request<api::DeleteTemplateRequest>,
    ) -> Result<Response<api::DeleteTemplateResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let request = request.into_inner();
        self.covered(&caller, &request.waba_id).await?;
        let language = match request.language.as_str() {
            "" => None,
            text => Some(of_language(text)?),
        };
        let deleted = self
            .syncer
            .delete(
                &request.waba_id,
                &request.name,
                language.as_deref(),
                &caller.name,
            )
            .await?;
        Ok(Response::new(api::DeleteTemplateResponse {
            templates: deleted,
        }))
    }

    async fn render_template(
        &self,
        request: Request<api::RenderTemplateRequest>,
    ) -> Result<Response<api::RenderTemplateResponse>, Status> {
        let caller = require(&request, Scope::Read)?;
        let request = request.into_inner();
        let template = self
            .found(&caller, request.waba_id, request.name, &request.language)
            .await?;
        let definition = render::known(&template);
        let shown = render::render(&definition, &request.components, &request.cards);
        Ok(Response::new(shown))
    }
}
