//! gRPC clients with a token, as a user has them.

use std::str::FromStr as _;

use casement_event::v1;
use casement_proto::account::v1::account_service_client::AccountServiceClient;
use casement_proto::account::v1::application_service_client::ApplicationServiceClient;
use casement_proto::account::v1::consent_service_client::ConsentServiceClient;
use casement_proto::account::v1::migration_service_client::MigrationServiceClient;
use casement_proto::account::v1::onboarding_service_client::OnboardingServiceClient;
use casement_proto::account::v1::secret_service_client::SecretServiceClient;
use casement_proto::audit::v1::audit_service_client::AuditServiceClient;
use casement_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use casement_proto::figures::v1::figures_service_client::FiguresServiceClient;
use casement_proto::message::v1 as message;
use casement_proto::message::v1::message_query_service_client::MessageQueryServiceClient;
use casement_proto::message::v1::message_service_client::MessageServiceClient;
use casement_proto::repair::v1::repair_service_client::RepairServiceClient;
use casement_proto::window::v1 as window;
use casement_proto::window::v1::window_service_client::WindowServiceClient;
use casement_testkit::{eventually, eventually_within};
use message::send_message_request::Customer;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::stack::{NUMBER, RECOVERY_MAX};

/// The token of the tests.
pub const API_TOKEN: &str = "test-api-token-0123456789";

/// Puts the token on every call.
#[derive(Debug, Clone, Copy)]
pub struct Bearer;

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = MetadataValue::from_str(&format!("Bearer {API_TOKEN}")).expect("plain ASCII");
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

type Authenticated = InterceptedService<Channel, Bearer>;

/// Clients of all services.
#[derive(Debug, Clone)]
pub struct Clients {
    /// `WindowService`.
    pub windows: WindowServiceClient<Authenticated>,
    /// `MessageService`.
    pub messages: MessageServiceClient<Authenticated>,
    /// `MessageQueryService`.
    pub message_queries: MessageQueryServiceClient<Authenticated>,
    /// `AccountService`.
    pub accounts: AccountServiceClient<Authenticated>,
    /// `ApplicationService`.
    pub applications: ApplicationServiceClient<Authenticated>,
    /// `MigrationService`.
    pub migrations: MigrationServiceClient<Authenticated>,
    /// `SecretService`.
    pub secrets: SecretServiceClient<Authenticated>,
    /// `OnboardingService`.
    pub onboardings: OnboardingServiceClient<Authenticated>,
    /// `ConsentService`.
    pub consents: ConsentServiceClient<Authenticated>,
    /// `ConversationService`.
    pub conversations: ConversationServiceClient<Authenticated>,
    /// `AuditService`.
    pub audit: AuditServiceClient<Authenticated>,
    /// `FiguresService`.
    pub figures: FiguresServiceClient<Authenticated>,
}

impl Clients {
    pub(crate) fn new(windows: u16, messages: u16, accounts: u16, archive: u16) -> Self {
        let channel = |port: u16| {
            let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"));
            InterceptedService::new(endpoint.expect("an address").connect_lazy(), Bearer)
        };
        Self {
            windows: WindowServiceClient::new(channel(windows)),
            messages: MessageServiceClient::new(channel(messages)),
            message_queries: MessageQueryServiceClient::new(channel(archive)),
            accounts: AccountServiceClient::new(channel(accounts)),
            applications: ApplicationServiceClient::new(channel(accounts)),
            migrations: MigrationServiceClient::new(channel(accounts)),
            secrets: SecretServiceClient::new(channel(accounts)),
            onboardings: OnboardingServiceClient::new(channel(accounts)),
            consents: ConsentServiceClient::new(channel(accounts)),
            conversations: ConversationServiceClient::new(channel(archive)),
            audit: AuditServiceClient::new(channel(archive)),
            figures: FiguresServiceClient::new(channel(archive)),
        }
    }

    /// `RepairService`, where the ingress role answers.
    pub fn repairs(ingress: u16) -> RepairServiceClient<Authenticated> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{ingress}"));
        let channel = endpoint.expect("an address").connect_lazy();
        RepairServiceClient::new(InterceptedService::new(channel, Bearer))
    }

    /// Asks for the window of a customer by phone (with plus) or user id.
    pub async fn window(&self, customer: &str) -> Result<window::Window, Status> {
        let customer = if customer.starts_with('+') {
            window::customer_ref::Customer::To(customer.to_owned())
        } else {
            window::customer_ref::Customer::Recipient(customer.to_owned())
        };
        let request = window::GetWindowRequest {
            number: NUMBER.to_owned(),
            customer: Some(window::CustomerRef {
                customer: Some(customer),
            }),
            not_before: String::new(),
        };
        let answer = self.windows.clone().get_window(request).await?.into_inner();
        Ok(answer.window.expect("an answer holds a window"))
    }

    /// Waits until a customer's window is open, and returns it.
    pub async fn open_window(&self, customer: &str) -> window::Window {
        eventually(&format!("the window of {customer} is open"), async || {
            let window = self
                .window(customer)
                .await
                .map_err(|status| status.to_string())?;
            match window.state() {
                v1::WindowState::Open => Ok(window),
                other => Err(format!("it is {other:?}")),
            }
        })
        .await
    }

    /// Sends content to a customer by phone (with plus) or user id.
    pub async fn send(
        &self,
        customer: &str,
        content: v1::Content,
    ) -> Result<message::Message, Status> {
        self.send_as(customer, content, "").await
    }

    /// Sends under a request id, so that the call can be repeated.
    pub async fn send_as(
        &self,
        customer: &str,
        content: v1::Content,
        request_id: &str,
    ) -> Result<message::Message, Status> {
        let customer = if customer.starts_with('+') {
            Customer::To(customer.to_owned())
        } else {
            Customer::Recipient(customer.to_owned())
        };
        let request = message::SendMessageRequest {
            number: NUMBER.to_owned(),
            customer: Some(customer),
            content: Some(content),
            purpose: v1::Purpose::Service.into(),
            request_id: request_id.to_owned(),
            ..Default::default()
        };
        let answer = self
            .messages
            .clone()
            .send_message(request)
            .await?
            .into_inner();
        Ok(answer.message.expect("an answer holds a message"))
    }

    /// Looks at a message.
    pub async fn message(&self, id: &str) -> Result<message::Message, Status> {
        let request = message::GetMessageRequest {
            message_id: id.to_owned(),
            not_before: String::new(),
        };
        let answer = self
            .messages
            .clone()
            .get_message(request)
            .await?
            .into_inner();
        Ok(answer.message.expect("an answer holds a message"))
    }

    /// Waits until a message has ended, and returns it.
    pub async fn ended(&self, id: &str) -> message::Message {
        self.until(id, "has ended", |message| {
            message.state() == message::MessageState::Ended
        })
        .await
    }

    /// Waits until a message is as it is wanted, and returns it.
    pub async fn until(
        &self,
        id: &str,
        what: &str,
        is_so: impl Fn(&message::Message) -> bool,
    ) -> message::Message {
        eventually_within(RECOVERY_MAX, &format!("message {id} {what}"), async || {
            let message = self
                .message(id)
                .await
                .map_err(|status| status.to_string())?;
            if is_so(&message) {
                Ok(message)
            } else {
                Err(format!("it is {message:#?}"))
            }
        })
        .await
    }
}

/// Content that says a text.
pub fn free_form(text: &str) -> v1::Content {
    let free_form = Some(v1::FreeForm {
        text: text.to_owned(),
        ..v1::FreeForm::default()
    });
    v1::Content {
        free_form,
        ..Default::default()
    }
}

/// Content that says a text, or a template with one parameter where free-form is not permitted.
pub fn template(text: &str, name: &str, parameter: &str) -> v1::Content {
    let value = Some(v1::template_parameter::Value::Text(parameter.to_owned()));
    let template = v1::TemplateContent {
        name: name.to_owned(),
        language: "en_US".to_owned(),
        components: vec![v1::TemplateComponent {
            r#type: "body".to_owned(),
            parameters: vec![v1::TemplateParameter {
                name: String::new(),
                value,
            }],
            ..Default::default()
        }],
        ..v1::TemplateContent::default()
    };
    v1::Content {
        template: Some(template),
        ..free_form(text)
    }
}
