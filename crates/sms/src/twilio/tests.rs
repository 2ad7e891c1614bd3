//! Signatures and callbacks against Twilio's rules.

use proptest::{collection::vec, prelude::*};
use secrecy::SecretString;

use super::{
    callback::{self, Callback, InboundSms, ParseError, Status, StatusCallback},
    signature::{SignatureError, sign_body_hash, sign_form, verify, verify_body_hash, verify_form},
};
use crate::webhook::{Delivery, Failure, Media, OptOut, Webhook};

const URL: &str = "https://brand.example/webhooks/twilio?shard=1";

fn tokens(texts: &[&str]) -> Vec<SecretString> {
    texts.iter().copied().map(SecretString::from).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn form(pairs: &[(String, String)]) -> Vec<u8> {
    serde_urlencoded::to_string(pairs)
        .expect("a form")
        .into_bytes()
}

#[test]
fn a_signature_is_the_hmac_of_the_url_and_the_sorted_parameters() {
    // Computed with Python's hmac and hashlib over the URL followed by `A1B2B3a4`.
    let params = pairs(&[("a", "4"), ("B", "3"), ("A", "1"), ("B", "2"), ("B", "3")]);
    assert_eq!(
        sign_form(URL, &params, &SecretString::from("token")),
        SIGNATURE
    );
    assert_eq!(
        verify_form(URL, &form(&params), Some(SIGNATURE), &tokens(&["token"])),
        Ok(())
    );
}

const SIGNATURE: &str = "7PMfavZdLoOCGdYTEC+M1lF8T9s=";

#[test]
fn only_a_whole_signature_by_one_of_our_tokens_passes() {
    use SignatureError as E;
    let params = pairs(&[
        ("Body", "a b+c&d=ü €"),
        ("From", "+4915550001"),
        ("Empty", ""),
    ]);
    let body = form(&params);
    let good = sign_form(URL, &params, &SecretString::from("token"));
    let good = good.as_str();
    let other_url = "https://brand.example/webhooks/twilio?shard=2";
    for (name, url, body, header, tokens, expected) in [
        (
            "right",
            URL,
            body.as_slice(),
            Some(good),
            tokens(&["token"]),
            Ok(()),
        ),
        (
            "the older of two",
            URL,
            &body,
            Some(good),
            tokens(&["new", "token"]),
            Ok(()),
        ),
        (
            "another token",
            URL,
            &body,
            Some(good),
            tokens(&["Token"]),
            Err(E::Mismatch),
        ),
        (
            "no token",
            URL,
            &body,
            Some(good),
            tokens(&[]),
            Err(E::Mismatch),
        ),
        (
            "another URL",
            other_url,
            &body,
            Some(good),
            tokens(&["token"]),
            Err(E::Mismatch),
        ),
        (
            "another body",
            URL,
            b"From=x",
            Some(good),
            tokens(&["token"]),
            Err(E::Mismatch),
        ),
        (
            "no header",
            URL,
            &body,
            None,
            tokens(&["token"]),
            Err(E::Missing),
        ),
        (
            "no base64",
            URL,
            &body,
            Some("!"),
            tokens(&["token"]),
            Err(E::Malformed),
        ),
        (
            "too short",
            URL,
            &body,
            Some("QUJD"),
            tokens(&["token"]),
            Err(E::Malformed),
        ),
        (
            "empty",
            URL,
            &body,
            Some(""),
            tokens(&["token"]),
            Err(E::Malformed),
        ),
    ] {
        assert_eq!(verify_form(url, body, header, &tokens), expected, "{name}");
    }
}

#[test]
fn a_signature_by_the_empty_token_is_nobodys() {
    let empty = tokens(&[""]);
    let header = sign_form(URL, &[], &empty[0]);
    assert_eq!(
        verify_form(URL, b"", Some(&header), &empty),
        Err(SignatureError::Mismatch)
    );
}

#[test]
fn a_default_port_may_be_written_or_not() {
    let token = SecretString::from("token");
    for (signed, ours, passes) in [
        ("https://a.example/x", "https://a.example:443/x", true),
        ("https://a.example:443/x", "https://a.example/x", true),
        ("http://a.example:80?q=1", "http://a.example?q=1", true),
        ("https://a.example:8443/x", "https://a.example:8443/x", true),
        ("https://a.example/x", "https://a.example:8443/x", true),
        ("https://a.example:8443/x", "https://a.example/x", false),
        ("http://a.example/x", "https://a.example/x", false),
    ] {
        let header = sign_form(signed, &[], &token);
        let result = verify_form(ours, b"", Some(&header), std::slice::from_ref(&token));
        assert_eq!(result.is_ok(), passes, "{signed} {ours}");
    }
}

#[test]
fn a_body_that_is_no_form_is_vouched_for_by_the_url() {
    let token = SecretString::from("token");
    let tokens = std::slice::from_ref(&token);
    for url in [URL, "https://brand.example/x"] {
        let (url, header) = sign_body_hash(url, br#"{"a":1}"#, &token);
        assert_eq!(
            verify_body_hash(&url, br#"{"a":1}"#, Some(&header), tokens),
            Ok(())
        );
        assert_eq!(
            verify_body_hash(&url, br#"{"a":2}"#, Some(&header), tokens),
            Err(SignatureError::BodyMismatch)
        );
    }
    let header = sign_form(URL, &[], &token);
    assert_eq!(
        verify_body_hash(URL, b"{}", Some(&header), tokens),
        Err(SignatureError::BodyMismatch)
    );
}

#[test]
fn a_status_callback_is_read_by_its_parameters() {
    let all = pairs(&[
        ("MessageSid", "SM1"),
        ("MessageStatus", "undelivered"),
        ("SmsSid", "SM1"),
        ("SmsStatus", "undelivered"),
        ("ErrorCode", "30003"),
        ("To", "+4915550001"),
        ("From", "+49305550100"),
        ("AccountSid", "AC1"),
        ("SomethingNew", "1"),
    ]);
    assert_eq!(
        callback::parse(&form(&all)),
        Ok(Callback::Status(StatusCallback {
            sid: "SM1".to_owned(),
            status: Status::Undelivered,
            error_code: Some(30_003),
            to: Some("+4915550001".to_owned()),
            from: Some("+49305550100".to_owned()),
            account_sid: Some("AC1".to_owned()),
        }))
    );
}

#[test]
fn every_status_keeps_its_word() {
    use Status as S;
    for (word, status, is_final, is_failure) in [
        ("accepted", S::Accepted, false, false),
        ("scheduled", S::Scheduled, false, false),
        ("queued", S::Queued, false, false),
        ("sending", S::Sending, false, false),
        ("sent", S::Sent, false, false),
        ("delivered", S::Delivered, true, false),
        ("undelivered", S::Undelivered, true, true),
        ("failed", S::Failed, true, true),
        ("canceled", S::Canceled, true, true),
        ("read", S::Read, true, false),
        ("partially_delivered", S::PartiallyDelivered, false, false),
        ("receiving", S::Receiving, false, false),
        ("received", S::Received, false, false),
        ("pondered", S::Other("pondered".to_owned()), false, false),
    ] {
        assert_eq!(Status::parse(word), status);
        assert_eq!(status.as_str(), word);
        assert_eq!(
            (status.is_final(), status.is_failure()),
            (is_final, is_failure),
            "{word}"
        );
        let body = format!("MessageSid=SM1&MessageStatus={word}");
        let is_inbound = matches!(status, S::Receiving | S::Received);
        match callback::parse(body.as_bytes()) {
            Ok(Callback::Status(report)) => assert_eq!(report.status, status),
            other => assert!(is_inbound, "{word}: {other:?}"),
        }
    }
}

#[test]
fn a_customers_sms_is_read_by_its_parameters() {
    for (extra, body, opt_out) in [
        (("Body", "hello & goodbye"), "hello & goodbye", None),
        (("Body", ""), "", None),
        (("OptOutType", "STOP"), "x", Some(OptOut::Stop)),
        (("OptOutType", "start"), "x", Some(OptOut::Start)),
        (("OptOutType", "HELP"), "x", Some(OptOut::Help)),
    ] {
        let mut all = pairs(&[
            ("MessageSid", "SM2"),
            ("SmsStatus", "received"),
            ("From", "+4915550001"),
            ("To", "+49305550100"),
            ("NumMedia", "0"),
            ("AccountSid", "AC1"),
            extra,
        ]);
        if extra.0 != "Body" {
            all.extend(pairs(&[("Body", "x")]));
        }
        assert_eq!(
            callback::parse(&form(&all)),
            Ok(Callback::Inbound(InboundSms {
                sid: "SM2".to_owned(),
                from: "+4915550001".to_owned(),
                to: "+49305550100".to_owned(),
                body: body.to_owned(),
                media: Vec::new(),
                segments: None,
                opt_out,
                account_sid: Some("AC1".to_owned()),
            }))
        );
    }
}

#[test]
fn each_post_is_verified_the_way_it_was_signed() {
    let token = SecretString::from("token");
    let tokens = std::slice::from_ref(&token);
    let params = pairs(&[("Body", "stop"), ("From", "+4915550001")]);
    let header = sign_form(URL, &params, &token);
    assert_eq!(verify(URL, &form(&params), Some(&header), tokens), Ok(()));
    assert_eq!(
        verify(URL, b"Body=go", Some(&header), tokens),
        Err(SignatureError::Mismatch)
    );
    let json = br#"{"MessageSid":"SM1","Body":"stop"}"#;
    let (url, header) = sign_body_hash(URL, json, &token);
    assert_eq!(verify(&url, json, Some(&header), tokens), Ok(()));
    assert_eq!(
        verify(&url, b"{}", Some(&header), tokens),
        Err(SignatureError::BodyMismatch)
    );
    // Without the hash in the URL the body would not be vouched for at all.
    assert_eq!(
        verify(URL, json, Some(&header), tokens),
        Err(SignatureError::Mismatch)
    );
    let forged = url.replace("bodySHA256=", "bodySHA256=0");
    assert_eq!(
        verify(&forged, json, Some(&header), tokens),
        Err(SignatureError::Mismatch)
    );
}

#[test]
fn a_long_message_with_files_comes_whole() {
    let text = "long ".repeat(100);
    let all = pairs(&[
        ("MessageSid", "MM1"),
        ("From", "+4915550001"),
        ("To", "+49305550100"),
        ("Body", &text),
        ("NumSegments", "4"),
        ("NumMedia", "3"),
        ("MediaUrl0", "https://api.twilio.com/a"),
        ("MediaContentType0", "image/jpeg"),
        ("MediaUrl1", "https://api.twilio.com/b"),
    ]);
    let Ok(Callback::Inbound(sms)) = callback::parse(&form(&all)) else {
        panic!("no message")
    };
    assert_eq!((sms.body.as_str(), sms.segments), (text.as_str(), Some(4)));
    let media = |name: &str, mime_type: Option<&str>| Media {
        url: format!("https://api.twilio.com/{name}"),
        mime_type: mime_type.map(str::to_owned),
    };
    assert_eq!(
        sms.media,
        [media("a", Some("image/jpeg")), media("b", None)]
    );
    let Webhook::Inbound(shared) = Callback::Inbound(sms.clone()).into_webhook() else {
        panic!("no message")
    };
    assert_eq!((shared.text, shared.media), (sms.body, sms.media));
    // A count that is a lie costs nothing.
    let lie = "MessageSid=SM1&From=%2B1&To=%2B2&NumMedia=4294967295";
    let Ok(Callback::Inbound(sms)) = callback::parse(lie.as_bytes()) else {
        panic!("no message")
    };
    assert_eq!(sms.media, []);
}

#[test]
fn a_callback_may_be_a_json_object() {
    let json = br#" {"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": 30003}"#;
    let Ok(callback) = callback::parse(json) else {
        panic!("no callback")
    };
    let Webhook::Report(report) = callback.into_webhook() else {
        panic!("no report")
    };
    assert_eq!(
        (report.id.as_str(), report.word.as_str()),
        ("SM1", "undelivered")
    );
    assert_eq!(report.delivery, Some(Delivery::Failed));
    let failure = Failure {
        code: 30_003,
        detail: String::new(),
    };
    assert_eq!(report.failure, Some(failure));
    assert_eq!(callback::parse(b"{]"), Err(ParseError::NotAForm));
}

#[test]
fn what_is_no_callback_is_refused() {
    for (body, error) in [
        ("", ParseError::NeitherStatusNorMessage),
        ("a=b", ParseError::NeitherStatusNorMessage),
        ("MessageStatus=sent", ParseError::Missing("MessageSid")),
        ("MessageSid=SM1&Body=x&To=%2B1", ParseError::Missing("From")),
        ("MessageSid=SM1&Body=x&From=%2B1", ParseError::Missing("To")),
    ] {
        assert_eq!(callback::parse(body.as_bytes()), Err(error), "{body}");
    }
}

proptest! {
    #[test]
    fn a_signed_form_verifies_in_any_order(
        params in vec(("[A-Za-z]{1,6}", "(?s).{0,8}"), 0..8),
        seed in any::<u64>(),
    ) {
        let token = SecretString::from("token");
        let header = sign_form(URL, &params, &token);
        let mut shuffled = params;
        if !shuffled.is_empty() {
            let by = usize::try_from(seed % 8).expect("small") % shuffled.len();
            shuffled.rotate_left(by);
            shuffled.reverse();
        }
        let result = verify_form(URL, &form(&shuffled), Some(&header), &[token]);
        prop_assert_eq!(result, Ok(()));
    }

    #[test]
    fn no_bytes_make_a_callback_panic(bytes in vec(any::<u8>(), 0..200), url in ".{0,40}", header in ".{0,40}") {
        let _ = callback::parse(&bytes);
        let tokens = tokens(&["token"]);
        let _ = verify_form(&url, &bytes, Some(&header), &tokens);
        let _ = verify_body_hash(&url, &bytes, Some(&header), &tokens);
        let _ = verify(&url, &bytes, Some(&header), &tokens);
    }
}
