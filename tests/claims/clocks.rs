//! Processes that are started while their machine's clock is wrong: they take nothing and decide
//! nothing, say what they wait for, and begin by themselves once it is right.

use casement_event::v1;
use casement_proto::message::v1::SendMessageRequest;
use casement_proto::message::v1::send_message_request::Customer;
use casement_shell::clock::Clock as _;
use casement_shell::{SystemClock, grpc};
use casement_testkit::eventually;
use casement_tests::{NUMBER, Options, Role, Stack, free_form};
use jiff::SignedDuration;
use tempfile::TempDir;
use tonic::Code;

const CUSTOMER: &str = "+15550002222";

/// The variable of the seam for tests.
const CLOCK_FILE: &str = "CASEMENT_TESTING_CLOCK_FILE";

/// The machine of each role, and by how many seconds its clock is wrong.
fn set_clocks(folder: &TempDir, wrong_by: impl Fn(usize) -> i64) {
    for (index, role) in Role::ALL.into_iter().enumerate() {
        let file = folder.path().join(format!("{role:?}"));
        std::fs::write(file, wrong_by(index).to_string()).expect("a file");
    }
}

#[tokio::test]
async fn roles_started_under_a_wrong_clock_take_nothing_and_begin_once_it_is_right() {
    const HOUR: i64 = 3_600;
    let mut stack = Stack::without_roles(&Options::default()).await;
    let machines = TempDir::new().unwrap();
    for role in Role::ALL {
        let file = machines.path().join(format!("{role:?}"));
        stack.set_variable(role, 0, CLOCK_FILE, &file.display().to_string());
    }
    let customer = stack.customer(CUSTOMER);
    let wrong = [-HOUR, HOUR, -24 * HOUR, 24 * HOUR];
    for turn in 0..wrong.len() {
        set_clocks(&machines, |index| wrong[(index + turn) % wrong.len()]);
        for role in Role::ALL {
            stack.launch(role, 0);
        }
        for role in Role::ALL {
            eventually(
                &format!("{role:?} says what it waits for"),
                async || match stack.look(role, 0).await {
                    Err(why) if why.contains("clock: broker's clock is") => Ok(()),
                    other => Err(format!("{other:?}")),
                },
            )
            .await;
        }
        eventually("webhooks are to come again", async || {
            match stack.post(b"{}").await {
                Some(503) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let request = SendMessageRequest {
            number: NUMBER.to_owned(),
            customer: Some(Customer::To(CUSTOMER.to_owned())),
            content: Some(free_form("Hello")),
            purpose: v1::Purpose::Service.into(),
            request_id: format!("turn-{turn}"),
            ..SendMessageRequest::default()
        };
        let mut messages = stack.clients().messages;
        eventually("sends are to come again", async || {
            match messages.send_message(request.clone()).await {
                Err(status) if grpc::reason(&status).as_deref() == Some("NOT_BEGUN") => {
                    assert_eq!(status.code(), Code::Unavailable);
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        })
        .await;

        set_clocks(&machines, |_| 0);
        let before = SystemClock::new().now();
        for role in Role::ALL {
            eventually(&format!("{role:?} begins"), async || {
                stack.look(role, 0).await
            })
            .await;
        }
        stack.says(&customer, "Hello");
        let clients = stack.clients();
        eventually("the message counts as of now", async || {
            let window = clients.open_window(CUSTOMER).await;
            let wrote = window.last_inbound_time.unwrap();
            let wrote = jiff::Timestamp::new(wrote.seconds, wrote.nanos).unwrap();
            // The platform tells whole seconds.
            if wrote >= before - SignedDuration::from_secs(2) {
                Ok(())
            } else {
                Err(format!("{wrote} {before}"))
            }
        })
        .await;
        for role in Role::ALL {
            stack.kill9(role, 0);
        }
    }
    stack.stop().await;
}
