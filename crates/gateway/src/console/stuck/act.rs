//! Doing to stuck work what somebody confirmed, and telling what became of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use casement_proto::account::v1::ResumeNumberRequest;
use casement_proto::message::v1::{
    CancelMessageRequest, ResumeSendsRequest, RetryMessagesRequest, resume_sends_request::What,
    send_result,
};
use casement_proto::repair::v1::{
    DeadLetterFilter, DropDeadLettersRequest, ReplayParkedPostsRequest, RetryDeadLettersRequest,
};
use casement_shell::grpc::said;
use futures::StreamExt as _;
use tonic::{Code, Status};

use super::super::page::{Failure, Notice};
use super::super::session::Session;
use super::super::view::{count, counted};
use super::kind::Action;

/// Calls in flight for one order.
const IN_FLIGHT_MAX: usize = 8;

/// What was confirmed.
pub(super) struct Order {
    pub(super) ids: Vec<String>,
    /// Why, for the record.
    pub(super) reason: String,
    /// Whether the customer may get something twice.
    pub(super) takes_risk: bool,
}

/// What became of the parts of an order.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    pending: u64,
    /// Why some were not done, with how many.
    refused: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, result: Result<(), Status>) {
        match result {
            Ok(()) => self.done += 1,
            Err(status) => *self.refused.entry(why(&status)).or_default() += 1,
        }
    }

    fn told(&self, action: Action) -> Notice {
        let done = match action {
            Action::Cancel => "withdrawn",
            Action::Again => "sent again",
            Action::Lift => "lifted",
            Action::Resume => "resumed",
            Action::Retry => "handled now",
            Action::Drop => "given up",
            Action::Replay => "released",
        };
        // Writing to a string cannot fail.
        let mut text = format!("{} {done}.", count(self.done));
        if self.pending > 0 {
            let asked = counted(
                self.pending,
                "was asked for and is",
                "were asked for and are",
            );
            let _ = write!(text, " {asked} done once their role answers.");
        }
        if !self.refused.is_empty() {
            let not: u64 = self.refused.values().sum();
            let whys: Vec<String> = self
                .refused
                .iter()
                .map(|(why, times)| format!("{} × {why}", count(*times)))
                .collect();
            let _ = write!(text, " {} not: {}.", count(not), whys.join("; "));
        }
        Notice {
            is_good: self.refused.is_empty(),
            text,
        }
    }
}

fn why(status: &Status) -> String {
    let said = said(status);
    if said.reason.is_empty() {
        said.message
    } else {
        format!("{} ({})", said.message, said.reason)
    }
}

/// Does it. What cannot be done at all is a failure; what part of it could not be is told.
pub(super) async fn act(
    session: &Session,
    action: Action,
    order: &Order,
) -> Result<Notice, Failure> {
    let tally = match action {
        Action::Cancel => each(order, |id| cancel(session, id)).await,
        Action::Lift => each(order, |id| lift(session, id, &order.reason)).await,
        Action::Resume => each(order, |id| resume(session, id)).await,
        Action::Replay => each(order, |id| replay(session, id, &order.reason)).await,
        Action::Again => again(session, order).await?,
        Action::Retry | Action::Drop => letters(session, action, order).await?,
    };
    Ok(tally.told(action))
}

async fn each<'a, F, Fut>(order: &'a Order, one: F) -> Tally
where
    F: Fn(&'a str) -> Fut,
    Fut: Future<Output = Result<(), Status>>,
{
    let calls: Vec<_> = order.ids.iter().map(|id| one(id)).collect();
    let mut results = futures::stream::iter(calls).buffered(IN_FLIGHT_MAX);
    let mut tally = Tally::default();
    while let Some(result) = results.next().await {
        tally.add(result);
    }
    tally
}

async fn cancel(session: &Session, id: &str) -> Result<(), Status> {
    let request = CancelMessageRequest {
        message_id: id.to_owned(),
    };
    session.api().messages().cancel_message(request).await?;
    Ok(())
}

async fn lift(session: &Session, id: &str, reason: &str) -> Result<(), Status> {
    let request = ResumeSendsRequest {
        what: Some(What::HaltId(id.to_owned())),
        reason: reason.to_owned(),
    };
    session.api().messages().resume_sends(request).await?;
    Ok(())
}

async fn resume(session: &Session, id: &str) -> Result<(), Status> {
    let request = ResumeNumberRequest {
        number: id.to_owned(),
    };
    session.api().accounts().resume_number(request).await?;
    Ok(())
}

/// Releases the posts of one number: as many as there are now.
async fn replay(session: &Session, id: &str, reason: &str) -> Result<(), Status> {
    let mut repair = session.api().repair();
    let request = ReplayParkedPostsRequest {
        phone_number_id: id.to_owned(),
        confirm_count: None,
        reason: reason.to_owned(),
    };
    let counted = repair.replay_parked_posts(request.clone()).await?;
    let request = ReplayParkedPostsRequest {
        confirm_count: Some(counted.get_ref().count),
        ..request
    };
    repair.replay_parked_posts(request).await?;
    Ok(())
}

async fn again(session: &Session, order: &Order) -> Result<Tally, Failure> {
    let request = RetryMessagesRequest {
        message_ids: order.ids.clone(),
        accept_duplicate_risk: order.takes_risk,
    };
    let answer = session.api().messages().retry_messages(request).await?;
    let mut tally = Tally::default();
    for result in answer.into_inner().results {
        tally.add(match result.result {
            Some(send_result::Result::Accepted(_)) => Ok(()),
            Some(send_result::Result::Refused(refusal)) => {
                let message = format!("{} ({})", refusal.message, refusal.reason);
                Err(Status::failed_precondition(message))
            }
            None => Err(Status::unknown("nothing was said of it")),
        });
    }
    Ok(tally)
}

async fn letters(session: &Session, action: Action, order: &Order) -> Result<Tally, Failure> {
    let sequences = order.ids.iter().map(|id| id.parse());
    let sequences: Vec<u64> = sequences
        .collect::<Result<_, _>>()
        .map_err(|_| Failure::wrong("This form makes no sense", "Nothing was done."))?;
    let confirm_count = Some(sequences.len() as u64);
    let filter = Some(DeadLetterFilter {
        sequences,
        ..DeadLetterFilter::default()
    });
    let reason = order.reason.clone();
    let mut repair = session.api().repair();
    let (results, pending) = if action == Action::Retry {
        let request = RetryDeadLettersRequest {
            filter,
            confirm_count,
            reason,
        };
        let answer = repair.retry_dead_letters(request).await?.into_inner();
        (answer.results, answer.pending_count)
    } else {
        let request = DropDeadLettersRequest {
            filter,
            confirm_count,
            reason,
        };
        let answer = repair.drop_dead_letters(request).await?.into_inner();
        (answer.results, answer.pending_count)
    };
    let mut tally = Tally {
        pending,
        ..Tally::default()
    };
    for result in results {
        let is_settled = result.outcome != 0;
        tally.add(if is_settled {
            Ok(())
        } else {
            Err(Status::new(Code::FailedPrecondition, result.detail))
        });
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_and_what_was_not_is_told_with_why() {
        let mut tally = Tally::default();
        tally.add(Ok(()));
        tally.add(Ok(()));
        assert_eq!(tally.told(Action::Cancel).text, "2 withdrawn.");
        assert!(tally.told(Action::Cancel).is_good);
        tally.add(Err(Status::failed_precondition("it is over")));
        tally.add(Err(Status::failed_precondition("it is over")));
        tally.pending = 1;
        let told = tally.told(Action::Retry);
        assert!(!told.is_good);
        assert_eq!(
            told.text,
            "2 handled now. 1 was asked for and is done once their role answers. \
             2 not: 2 × it is over."
        );
    }
}
