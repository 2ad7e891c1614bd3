//! Lists of conversations: which are meant, in which order, and where a page ends.
//!
//! Pages are of the moment at which the first was asked for. What a conversation says is as it is
//! by now; where it stands in the list is not.

use casement_domain::conversation::{Label, Status as Standing};
use casement_event::convert::instant;
use casement_event::subject::stream;
use casement_event::v1::{ThreadOwner, WindowState};
use casement_proto::conversation::v1 as proto;
use casement_shell::grpc::{bad_field, refuse};
use jiff::{SignedDuration, Timestamp};
use tonic::{Code, Status};

use super::conversation::{ConversationApi, status_of};
use super::{bad_token, colleague, number, one_brand, page_size, unanswered};
use crate::model::{ConversationKey, instant as of_nanoseconds, nanoseconds};
use crate::page;
use crate::store::{ConversationFilter, ListKey, Order};
use crate::tally::{AsOf, PAGING_MAX};

const PAGE_LEN: usize = 50;
const PAGE_LEN_MAX: usize = 500;

/// Most numbers that a filter may name.
const NUMBERS_MAX: usize = 100;

/// Where a page ends: its place in the order, number, customer; and as of which event and time
/// the list is.
type PageKey = (i64, String, String, Option<(u64, i64)>);

impl ConversationApi {
    /// Answers `ListConversations`.
    pub(super) async fn list(
        &self,
        own: Option<String>,
        request: proto::ListConversationsRequest,
    ) -> Result<proto::ListConversationsResponse, Status> {
        let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
        let mut filter = filter(own, &request, self.backend.clock.now())?;
        // All that decides which rows there are but the present time, which goes on while one
        // pages.
        let question = ConversationFilter {
            now: Timestamp::UNIX_EPOCH,
            waiting_since_max: None,
            ..filter.clone()
        };
        let waiting = request.waiting_at_least;
        let question = format!("{question:?} {waiting:?}");
        let question = [question.as_str()];
        let after = page::key::<PageKey>(&question, &request.page_token).map_err(bad_token)?;
        self.backend.reach(&request.not_before).await?;
        let after = match after {
            None => {
                filter.as_of = self.as_of();
                None
            }
            Some((place, number, customer_id, as_of)) => {
                filter.as_of = as_of.map(|(sequence, began)| AsOf {
                    sequence,
                    began: of_nanoseconds(began),
                });
                self.is_in_time(filter.as_of)?;
                let key = ConversationKey {
                    number,
                    customer_id,
                };
                Some(ListKey { place, key })
            }
        };
        let store = &self.backend.store;
        let mut rows = store
            .conversations(&filter, after.as_ref(), rows_max + 1)
            .await
            .map_err(|error| unanswered(&error))?;
        let has_more = rows.len() > rows_max;
        rows.truncate(rows_max);
        let last = rows.last().filter(|_| has_more);
        let next_page_token =
            last.and_then(|last| ListKey::of(last, &filter))
                .map(|ListKey { place, key }| {
                    let as_of = filter.as_of;
                    let as_of = as_of.map(|as_of| (as_of.sequence, nanoseconds(as_of.began)));
                    page::token(&question, (place, key.number, key.customer_id, as_of))
                });
        Ok(proto::ListConversationsResponse {
            conversations: rows.iter().map(|row| self.shown(row)).collect(),
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }

    /// The present, as events have it.
    fn as_of(&self) -> Option<AsOf> {
        let reached = self.backend.progress.watch(stream::EVENTS)?;
        let sequence = reached.borrow().as_ref()?.sequence;
        Some(AsOf {
            sequence,
            began: self.backend.clock.now(),
        })
    }

    fn is_in_time(&self, as_of: Option<AsOf>) -> Result<(), Status> {
        let began = as_of.map_or(Timestamp::MAX, |as_of| as_of.began);
        let took = self.backend.clock.now().duration_since(began);
        if took <= PAGING_MAX {
            return Ok(());
        }
        Err(refuse(
            Code::FailedPrecondition,
            "PAGE_TOKEN_EXPIRED",
            "this page token is older than 15 minutes: begin with the first page",
        ))
    }
}

fn filter(
    own: Option<String>,
    request: &proto::ListConversationsRequest,
    now: Timestamp,
) -> Result<ConversationFilter, Status> {
    let asked = Some(&request.number).filter(|number| !number.is_empty());
    if request.numbers.len() > NUMBERS_MAX {
        return Err(bad_field("numbers", "are more than 100"));
    }
    let numbers = asked.into_iter().chain(&request.numbers);
    let numbers = numbers.map(|text| Ok::<_, Status>(number(text)?.digits().to_owned()));
    let window_state = WindowState::try_from(request.window_state)
        .map_err(|_| bad_field("window_state", "is not a state of a window"))?;
    let time = |field, stored: Option<&prost_types::Timestamp>| {
        instant(field, stored).map_err(|error| bad_field(field, error.to_string()))
    };
    let statuses = request.statuses.iter().map(|status| asked_status(*status));
    let assignee = match request.assignee.as_str() {
        "" => None,
        name => Some(colleague::name("assignee", name)?.as_str().to_owned()),
    };
    let labels = request.labels.iter().map(|label| {
        let label = Label::parse(label).map_err(|error| bad_field("labels", error.to_string()));
        Ok::<_, Status>(label?.as_str().to_owned())
    });
    let owners = request.thread_owners.iter().map(|owner| {
        ThreadOwner::try_from(*owner)
            .map_err(|_| bad_field("thread_owners", "names what is no owner of a thread"))
    });
    let waited = request.waiting_at_least.as_ref().map(|asked| {
        let is_sound = asked.seconds >= 0 && (0..1_000_000_000).contains(&asked.nanos);
        let waited = is_sound.then(|| SignedDuration::new(asked.seconds, asked.nanos));
        waited.ok_or_else(|| bad_field("waiting_at_least", "is no length of time"))
    });
    let waiting_since_max = waited
        .transpose()?
        .map(|waited| now.checked_sub(waited).unwrap_or(Timestamp::UNIX_EPOCH));
    let order = match request.order_by.as_str() {
        "" | "expire_time" => Order::Expiry,
        "heard_time desc" => Order::Heard,
        "waiting_since_time" => Order::Waiting,
        _ => {
            let problem = "is none of `expire_time`, `heard_time desc` and `waiting_since_time`";
            return Err(bad_field("order_by", problem));
        }
    };
    Ok(ConversationFilter {
        numbers: numbers.collect::<Result<_, _>>()?,
        brand_id: one_brand(own, &request.brand_id)?,
        window_state: Some(window_state),
        now,
        expire_time_max: time("expire_before_time", request.expire_before_time.as_ref())?,
        expire_time_start: time("expire_after_time", request.expire_after_time.as_ref())?,
        is_waiting: request.waiting,
        waiting_since_max,
        thread_owners: owners.collect::<Result<_, _>>()?,
        statuses: statuses.collect::<Result<_, _>>()?,
        assignee,
        is_assigned: request.assigned,
        is_unread: request.unread,
        is_closed: request.closed,
        labels: labels.collect::<Result<_, _>>()?,
        order,
        as_of: None,
    })
}

fn asked_status(asked: i32) -> Result<Standing, Status> {
    Standing::ALL
        .into_iter()
        .find(|status| i32::from(status_of(*status)) == asked)
        .ok_or_else(|| bad_field("statuses", "names what is no status of a conversation"))
}
