//! Scripted customers.

use casement_simulator::{Script, ScriptError};

use crate::stage::{ANA, NUMBER, SOON, Stage, template_to, text};

fn script(steps: &str) -> Script {
    let source = format!("customers = [{{ name = \"Ana\", phone = \"{ANA}\" }}]\n{steps}");
    toml::from_str(&source).expect("a script")
}

#[tokio::test]
async fn a_scripted_customer_answers_what_it_waited_for() {
    let stage = Stage::set_with(|config| config.limits.pair = None).await;
    let script = script(&format!(
        r#"
        [[steps]]
        say = {{ customer = "{ANA}", phone_number_id = "{NUMBER}", text = "Hello" }}
        [[steps]]
        expect = {{ customer = "{ANA}", within = "20s", contains = "help", reply = {{ after = "1ms", text = "My order" }} }}
        [[steps]]
        expect = {{ customer = "{ANA}", within = "20s", channel = "whatsapp" }}
        [[steps]]
        wait = "1ms"
        "#
    ));
    let business = async {
        stage.received(1).await;
        assert_eq!(stage.send(&text(ANA, "Can we help?")).await.0, 200);
        // The answer to it opens with the customer's second message.
        stage
            .handle
            .until(SOON, |_| {
                let received = stage.inbox.received();
                received
                    .iter()
                    .any(|post| String::from_utf8_lossy(&post.body).contains("My order"))
                    .then_some(())
            })
            .await
            .expect("the reply");
        assert_eq!(
            stage
                .send(&template_to(ANA, "order_update", &["7"]))
                .await
                .0,
            200
        );
    };
    let mut told = Vec::new();

    let (played, ()) = tokio::join!(
        script.run(&stage.handle, |played| told
            .push(played.received.map(|message| message.text))),
        business
    );

    played.unwrap();
    assert_eq!(
        told,
        [
            None,
            Some("Can we help?".to_owned()),
            Some("Order 7 is ready".to_owned()),
            None
        ]
    );
}

#[tokio::test]
async fn a_script_ends_when_nothing_comes() {
    let stage = Stage::set().await;
    let script = script(&format!(
        "steps = [\"clear_faults\", {{ expect = {{ customer = \"{ANA}\", within = \"5ms\" }} }}]"
    ));

    let error = script.run(&stage.handle, |_| {}).await.unwrap_err();

    assert!(
        matches!(error, ScriptError::NothingCame { index: 1, .. }),
        "{error}"
    );
}
