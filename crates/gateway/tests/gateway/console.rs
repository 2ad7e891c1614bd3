//! The console's door: who gets in, for how long, and what a form has to bring.

use casement_gateway::Config;
use casement_proto::figures::v1::{ErrorRate, NumberOverview};
use casement_proto::repair::v1::DeadLetterEntry;
use jiff::SignedDuration;
use reqwest::header::{HeaderMap, SET_COOKIE};
use reqwest::{RequestBuilder, Response, StatusCode};

use crate::stage::Stage;

const PAGE: &str = "text/html,application/xhtml+xml";

/// Somebody's browser, as far as the console sees it.
struct Visitor<'a> {
    stage: &'a Stage,
    http: reqwest::Client,
    cookie: String,
}

impl<'a> Visitor<'a> {
    fn new(stage: &'a Stage) -> Self {
        Self {
            stage,
            http: Stage::http(),
            cookie: String::new(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.stage.console)
    }

    async fn get(&self, path: &str) -> Response {
        let request = self.http.get(self.url(path)).header("accept", PAGE);
        request.header("cookie", &self.cookie).send().await.unwrap()
    }

    /// A form, as a page of the console sends it.
    fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        self.http
            .post(self.url(path))
            .header("accept", PAGE)
            .header("cookie", &self.cookie)
            .header("sec-fetch-site", "same-origin")
            .header("origin", "null")
            .form(fields)
    }

    async fn sign_in(&mut self, token: &str) -> Response {
        let fields = [("token", token), ("next", "/numbers?brand=a")];
        let answer = self.form("/sign-in", &fields).send().await.unwrap();
        if let Some(cookie) = cookie(answer.headers()) {
            cookie
                .split(';')
                .next()
                .unwrap()
                .clone_into(&mut self.cookie);
        }
        answer
    }

    /// The token that ties forms to this session, from a page.
    async fn csrf(&self) -> String {
        let page = self.get("/numbers").await.text().await.unwrap();
        let (_, rest) = page.split_once(r#"name="csrf" value=""#).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookie = headers.get(SET_COOKIE)?;
    Some(cookie.to_str().unwrap().to_owned())
}

fn location(answer: &Response) -> &str {
    answer.headers()["location"].to_str().unwrap()
}

#[tokio::test]
async fn nobody_sees_anything_before_they_sign_in() {
    let stage = Stage::local(Config::default()).await;
    let visitor = Visitor::new(&stage);
    for path in [
        "/",
        "/numbers",
        "/stuck?kind=held",
        "/record",
        "/numbers/1/pause",
    ] {
        let answer = visitor.get(path).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{path}");
        assert!(location(&answer).starts_with("/sign-in?next="), "{path}");
    }
    let answer = visitor.get("/stuck?kind=held").await;
    assert_eq!(location(&answer), "/sign-in?next=%2Fstuck%3Fkind%3Dheld");
    // What is no page does not lead anybody anywhere.
    let live = visitor.http.get(visitor.url("/numbers/live")).send();
    assert_eq!(live.await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let made_up = Visitor {
        cookie: "casement-session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        ..visitor
    };
    let answer = made_up.get("/numbers").await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_token_signs_in_for_a_time_and_what_it_may_not_do_is_not_offered_and_refused() {
    let stage = Stage::local(Config::default()).await;
    let mut visitor = Visitor::new(&stage);
    let answer = visitor.sign_in("reader-token").await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        location(&answer),
        "/sign-in/done?next=%2Fnumbers%3Fbrand%3Da"
    );
    let set = cookie(answer.headers()).unwrap();
    for word in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(set.contains(word), "{set}");
    }
    assert!(
        !set.contains("Secure"),
        "on this machine it goes in the clear: {set}"
    );
    assert!(!set.contains("reader-token"), "{set}");
    let done = visitor
        .get("/sign-in/done?next=%2Fnumbers%3Fbrand%3Da")
        .await;
    assert_eq!(location(&done), "/numbers?brand=a");

    let page = visitor.get("/numbers").await;
    assert_eq!(page.status(), StatusCode::OK);
    let page = page.text().await.unwrap();
    assert!(
        page.contains(">Numbers</a>") && page.contains("(brand shop)"),
        "{page}"
    );
    assert!(
        !page.contains(">Record</a>"),
        "it needs the scope audit: {page}"
    );
    assert_eq!(visitor.get("/record").await.status(), StatusCode::FORBIDDEN);
    let csrf = visitor.csrf().await;
    let pause = visitor.form("/numbers/15550001111/pause", &[("csrf", &csrf)]);
    let refused = pause.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(refused.text().await.unwrap().contains("MISSING_SCOPE"));

    let mut auditor = Visitor::new(&stage);
    auditor.sign_in("auditor-token").await;
    let page = auditor.get("/record/archive").await;
    assert_eq!(page.status(), StatusCode::OK);

    stage.clock.advance(SignedDuration::from_hours(12));
    let answer = visitor.get("/numbers").await;
    assert_eq!(
        answer.status(),
        StatusCode::SEE_OTHER,
        "the session is over"
    );
}

#[tokio::test]
async fn a_token_that_is_not_known_is_refused_and_after_some_so_is_everybody_there() {
    let stage = Stage::local(Config::default()).await;
    let mut visitor = Visitor::new(&stage);
    for attempt in 0..10 {
        let answer = visitor.sign_in(&format!("guess-{attempt}")).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(cookie(answer.headers()), None);
        let page = answer.text().await.unwrap();
        assert!(
            page.contains("not known") && !page.contains("guess-"),
            "{page}"
        );
    }
    let answer = visitor.sign_in("reader-token").await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    stage.clock.advance(SignedDuration::from_mins(1));
    let answer = visitor.sign_in("reader-token").await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_form_that_another_site_sends_does_nothing() {
    let stage = Stage::local(Config::default()).await;
    let mut visitor = Visitor::new(&stage);
    visitor.sign_in("reader-token").await;
    let csrf = visitor.csrf().await;

    let post = |fields: &[(&str, &str)]| {
        visitor
            .http
            .post(visitor.url("/sign-out"))
            .header("cookie", &visitor.cookie)
            .form(fields)
    };
    let right = [("csrf", csrf.as_str())];
    let own = visitor.stage.console.clone();
    for (name, request) in [
        ("no word of where it comes from", post(&right)),
        (
            "another origin",
            post(&right).header("origin", "https://example.com"),
        ),
        (
            "another site",
            post(&right)
                .header("origin", "null")
                .header("sec-fetch-site", "cross-site"),
        ),
        ("no token", post(&[]).header("origin", &own)),
        (
            "another token",
            post(&[("csrf", "AAAA")]).header("origin", &own),
        ),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name}");
        assert_eq!(cookie(answer.headers()), None, "{name}");
    }
    let mut other = Visitor::new(&stage);
    other.sign_in("reader-token").await;
    let of_another = other.form("/sign-out", &right).send().await.unwrap();
    assert_eq!(
        of_another.status(),
        StatusCode::FORBIDDEN,
        "another session's"
    );

    let answer = post(&right).header("origin", &own).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert!(cookie(answer.headers()).unwrap().contains("Max-Age=0"));
    // Neither is anybody signed in by another site, to do things in its name.
    let sign_in = visitor.http.post(visitor.url("/sign-in"));
    let sign_in = sign_in.header("origin", "https://example.com");
    let answer = sign_in
        .form(&[("token", "reader-token")])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn every_answer_tells_the_browser_what_it_may_do_with_it() {
    let stage = Stage::local(Config::default()).await;
    let mut visitor = Visitor::new(&stage);
    visitor.sign_in("reader-token").await;
    for path in [
        "/sign-in",
        "/numbers",
        "/nothing",
        "/record",
        "/numbers/live",
    ] {
        let answer = visitor.get(path).await;
        let headers = answer.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none';"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert!(
            ["no-store", "no-cache"].contains(&headers["cache-control"].to_str().unwrap()),
            "{path}"
        );
    }
    // Under a name that changes with what is in it, and nothing of anybody's.
    let page = visitor.get("/sign-in").await.text().await.unwrap();
    let (_, rest) = page.split_once("rel=\"stylesheet\" href=\"").unwrap();
    let style = visitor.get(rest.split_once('"').unwrap().0).await;
    assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
    assert!(
        style.headers()["cache-control"]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
}

#[tokio::test]
async fn anywhere_but_on_this_machine_the_cookie_travels_encrypted_only() {
    let stage = Stage::local(Config::default()).await;
    let visitor = Visitor::new(&stage);
    let request = visitor.form("/sign-in", &[("token", "reader-token")]);
    let request = request.header("host", "console.example.com");
    let answer = request.send().await.unwrap();
    let set = cookie(answer.headers()).unwrap();
    assert!(
        set.starts_with("__Host-casement-session=") && set.ends_with("; Secure"),
        "{set}"
    );
    // A browser that came in the clear has not kept it, and is told why.
    let done = visitor.http.get(visitor.url("/sign-in/done?next=%2F"));
    let done = done
        .header("host", "console.example.com")
        .send()
        .await
        .unwrap();
    assert_eq!(done.status(), StatusCode::UNAUTHORIZED);
    assert!(done.text().await.unwrap().contains("https"));
}

fn overview(number: &str) -> NumberOverview {
    NumberOverview {
        number: number.to_owned(),
        brand_id: "shop".to_owned(),
        display_name: "<script>alert(1)</script>".to_owned(),
        status: "CONNECTED".to_owned(),
        quality: "GREEN".to_owned(),
        last_hour: Some(ErrorRate {
            sent_count: 39,
            failed_count: 1,
        }),
        ..NumberOverview::default()
    }
}

#[tokio::test]
async fn numbers_are_shown_as_the_api_tells_them_and_text_stays_text() {
    let stage = Stage::local(Config::default()).await;
    let mut visitor = Visitor::new(&stage);
    visitor.sign_in("reader-token").await;
    let empty = visitor.get("/numbers").await.text().await.unwrap();
    assert!(empty.contains("There is no number yet"), "{empty}");

    stage
        .desk
        .numbers
        .lock()
        .unwrap()
        .push(overview("+15550001111"));
    for path in ["/numbers", "/numbers/15550001111"] {
        let page = visitor.get(path).await.text().await.unwrap();
        assert!(page.contains("+15550001111"), "{page}");
        assert!(
            page.contains("connected") && page.contains("green, high"),
            "{page}"
        );
        assert!(page.contains("2.5 %"), "{page}");
        assert!(page.contains("&#60;script&#62;alert(1)"), "{page}");
        assert!(!page.contains("<script>alert"), "{page}");
        assert!(
            !page.contains("Pause sending"),
            "the scope admin is needed: {page}"
        );
    }
    let mut boss = Visitor::new(&stage);
    boss.sign_in("boss-token").await;
    let page = boss.get("/numbers/15550001111").await.text().await.unwrap();
    assert!(page.contains("Pause sending"), "{page}");
    let nothing = boss.get("/numbers/15550009999").await;
    assert_eq!(nothing.status(), StatusCode::OK);
    assert!(
        nothing
            .text()
            .await
            .unwrap()
            .contains("no account has this number")
    );
    assert_eq!(boss.get("/numbers/x").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_changes_is_sent_to_who_is_looking_and_nothing_else() {
    let stage = Stage::local(Config::default()).await;
    let mut visitor = Visitor::new(&stage);
    visitor.sign_in("reader-token").await;
    let mut live = visitor.get("/numbers/live").await;
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    let first = heard(&mut live, "There is no number yet").await;
    assert!(first.starts_with("event: parts"), "{first}");
    stage
        .desk
        .numbers
        .lock()
        .unwrap()
        .push(overview("+15550001111"));
    let second = heard(&mut live, "+15550001111").await;
    assert_eq!(second.matches("event: parts").count(), 1, "{second}");
    stage.clock.advance(SignedDuration::from_hours(12));
    heard(&mut live, "event: over").await;
    assert!(
        live.chunk().await.unwrap().is_none(),
        "it ends with the session"
    );
}

/// Listens until something is heard, and returns what was.
async fn heard(live: &mut Response, words: &str) -> String {
    let mut heard = String::new();
    while !heard.contains(words) {
        let chunk = live.chunk().await.unwrap();
        let chunk = chunk.unwrap_or_else(|| panic!("no `{words}` in {heard}"));
        heard.push_str(&String::from_utf8_lossy(&chunk));
    }
    heard
}

#[tokio::test]
async fn many_things_are_done_at_once_only_by_their_count() {
    let stage = Stage::local(Config::default()).await;
    let mut boss = Visitor::new(&stage);
    boss.sign_in("boss-token").await;
    let letter = |sequence| DeadLetterEntry {
        sequence,
        ..DeadLetterEntry::default()
    };
    *stage.desk.letters.lock().unwrap() = (1..=30).map(letter).collect();
    let page = boss.get("/stuck?kind=dead").await.text().await.unwrap();
    assert!(
        page.contains("<span class=\"tile-count\">30</span>"),
        "{page}"
    );
    let csrf = boss.csrf().await;
    let base = [
        ("csrf", csrf.as_str()),
        ("kind", "dead"),
        ("action", "drop"),
    ];
    let dropped = || stage.desk.dropped.lock().unwrap().len();

    let chosen = [&base[..], &[("id", "3"), ("id", "4"), ("id", "3")]].concat();
    let asked = boss.form("/stuck/confirm", &chosen).send().await.unwrap();
    let asked = asked.text().await.unwrap();
    assert!(asked.contains("Give up 2 dead letters?"), "{asked}");
    for count in ["", "3", "two"] {
        let wrong = [&chosen[..], &[("count", count)]].concat();
        let refused = boss.form("/stuck/act", &wrong).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.text().await.unwrap().contains("Nothing was done"));
    }
    assert_eq!(dropped(), 0);
    let right = [&chosen[..], &[("count", "2"), ("reason", "tested")]].concat();
    let done = boss.form("/stuck/act", &right).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
    let notice = cookie(done.headers()).unwrap();
    let dropped = stage.desk.dropped.lock().unwrap().clone();
    assert_eq!(dropped, [(vec![3, 4], "tested".to_owned())]);

    // What was done is told once, on the next page.
    boss.cookie = format!("{}; {}", boss.cookie, notice.split(';').next().unwrap());
    let told = boss.get(location(&done)).await;
    let ended = cookie(told.headers()).unwrap();
    assert!(ended.starts_with("casement-notice=;"), "{ended}");
    assert!(told.text().await.unwrap().contains("2 given up."));

    let all = [&base[..], &[("which", "all")]].concat();
    let asked = boss.form("/stuck/confirm", &all).send().await.unwrap();
    let asked = asked.text().await.unwrap();
    assert!(asked.contains("Give up 28 dead letters?"), "{asked}");
    assert!(asked.contains("and 16 more"), "{asked}");
    let none = boss.form("/stuck/confirm", &base).send().await.unwrap();
    assert_eq!(none.status(), StatusCode::SEE_OTHER, "nothing was chosen");
}

#[tokio::test]
async fn somebody_is_erased_only_by_name() {
    let stage = Stage::local(Config::default()).await;
    let mut boss = Visitor::new(&stage);
    boss.sign_in("boss-token").await;
    let csrf = boss.csrf().await;
    let order = [
        ("csrf", csrf.as_str()),
        ("number", "+15550001111"),
        ("customer", "+15550002222"),
        ("request", "r1"),
    ];
    let plan = boss
        .form("/record/customers/plan", &order)
        .send()
        .await
        .unwrap();
    assert!(
        plan.text()
            .await
            .unwrap()
            .contains("Erase this customer for good?")
    );
    let wrong = [&order[..], &[("again", "+15550002223")]].concat();
    let refused = boss
        .form("/record/customers/erase", &wrong)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let right = [&order[..], &[("again", "+15550002222")]].concat();
    let done = boss
        .form("/record/customers/erase", &right)
        .send()
        .await
        .unwrap();
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
}
