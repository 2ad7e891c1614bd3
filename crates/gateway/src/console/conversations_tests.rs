//! What the list asks for, and what it shows.

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_763_800_000).unwrap()
}

fn asked(query: &str) -> Asked {
    serde_urlencoded::from_str(query).unwrap()
}

#[test]
fn filters_become_a_request() {
    let request = asked("").request("ana", now());
    assert_eq!(request.closed, Some(false));
    assert_eq!(request.order_by, "heard_time desc");
    assert!(request.statuses.is_empty() && request.assigned.is_none());

    let request = asked(
        "number=%2B15550001111&status=soon&assignee=me&label=vip+refund&unread=1&waiting=1&closed=any&order=end&page=t",
    )
    .request("ana", now());
    assert_eq!(request.number, "+15550001111");
    assert_eq!(request.assignee, "ana");
    assert_eq!(request.labels, ["vip", "refund"]);
    assert_eq!((request.unread, request.closed), (Some(true), None));
    assert_eq!(request.waiting, Some(true));
    assert_eq!(
        (request.order_by.as_str(), request.page_token.as_str()),
        ("expire_time", "t")
    );
    let until = request.expire_before_time.unwrap().seconds;
    assert_eq!(until - now().as_second(), 7_200);
    assert_eq!(request.statuses.len(), 2);

    for (assignee, assigned, name) in [
        ("nobody", Some(false), ""),
        ("somebody", Some(true), ""),
        ("bo", None, "bo"),
    ] {
        let request = asked(&format!("assignee={assignee}")).request("ana", now());
        assert_eq!(
            (request.assigned, request.assignee.as_str()),
            (assigned, name)
        );
    }
}

#[test]
fn an_address_says_what_is_asked_for_and_no_more() {
    assert_eq!(Asked::default().address(SCREEN), "/conversations");
    let asked = asked("status=open&number=&page=a%3D");
    assert_eq!(
        asked.address(SCREEN),
        "/conversations?status=open&page=a%3D"
    );
    assert!(asked.is_narrowed());
    assert!(!super::tests::asked("page=a&order=end").is_narrowed());
}

#[test]
fn a_row_shows_the_window_as_long_as_it_is_open() {
    let at = |seconds: i64| {
        Some(prost_types::Timestamp {
            seconds: now().as_second() + seconds,
            nanos: 0,
        })
    };
    let mut conversation = Conversation {
        number: "+15550001111".to_owned(),
        customer_id: "0199abcdef".to_owned(),
        last_inbound_text: "a\nb".to_owned(),
        last_inbound_time: at(-3_600),
        expire_time: at(3_600),
        assignee: "ana".to_owned(),
        unread: true,
        ..Conversation::default()
    };
    conversation.set_status(ConversationStatus::Open);
    let row = Row::new(&conversation, "ana", now());
    assert_eq!(row.countdown.unwrap().text(), "1 h left");
    assert_eq!(row.href, "/conversations/15550001111/0199abcdef");
    assert_eq!(
        (row.name.as_str(), row.text.as_str()),
        ("Customer …abcdef", "a b")
    );
    assert!(row.is_mine);
    assert_eq!((row.unread.as_str(), row.by), ("unread", ""));

    let mut last = RecentMessage {
        kind: "image".to_owned(),
        ..RecentMessage::default()
    };
    last.set_direction(Direction::Outbound);
    conversation.recent_messages = vec![last];
    for (count, said) in [(3, "3 unread"), (100, "99+ unread")] {
        conversation.unread_count = count;
        let row = Row::new(&conversation, "ana", now());
        assert_eq!(
            (row.unread.as_str(), row.by, row.text.as_str()),
            (said, "We:", "image")
        );
    }

    conversation.set_status(ConversationStatus::Locked);
    conversation.profile_name = " <b>Ana</b> ".to_owned();
    let row = Row::new(&conversation, "", now());
    assert_eq!(row.countdown, None);
    assert_eq!((row.name.as_str(), row.is_mine), ("<b>Ana</b>", false));
    assert_eq!(row.status.text, "locked");
}
