//! Asking a running Casement: connection, token, and errors that say what to do.

use std::io;
use std::time::Duration;

use anyhow::anyhow;
use casement_proto::account::v1::account_service_client::AccountServiceClient;
use casement_proto::account::v1::application_service_client::ApplicationServiceClient;
use casement_proto::account::v1::consent_service_client::ConsentServiceClient;
use casement_proto::account::v1::migration_service_client::MigrationServiceClient;
use casement_proto::account::v1::onboarding_service_client::OnboardingServiceClient;
use casement_proto::account::v1::secret_service_client::SecretServiceClient;
use casement_proto::account::v1::template_service_client::TemplateServiceClient;
use casement_proto::audit::v1::audit_service_client::AuditServiceClient;
use casement_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use casement_proto::figures::v1::figures_service_client::FiguresServiceClient;
use casement_proto::media::v1::media_service_client::MediaServiceClient;
use casement_proto::message::v1::message_query_service_client::MessageQueryServiceClient;
use casement_proto::message::v1::message_service_client::MessageServiceClient;
use casement_proto::window::v1::window_service_client::WindowServiceClient;
use casement_proto::window::v1::{CustomerRef, GetWindowRequest, customer_ref};
use casement_shell::config::{ConfigError, Secret};
use casement_shell::grpc::{CALL_TIMEOUT, RESPONSE_BYTES_MAX};
use casement_shell::tls::ClientTlsConfig;
use http::Uri;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use tower::service_fn;

use crate::cli::{ApiArgs, CustomerArgs};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection with the token on every call.
type Connection = InterceptedService<Channel, Bearer>;

/// Adds the token to each call.
#[derive(Clone)]
pub(crate) struct Bearer {
    token: MetadataValue<Ascii>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.token.clone());
        Ok(request)
    }
}

/// A running Casement's API.
#[derive(Clone)]
pub(crate) struct Api {
    connection: Connection,
}

impl Api {
    /// Connects as the flags say.
    pub(crate) async fn connect(args: &ApiArgs) -> anyhow::Result<Self> {
        let token = match (&args.token, &args.token_file) {
            (Some(token), _) => SecretString::from(token.as_str()),
            (None, Some(file)) => Secret::File(file.clone())
                .resolve()
                .map_err(|error| ConfigError::check(error.to_string()))?,
            (None, None) => {
                return Err(ConfigError::check(
                    "no token: pass --token or --token-file, or set CASEMENT_TOKEN",
                )
                .into());
            }
        };
        Self::open(&args.api, &token, args.tls.files()).await
    }

    /// Connects to an address with a token; with `https://` to one whose certificate is signed by
    /// an authority of `tls`.
    pub(crate) async fn open(
        url: &str,
        token: &SecretString,
        tls: Option<ClientTlsConfig>,
    ) -> anyhow::Result<Self> {
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", token.expose_secret())
            .parse()
            .map_err(|_| ConfigError::check("the token holds characters that no token has"))?;
        bearer.set_sensitive(true);
        let channel = channel(url, tls).await?;
        let connection = InterceptedService::new(channel, Bearer { token: bearer });
        Ok(Self { connection })
    }

    pub(crate) fn messages(&self) -> MessageServiceClient<Connection> {
        MessageServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn message_queries(&self) -> MessageQueryServiceClient<Connection> {
        MessageQueryServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn media(&self) -> MediaServiceClient<Connection> {
        MediaServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn windows(&self) -> WindowServiceClient<Connection> {
        WindowServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn conversations(&self) -> ConversationServiceClient<Connection> {
        ConversationServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn migrations(&self) -> MigrationServiceClient<Connection> {
        MigrationServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn accounts(&self) -> AccountServiceClient<Connection> {
        AccountServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn applications(&self) -> ApplicationServiceClient<Connection> {
        ApplicationServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn onboardings(&self) -> OnboardingServiceClient<Connection> {
        OnboardingServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn secrets(&self) -> SecretServiceClient<Connection> {
        SecretServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn consents(&self) -> ConsentServiceClient<Connection> {
        ConsentServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn templates(&self) -> TemplateServiceClient<Connection> {
        TemplateServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn figures(&self) -> FiguresServiceClient<Connection> {
        FiguresServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Connection> {
        AuditServiceClient::new(self.connection.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    /// Returns a customer's id, asking for it if a phone or a BSUID was given.
    pub(crate) async fn customer_id(
        &self,
        number: &str,
        customer: &CustomerArgs,
    ) -> anyhow::Result<String> {
        if let Some(id) = &customer.customer {
            return Ok(id.clone());
        }
        let request = GetWindowRequest {
            number: number.to_owned(),
            customer: Some(customer_ref(customer)),
            not_before: String::new(),
        };
        let answer = self
            .windows()
            .get_window(request)
            .await
            .map_err(explain)?
            .into_inner();
        let id = answer.window.unwrap_or_default().customer_id;
        if id.is_empty() {
            return Err(anyhow!(
                "nobody by that name has ever been seen at {number}"
            ));
        }
        Ok(id)
    }
}

async fn channel(url: &str, tls: Option<ClientTlsConfig>) -> anyhow::Result<Channel> {
    let no_address = || ConfigError::check(format!("`{url}` is no address of an API"));
    let secured = url.strip_prefix("https://");
    let Some(rest) = secured else {
        if tls.is_some() {
            let text =
                format!("`{url}` is not encrypted: with --api-ca the address begins with https://");
            return Err(ConfigError::check(text).into());
        }
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| no_address())?;
        return endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .connect()
            .await
            .map_err(|error| {
                anyhow!(error).context(format!(
                    "nothing answers at {url}: start it with `casement up`, or name another \
                     address with --api (https:// and --api-ca if it has TLS)"
                ))
            });
    };
    let tls = tls.ok_or_else(|| {
        let text = format!(
            "`{url}` is encrypted: name the authority that signed its certificate with --api-ca"
        );
        ConfigError::check(text)
    })?;
    tls.check()
        .map_err(|error| ConfigError::check(format!("--api-ca, --api-cert, --api-key: {error}")))?;
    // The connector makes the connection, and encrypts it.
    let endpoint = Endpoint::from_shared(format!("http://{rest}")).map_err(|_| no_address())?;
    let authority = endpoint.uri().authority().cloned().ok_or_else(no_address)?;
    let port = authority.port_u16().unwrap_or(443);
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let connector = service_fn(move |_: Uri| {
        let (tls, host) = (tls.clone(), host.clone());
        async move {
            let connecting = tokio::time::timeout(CONNECT_TIMEOUT, tls.connect(&host, port));
            let stream = connecting
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    let connected = endpoint
        .timeout(CALL_TIMEOUT)
        .connect_with_connector(connector)
        .await;
    connected.map_err(|error| {
        anyhow!(error).context(format!(
            "no encrypted connection to {url}: is it there, is its certificate signed by --api-ca \
             and for that name, and does it want a certificate (--api-cert, --api-key)?"
        ))
    })
}

/// Returns the customer as the API takes it.
pub(crate) fn customer_ref(args: &CustomerArgs) -> CustomerRef {
    use customer_ref::Customer;
    let customer = args
        .to
        .clone()
        .map(Customer::To)
        .or_else(|| args.recipient.clone().map(Customer::Recipient))
        .or_else(|| args.customer.clone().map(Customer::CustomerId));
    CustomerRef { customer }
}

/// What the client library says of a connection that ended.
const BROKEN_OFF: [&str; 2] = ["transport error", "operation was canceled"];

/// Returns a refusal as people read it: what is wrong, with the stable reason.
#[expect(
    clippy::needless_pass_by_value,
    reason = "for `map_err`, which hands the status over"
)]
pub(crate) fn explain(status: Status) -> anyhow::Error {
    let reason = status.get_details_error_info().map(|info| info.reason);
    let what = match status.code() {
        // With TLS 1.3 a server refuses a client's certificate after the connection is there.
        _ if reason.is_none() && BROKEN_OFF.contains(&status.message()) => {
            "the connection broke off; an API that asks for a certificate takes one by --api-cert \
             and --api-key"
        }
        Code::Unavailable if reason.is_none() => "the API is not there now",
        Code::Unauthenticated => "the token is not known",
        Code::DeadlineExceeded | Code::Cancelled => "no answer came in time",
        _ => "",
    };
    let mut text = String::new();
    for part in [what, status.message()] {
        if !part.is_empty() {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(part);
        }
    }
    if text.is_empty() {
        text.push_str(status.code().description());
    }
    if let Some(reason) = reason {
        text = format!("{text} ({reason})");
    }
    anyhow!(text)
}

#[cfg(test)]
mod tests {
    use casement_shell::grpc::{bad_field, refuse};

    use super::*;

    #[test]
    fn a_refusal_is_told_with_its_reason() {
        let told = |status| explain(status).to_string();
        assert_eq!(
            told(refuse(
                Code::FailedPrecondition,
                "NO_ROUTE",
                "no route is open"
            )),
            "no route is open (NO_ROUTE)"
        );
        assert_eq!(
            told(bad_field("number", "is not E.164")),
            "number: is not E.164 (INVALID_FIELD)"
        );
        assert_eq!(
            told(Status::unavailable("connection closed")),
            "the API is not there now: connection closed"
        );
        assert!(told(Status::cancelled("operation was canceled")).contains("--api-cert"));
        assert!(!told(Status::new(Code::Internal, "")).is_empty());
    }

    #[tokio::test]
    async fn a_refused_connection_names_the_address_and_what_to_run() {
        // A port that was free a moment ago and that nobody listens on.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Api::open(&url, &SecretString::from("t"), None)
            .await
            .map(|_| ())
            .unwrap_err();
        let told = format!("{error:#}");
        assert!(
            told.contains(&url) && told.contains("casement up"),
            "{told}"
        );
    }
}
