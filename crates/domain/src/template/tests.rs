//! Tables of what fits and what does not; laws over made-up templates.

use proptest::prelude::*;

use super::*;

fn text(text: &str) -> Parameter {
    named("", text)
}

fn named(name: &str, text: &str) -> Parameter {
    Parameter {
        name: name.to_owned(),
        kind: Kind::Text,
        text: Some(text.to_owned()),
    }
}

fn of(kind: Kind) -> Parameter {
    Parameter {
        name: String::new(),
        kind,
        text: None,
    }
}

fn at(place: Place, parameters: Vec<Parameter>) -> Component {
    Component { place, parameters }
}

fn button(kind: ButtonKind, target: &str) -> Button {
    Button {
        kind,
        text: "Go".to_owned(),
        target: target.to_owned(),
    }
}

fn at_button(index: usize, sub_type: &str, parameters: Vec<Parameter>) -> Component {
    let (index, sub_type) = (Some(index), sub_type.to_owned());
    at(Place::Button { index, sub_type }, parameters)
}

fn filling(components: Vec<Component>) -> Filling {
    Filling {
        components,
        cards: Vec::new(),
    }
}

fn of_part(header: Option<Header>, body: &str, buttons: Vec<Button>) -> Definition {
    Definition {
        part: Part {
            header,
            body: body.to_owned(),
            buttons,
        },
        ..Definition::default()
    }
}

fn fields(definition: &Definition, components: Vec<Component>) -> Vec<String> {
    let found = check(definition, &filling(components));
    found.into_iter().map(|misfit| misfit.field).collect()
}

#[test]
fn a_body_takes_as_many_texts_as_it_has_placeholders() {
    let order = of_part(None, "Order {{1}} for {{2}}", vec![]);
    let body = |given: Vec<Parameter>| vec![at(Place::Body, given)];
    let table: Vec<(Vec<Component>, &[&str])> = vec![
        (body(vec![text("7"), text("Ann")]), &[]),
        (vec![], &["components"]),
        (body(vec![text("7")]), &["components[0].parameters"]),
        (
            body(vec![text("7"), text("Ann"), text("x")]),
            &["components[0].parameters"],
        ),
        (
            body(vec![text("7"), of(Kind::Image)]),
            &["components[0].parameters[1]"],
        ),
        (
            body(vec![named("a", "7"), named("b", "Ann")]),
            &["components[0].parameters[0].name"],
        ),
        // A word of the platform's that we do not know may be text.
        (body(vec![text("7"), of(Kind::Other)]), &[]),
    ];
    for (given, expected) in table {
        assert_eq!(fields(&order, given.clone()), expected, "{given:?}");
    }
}

#[test]
fn named_placeholders_take_their_own_names() {
    let order = of_part(None, "{{order}} for {{name}}", vec![]);
    let body = |given: Vec<Parameter>| fields(&order, vec![at(Place::Body, given)]);
    assert!(body(vec![named("name", "Ann"), named("order", "7")]).is_empty());
    assert_eq!(
        body(vec![named("name", "Ann"), named("oder", "7")]),
        [
            "components[0].parameters[1].name",
            "components[0].parameters"
        ]
    );
    assert_eq!(
        body(vec![named("name", "Ann"), text("7")]),
        [
            "components[0].parameters[1].name",
            "components[0].parameters"
        ]
    );
}

#[test]
fn a_header_takes_its_file_and_nothing_else() {
    for (header, kind) in [
        (Header::Image, Kind::Image),
        (Header::Video, Kind::Video),
        (Header::Document, Kind::Document),
        (Header::Location, Kind::Location),
        (Header::Product, Kind::Product),
    ] {
        let of_file = of_part(Some(header), "Hi", vec![]);
        let header = |given| fields(&of_file, vec![at(Place::Header, given)]);
        assert_eq!(fields(&of_file, vec![]), ["components"]);
        assert!(header(vec![of(kind)]).is_empty());
        assert_eq!(header(vec![text("x")]), ["components[0].parameters[0]"]);
        assert_eq!(
            header(vec![of(kind), of(kind)]),
            ["components[0].parameters"]
        );
    }
    let bare = of_part(None, "Hi", vec![]);
    let given = || vec![at(Place::Header, vec![of(Kind::Image)])];
    assert_eq!(fields(&bare, given()), ["components[0]"]);
    let newer = Definition {
        has_more: true,
        ..bare
    };
    assert!(fields(&newer, given()).is_empty());
}

#[test]
fn buttons_are_filled_in_by_their_place_and_kind() {
    let shop = of_part(
        None,
        "Hi",
        vec![
            button(ButtonKind::QuickReply, ""),
            button(ButtonKind::Url, "https://shop.example/{{1}}"),
            button(ButtonKind::CopyCode, ""),
            button(ButtonKind::PhoneNumber, "+15550001111"),
        ],
    );
    let needed = || {
        vec![
            at_button(1, "url", vec![text("7")]),
            at_button(2, "copy_code", vec![of(Kind::CouponCode)]),
        ]
    };
    let with = |more: Component| {
        let mut all = needed();
        all.push(more);
        fields(&shop, all)
    };
    assert!(fields(&shop, needed()).is_empty());
    assert_eq!(fields(&shop, vec![]), ["components", "components"]);
    assert!(with(at_button(0, "quick_reply", vec![of(Kind::Payload)])).is_empty());
    assert_eq!(
        with(at_button(0, "quick_reply", vec![text("x")])),
        ["components[2].parameters[0]"]
    );
    assert_eq!(
        with(at_button(0, "url", vec![of(Kind::Payload)])),
        ["components[2].sub_type"]
    );
    assert_eq!(
        with(at_button(3, "url", vec![text("x")])),
        ["components[2]"]
    );
    assert_eq!(
        with(at_button(4, "url", vec![text("x")])),
        ["components[2].index"]
    );
}

#[test]
fn a_code_stands_in_the_body_and_in_the_button() {
    let code = of_part(None, "", vec![button(ButtonKind::Otp, "")]);
    assert!(code.has_code());
    let body = || at(Place::Body, vec![text("123456")]);
    let tap = || at_button(0, "url", vec![text("123456")]);
    assert!(fields(&code, vec![body(), tap()]).is_empty());
    assert_eq!(fields(&code, vec![body()]), ["components"]);
    assert_eq!(fields(&code, vec![tap()]), ["components"]);
}

#[test]
fn an_offer_that_ends_is_told_when() {
    let offer = |offer| Definition {
        offer,
        ..of_part(None, "Hi", vec![])
    };
    let end = || vec![at(Place::Offer, vec![of(Kind::OfferEnd)])];
    assert!(fields(&offer(Some(true)), end()).is_empty());
    assert_eq!(fields(&offer(Some(true)), vec![]), ["components"]);
    assert_eq!(fields(&offer(Some(false)), end()), ["components[0]"]);
    assert_eq!(fields(&offer(None), end()), ["components[0]"]);
}

#[test]
fn a_carousel_takes_as_many_cards_as_it_has() {
    let card = || Part {
        header: Some(Header::Image),
        body: "{{1}}".to_owned(),
        buttons: Vec::new(),
    };
    let carousel = Definition {
        cards: vec![card(), card()],
        ..of_part(None, "Look", vec![])
    };
    let given = || {
        vec![
            at(Place::Header, vec![of(Kind::Image)]),
            at(Place::Body, vec![text("Shoe")]),
        ]
    };
    let of_cards = |cards| {
        let filling = Filling {
            components: Vec::new(),
            cards,
        };
        let found = check(&carousel, &filling);
        found.into_iter().map(|it| it.field).collect::<Vec<_>>()
    };
    assert!(of_cards(vec![given(), given()]).is_empty());
    assert_eq!(of_cards(vec![given()]), ["cards"]);
    let mut bad = given();
    bad.pop();
    assert_eq!(of_cards(vec![given(), bad]), ["cards[1].components"]);
}

#[test]
fn what_is_shown_is_filled_in_and_keeps_what_nothing_is_given_for() {
    let shop = Definition {
        footer: "Bye".to_owned(),
        ..of_part(
            Some(Header::Text("Dear {{1}}".to_owned())),
            "Order {{1}} for {{2}}",
            vec![button(ButtonKind::Url, "https://shop.example/{{1}}")],
        )
    };
    let (shown, cards) = render(
        &shop,
        &filling(vec![
            at(Place::Header, vec![text("Ann")]),
            // Braces of a customer's own stay what they are.
            at(Place::Body, vec![text("{{2}}")]),
            at_button(0, "url", vec![text("7")]),
        ]),
    );
    assert_eq!(shown.header, "Dear Ann");
    assert_eq!(shown.body, "Order {{2}} for {{2}}");
    assert_eq!(shown.footer, "Bye");
    assert_eq!(shown.buttons[0].target, "https://shop.example/7");
    assert!(cards.is_empty());
}

#[test]
fn a_one_time_code_is_what_a_button_hands_out() {
    let with = |kind| of_part(None, "Your code", vec![button(kind, "")]);
    assert!(with(ButtonKind::Otp).has_code());
    assert!(!with(ButtonKind::CopyCode).has_code(), "that is a coupon's");
    assert!(!of_part(None, "Your code is {{1}}", Vec::new()).has_code());
}

#[test]
fn parameters_are_named_by_the_platforms_words() {
    for (kind, word) in [
        (Kind::Text, "text"),
        (Kind::Payload, "payload"),
        (Kind::Image, "image"),
        (Kind::Video, "video"),
        (Kind::Document, "document"),
        (Kind::Location, "location"),
        (Kind::Product, "product"),
        (Kind::CouponCode, "coupon_code"),
        (Kind::Action, "action"),
        (Kind::OfferEnd, "limited_time_offer"),
        (Kind::TtlMinutes, "ttl_minutes"),
        (Kind::Other, "another kind"),
    ] {
        assert_eq!(kind.as_str(), word);
    }
}

proptest! {
    #[test]
    fn what_fills_every_placeholder_always_fits(count in 0_usize..20, has_image: bool, links in 0_usize..4) {
        let body = (1..=count).fold("Hi".to_owned(), |text, it| text + " {{" + &it.to_string() + "}}");
        let header = has_image.then_some(Header::Image);
        let buttons = (0..links).map(|_| button(ButtonKind::Url, "https://x.example/{{1}}"));
        let definition = of_part(header, &body, buttons.collect());
        let mut given = vec![at(Place::Body, vec![text("x"); count])];
        given.extend(has_image.then(|| at(Place::Header, vec![of(Kind::Image)])));
        given.extend((0..links).map(|index| at_button(index, "url", vec![text("x")])));
        prop_assert!(check(&definition, &filling(given.clone())).is_empty());
        let (shown, _) = render(&definition, &filling(given.clone()));
        prop_assert!(!shown.body.contains("{{"));
        // One parameter more, or none at all where some are needed, never fits.
        given[0].parameters.push(text("x"));
        prop_assert!(!check(&definition, &filling(given)).is_empty());
        let needs = count + links + usize::from(has_image);
        prop_assert_eq!(check(&definition, &Filling::default()).is_empty(), needs == 0);
    }
}
