//! The table of calls: which scope each needs, and under which paths it is offered as HTTP+JSON.
//!
//! Paths follow the transcoding rules of `google.api.http`: variables name fields of the request,
//! a `:verb` ends a custom method, and what neither path nor body names comes from the query. The
//! table stands here and not in the `.proto` files, so that services need to know nothing of it.
//! Every call is offered as `POST /package.Service/Method`, too.

use std::fmt;

use casement_shell::auth::Scope;
use http::Method;

mod find;

pub(crate) use find::{Found, Table, variables_of};

const ACCOUNTS: &str = "casement.account.v1.AccountService";
const APPLICATIONS: &str = "casement.account.v1.ApplicationService";
const AUDIT: &str = "casement.audit.v1.AuditService";
const CONSENTS: &str = "casement.account.v1.ConsentService";
const CONVERSATIONS: &str = "casement.conversation.v1.ConversationService";
const MEDIA: &str = "casement.media.v1.MediaService";
const MESSAGES: &str = "casement.message.v1.MessageService";
const MESSAGE_QUERIES: &str = "casement.message.v1.MessageQueryService";
const MIGRATIONS: &str = "casement.account.v1.MigrationService";
const ONBOARDINGS: &str = "casement.account.v1.OnboardingService";
const SECRETS: &str = "casement.account.v1.SecretService";
const TEMPLATES: &str = "casement.account.v1.TemplateService";
const WINDOWS: &str = "casement.window.v1.WindowService";

/// One call of the API.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    pub(crate) scope: Scope,
    pub(crate) answer: Answer,
    /// The first is the one to recommend.
    pub(crate) bindings: &'static [Binding],
}

/// What the HTTP answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// JSON: one object, or a line for each of a stream.
    Json,
    /// The bytes of the file that a stream carries: in `media` of the first message what is known
    /// of it, in `chunk` of the others its bytes.
    File,
}

/// One way to make a call by HTTP.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) verb: Verb,
    /// As in `/v1/messages/{message_id}:cancel`.
    pub(crate) template: &'static str,
    pub(crate) body: Body,
}

/// The HTTP methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
}

/// What the HTTP body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// Nothing; fields come from path and query.
    None,
    /// The request, but for what the path says.
    All,
    /// One field of the request.
    Field(&'static str),
    /// Lines of JSON, each of them one field of a request of a stream.
    Lines(&'static str),
    /// A file: in `file` of the first message of a stream what path, query and headers say of it,
    /// in `chunk` of the others its bytes.
    File,
}

impl Verb {
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        })
    }
}

const fn get(template: &'static str) -> Binding {
    Binding {
        verb: Verb::Get,
        template,
        body: Body::None,
    }
}

const fn post(template: &'static str) -> Binding {
    Binding {
        verb: Verb::Post,
        template,
        body: Body::All,
    }
}

const fn lines(template: &'static str, field: &'static str) -> Binding {
    Binding {
        verb: Verb::Post,
        template,
        body: Body::Lines(field),
    }
}

const fn upload(template: &'static str) -> Binding {
    Binding {
        verb: Verb::Post,
        template,
        body: Body::File,
    }
}

const fn put(template: &'static str, field: &'static str) -> Binding {
    Binding {
        verb: Verb::Put,
        template,
        body: Body::Field(field),
    }
}

const fn call(
    service: &'static str,
    method: &'static str,
    scope: Scope,
    bindings: &'static [Binding],
) -> Call {
    Call {
        service,
        method,
        scope,
        answer: Answer::Json,
        bindings,
    }
}

/// A call whose answer is a file.
const fn file(mut call: Call) -> Call {
    call.answer = Answer::File;
    call
}

/// Every call.
pub(crate) const CALLS: &[Call] = &[
    call(
        MESSAGES,
        "SendMessage",
        Scope::Send,
        &[post("/v1/messages")],
    ),
    call(
        MESSAGES,
        "SendMessages",
        Scope::Send,
        &[lines("/v1/messages:sendStream", "request")],
    ),
    call(
        MESSAGES,
        "BatchSendMessages",
        Scope::Send,
        &[post("/v1/messages:batchSend")],
    ),
    call(
        MESSAGES,
        "PauseSends",
        Scope::Send,
        &[post("/v1/halts:pause")],
    ),
    call(
        MESSAGES,
        "ResumeSends",
        Scope::Send,
        &[post("/v1/halts:resume")],
    ),
    call(MESSAGES, "ListHalts", Scope::Read, &[get("/v1/halts")]),
    call(
        MESSAGES,
        "CancelMessages",
        Scope::Send,
        &[post("/v1/messages:cancel")],
    ),
    call(
        MESSAGES,
        "RetryMessages",
        Scope::Send,
        &[post("/v1/messages:retry")],
    ),
    call(
        MESSAGES,
        "PreviewRoute",
        Scope::Read,
        &[post("/v1/messages:preview")],
    ),
    call(
        MESSAGES,
        "GetMessage",
        Scope::Read,
        &[get("/v1/messages/{message_id}")],
    ),
    call(
        MESSAGES,
        "CancelMessage",
        Scope::Send,
        &[post("/v1/messages/{message_id}:cancel")],
    ),
    call(
        MESSAGES,
        "MarkAsRead",
        Scope::Send,
        &[post("/v1/numbers/{number}/messages:markAsRead")],
    ),
    call(
        MESSAGES,
        "UploadMedia",
        Scope::Send,
        &[upload("/v1/numbers/{file.number}/media")],
    ),
    call(
        MESSAGE_QUERIES,
        "ListMessages",
        Scope::Read,
        &[get("/v1/messages"), post("/v1/messages:list")],
    ),
    call(
        MESSAGE_QUERIES,
        "WatchMessages",
        Scope::Read,
        &[get("/v1/messages:watch"), post("/v1/messages:watch")],
    ),
    call(
        MESSAGE_QUERIES,
        "GetBrandFigures",
        Scope::Read,
        &[get("/v1/brands/{brand_id}/figures"), get("/v1/figures")],
    ),
    call(
        WINDOWS,
        "GetWindow",
        Scope::Read,
        &[
            get("/v1/numbers/{number}/customers/{customer.customer_id}/window"),
            get("/v1/numbers/{number}/window"),
        ],
    ),
    call(
        WINDOWS,
        "BatchGetWindows",
        Scope::Read,
        &[post("/v1/windows:batchGet")],
    ),
    call(
        WINDOWS,
        "WatchWindows",
        Scope::Read,
        &[get("/v1/windows:watch")],
    ),
    call(
        WINDOWS,
        "ExplainWindow",
        Scope::Read,
        &[
            get("/v1/numbers/{number}/customers/{customer.customer_id}/window:explain"),
            get("/v1/numbers/{number}/window:explain"),
        ],
    ),
    call(
        CONVERSATIONS,
        "ListConversations",
        Scope::Read,
        &[
            get("/v1/conversations"),
            get("/v1/numbers/{number}/conversations"),
        ],
    ),
    call(
        CONVERSATIONS,
        "GetConversation",
        Scope::Read,
        &[get("/v1/numbers/{number}/conversations/{customer_id}")],
    ),
    call(
        CONVERSATIONS,
        "GetTimeline",
        Scope::Read,
        &[get(
            "/v1/numbers/{number}/conversations/{customer_id}/timeline",
        )],
    ),
    call(
        CONVERSATIONS,
        "AddNote",
        Scope::Colleague,
        &[post(
            "/v1/numbers/{number}/conversations/{customer_id}/notes",
        )],
    ),
    call(
        CONVERSATIONS,
        "Assign",
        Scope::Colleague,
        &[post(
            "/v1/numbers/{number}/conversations/{customer_id}:assign",
        )],
    ),
    call(
        CONVERSATIONS,
        "MarkRead",
        Scope::Colleague,
        &[post(
            "/v1/numbers/{number}/conversations/{customer_id}:markRead",
        )],
    ),
    call(
        CONVERSATIONS,
        "Close",
        Scope::Colleague,
        &[post(
            "/v1/numbers/{number}/conversations/{customer_id}:close",
        )],
    ),
    call(
        CONVERSATIONS,
        "Reopen",
        Scope::Colleague,
        &[post(
            "/v1/numbers/{number}/conversations/{customer_id}:reopen",
        )],
    ),
    call(
        CONVERSATIONS,
        "ChangeLabels",
        Scope::Colleague,
        &[post(
            "/v1/numbers/{number}/conversations/{customer_id}:changeLabels",
        )],
    ),
    call(
        CONVERSATIONS,
        "ListMentions",
        Scope::Read,
        &[get("/v1/colleagues/{colleague}/mentions")],
    ),
    call(
        ACCOUNTS,
        "PutBrand",
        Scope::Admin,
        &[put("/v1/brands/{brand.brand_id}", "brand")],
    ),
    call(ACCOUNTS, "ListBrands", Scope::Read, &[get("/v1/brands")]),
    call(
        ACCOUNTS,
        "GetBrand",
        Scope::Read,
        &[get("/v1/brands/{brand_id}")],
    ),
    call(
        ACCOUNTS,
        "UpdateBrand",
        Scope::Admin,
        &[post("/v1/brands/{brand.brand_id}:update")],
    ),
    call(
        ACCOUNTS,
        "PutNumber",
        Scope::Admin,
        &[put("/v1/numbers/{number.number}", "number")],
    ),
    call(
        ACCOUNTS,
        "GetNumber",
        Scope::Read,
        &[get("/v1/numbers/{number}")],
    ),
    call(ACCOUNTS, "ListNumbers", Scope::Read, &[get("/v1/numbers")]),
    call(
        ACCOUNTS,
        "PauseNumber",
        Scope::Admin,
        &[post("/v1/numbers/{number}:pause")],
    ),
    call(
        ACCOUNTS,
        "ResumeNumber",
        Scope::Admin,
        &[post("/v1/numbers/{number}:resume")],
    ),
    call(
        ACCOUNTS,
        "UpdateNumber",
        Scope::Admin,
        &[Binding {
            verb: Verb::Patch,
            template: "/v1/numbers/{number.number}",
            body: Body::Field("number"),
        }],
    ),
    call(
        ACCOUNTS,
        "CheckNumber",
        Scope::Admin,
        &[post("/v1/numbers/{number}:check")],
    ),
    call(
        ACCOUNTS,
        "RequestDowngrade",
        Scope::Admin,
        &[post("/v1/numbers/{number}:requestDowngrade")],
    ),
    call(
        ACCOUNTS,
        "PlanDeregistration",
        Scope::Admin,
        &[post("/v1/numbers/{number}:planDeregistration")],
    ),
    call(
        ACCOUNTS,
        "DeregisterNumber",
        Scope::Admin,
        &[post("/v1/numbers/{number}:deregister")],
    ),
    call(
        ACCOUNTS,
        "RegisterNumber",
        Scope::Admin,
        &[post("/v1/numbers/{number}:register")],
    ),
    call(
        ACCOUNTS,
        "RequestInteraction",
        Scope::Send,
        &[post("/v1/numbers/{number}:requestInteraction")],
    ),
    call(
        ACCOUNTS,
        "PutTemplate",
        Scope::Admin,
        &[put(
            "/v1/wabas/{template.waba_id}/templates/{template.name}/{template.language}",
            "template",
        )],
    ),
    call(
        ACCOUNTS,
        "ListTemplates",
        Scope::Read,
        &[get("/v1/templates"), get("/v1/wabas/{waba_id}/templates")],
    ),
    call(
        ONBOARDINGS,
        "StartOnboarding",
        Scope::Admin,
        &[post("/v1/onboardings")],
    ),
    call(
        ONBOARDINGS,
        "GetOnboarding",
        Scope::Read,
        &[get("/v1/onboardings/{onboarding_id}")],
    ),
    call(
        ONBOARDINGS,
        "ListOnboardings",
        Scope::Read,
        &[get("/v1/onboardings")],
    ),
    call(
        ONBOARDINGS,
        "RetryOnboarding",
        Scope::Admin,
        &[post("/v1/onboardings/{onboarding_id}:retry")],
    ),
    call(
        ONBOARDINGS,
        "CancelOnboarding",
        Scope::Admin,
        &[post("/v1/onboardings/{onboarding_id}:cancel")],
    ),
    call(SECRETS, "PutToken", Scope::Admin, &[post("/v1/secrets")]),
    call(
        SECRETS,
        "RotateToken",
        Scope::Admin,
        &[post("/v1/secrets:rotate")],
    ),
    call(SECRETS, "ListSecrets", Scope::Admin, &[get("/v1/secrets")]),
    call(
        SECRETS,
        "DeleteSecret",
        Scope::Admin,
        &[post("/v1/secrets:delete")],
    ),
    call(
        SECRETS,
        "ReencryptSecrets",
        Scope::Admin,
        &[post("/v1/secrets:reencrypt")],
    ),
    call(
        TEMPLATES,
        "SyncTemplates",
        Scope::Admin,
        &[post("/v1/wabas/{waba_id}/templates:sync")],
    ),
    call(
        TEMPLATES,
        "GetTemplate",
        Scope::Read,
        &[get("/v1/wabas/{waba_id}/templates/{name}/{language}")],
    ),
    call(
        TEMPLATES,
        "CreateTemplate",
        Scope::Admin,
        &[post("/v1/templates")],
    ),
    call(
        TEMPLATES,
        "UpdateTemplate",
        Scope::Admin,
        &[post("/v1/templates:update")],
    ),
    call(
        TEMPLATES,
        "DeleteTemplate",
        Scope::Admin,
        &[
            post("/v1/wabas/{waba_id}/templates/{name}:delete"),
            post("/v1/wabas/{waba_id}/templates/{name}/{language}:delete"),
        ],
    ),
    call(
        TEMPLATES,
        "RenderTemplate",
        Scope::Read,
        &[post(
            "/v1/wabas/{waba_id}/templates/{name}/{language}:render",
        )],
    ),
    call(
        MIGRATIONS,
        "CheckMigration",
        Scope::Admin,
        &[post("/v1/migrations:check")],
    ),
    call(
        MIGRATIONS,
        "StartMigration",
        Scope::Admin,
        &[post("/v1/migrations")],
    ),
    call(
        MIGRATIONS,
        "ResendMigrationCode",
        Scope::Admin,
        &[post("/v1/migrations/{migration_id}:resendCode")],
    ),
    call(
        MIGRATIONS,
        "SubmitMigrationCode",
        Scope::Admin,
        &[post("/v1/migrations/{migration_id}:submitCode")],
    ),
    call(
        MIGRATIONS,
        "GetMigration",
        Scope::Read,
        &[get("/v1/migrations/{migration_id}")],
    ),
    call(
        MIGRATIONS,
        "ListMigrations",
        Scope::Read,
        &[
            get("/v1/migrations"),
            get("/v1/numbers/{number}/migrations"),
        ],
    ),
    call(
        MIGRATIONS,
        "CancelMigration",
        Scope::Admin,
        &[post("/v1/migrations/{migration_id}:cancel")],
    ),
    call(
        MIGRATIONS,
        "RecordMigratedAway",
        Scope::Admin,
        &[post("/v1/numbers/{number}:recordMigratedAway")],
    ),
    call(
        MIGRATIONS,
        "RecordReturned",
        Scope::Admin,
        &[post("/v1/numbers/{number}:recordReturned")],
    ),
    call(
        APPLICATIONS,
        "StartApplication",
        Scope::Admin,
        &[post("/v1/applications")],
    ),
    call(
        APPLICATIONS,
        "GetApplication",
        Scope::Read,
        &[get("/v1/applications/{application_id}")],
    ),
    call(
        APPLICATIONS,
        "ListApplications",
        Scope::Read,
        &[
            get("/v1/applications"),
            get("/v1/numbers/{number}/applications"),
        ],
    ),
    call(
        APPLICATIONS,
        "UpdateApplication",
        Scope::Admin,
        &[post("/v1/applications/{application.application_id}:update")],
    ),
    call(
        APPLICATIONS,
        "AcceptInvite",
        Scope::Admin,
        &[post("/v1/applications/{application_id}:acceptInvite")],
    ),
    call(
        APPLICATIONS,
        "RecordVerification",
        Scope::Admin,
        &[post("/v1/applications/{application_id}:recordVerification")],
    ),
    call(
        APPLICATIONS,
        "SignTerms",
        Scope::Admin,
        &[post("/v1/applications/{application_id}:signTerms")],
    ),
    call(
        APPLICATIONS,
        "ActivateNumber",
        Scope::Admin,
        &[post("/v1/applications/{application_id}:activateNumber")],
    ),
    call(
        APPLICATIONS,
        "CancelApplication",
        Scope::Admin,
        &[post("/v1/applications/{application_id}:cancel")],
    ),
    call(
        CONSENTS,
        "GetConsent",
        Scope::Read,
        &[
            get("/v1/numbers/{number}/customers/{customer_id}/consent"),
            get("/v1/numbers/{number}/consent"),
        ],
    ),
    call(
        CONSENTS,
        "ListConsentChanges",
        Scope::Read,
        &[
            get("/v1/numbers/{number}/customers/{customer_id}/consent/changes"),
            get("/v1/numbers/{number}/consent/changes"),
        ],
    ),
    call(
        CONSENTS,
        "RecordConsent",
        Scope::Send,
        &[Binding {
            verb: Verb::Post,
            template: "/v1/numbers/{item.number}/consents:record",
            body: Body::Field("item"),
        }],
    ),
    call(
        CONSENTS,
        "ImportConsents",
        Scope::Send,
        &[lines("/v1/consents:import", "item")],
    ),
    call(
        CONSENTS,
        "ExportConsents",
        Scope::Audit,
        &[get("/v1/numbers/{number}/consents:export")],
    ),
    call(
        MEDIA,
        "GetMedia",
        Scope::Read,
        &[get("/v1/media/{media_id}")],
    ),
    file(call(
        MEDIA,
        "DownloadMedia",
        Scope::Read,
        &[get("/v1/media/{media_id}:download")],
    )),
    call(AUDIT, "ListEvents", Scope::Audit, &[get("/v1/events")]),
    call(
        AUDIT,
        "VerifyChain",
        Scope::Audit,
        &[post("/v1/events:verifyChain")],
    ),
];

/// Returns the row of a call, if it has one.
pub(crate) fn row(service: &str, method: &str) -> Option<&'static Call> {
    CALLS
        .iter()
        .find(|call| call.service == service && call.method == method)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

    use super::*;

    fn names(pool: &DescriptorPool) -> BTreeSet<(String, String)> {
        pool.services()
            .flat_map(|service| {
                let methods: Vec<_> = service
                    .methods()
                    .map(|method| (service.full_name().to_owned(), method.name().to_owned()))
                    .collect();
                methods
            })
            .collect()
    }

    fn resolves_to_text(message: &MessageDescriptor, path: &str) -> bool {
        let (first, rest) = path
            .split_once('.')
            .map_or((path, None), |(a, b)| (a, Some(b)));
        let Some(field) = message.get_field_by_name(first) else {
            return false;
        };
        match (field.kind(), rest) {
            (Kind::Message(inner), Some(rest)) => resolves_to_text(&inner, rest),
            (Kind::String, None) => !field.is_list(),
            _ => false,
        }
    }

    #[test]
    fn every_call_has_a_route_and_every_route_a_call() {
        let pool = DescriptorPool::decode(casement_proto::DESCRIPTORS).unwrap();
        let routed: BTreeSet<_> = CALLS
            .iter()
            .map(|call| (call.service.to_owned(), call.method.to_owned()))
            .collect();
        assert_eq!(routed, names(&pool));
        assert_eq!(routed.len(), CALLS.len(), "a call has two rows");
        assert!(CALLS.iter().all(|call| !call.bindings.is_empty()));
    }

    #[test]
    fn templates_name_fields_of_their_request() {
        let pool = DescriptorPool::decode(casement_proto::DESCRIPTORS).unwrap();
        for call in CALLS {
            let service = pool.get_service_by_name(call.service).unwrap();
            let method = service
                .methods()
                .find(|method| method.name() == call.method)
                .unwrap();
            for binding in call.bindings {
                for variable in variables_of(binding.template) {
                    assert!(
                        resolves_to_text(&method.input(), variable),
                        "{} of {}",
                        variable,
                        binding.template
                    );
                }
                if let Body::Field(name) | Body::Lines(name) = binding.body {
                    let field = method.input().get_field_by_name(name).unwrap();
                    assert!(matches!(field.kind(), Kind::Message(_)), "{name}");
                }
                assert_eq!(binding.verb == Verb::Get, binding.body == Body::None);
            }
        }
    }
}
