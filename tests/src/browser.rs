//! A real browser, headless, for claims about the console: what is on a page, what is done by
//! keyboard and mouse, what the browser complained about, and how it looks.
//!
//! Each is a Chromium of its own behind its driver, both of the distribution. It knows nothing of
//! the console but how its pages sign in.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use casement_testkit::{Process, eventually};
use fantoccini::elements::Element;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// How long a page may take to load, and a script to run.
const PAGE_MAX: Duration = Duration::from_secs(20);

/// How a page is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Width of the window, in CSS pixels.
    pub width: u32,
    /// Height of it.
    pub height: u32,
    /// What the person prefers.
    pub is_dark: bool,
    /// Size of text, in percent of what is usual.
    pub text_percent: u32,
}

impl Look {
    /// A desk.
    pub const DESK: Self = Self {
        width: 1280,
        height: 800,
        is_dark: false,
        text_percent: 100,
    };

    /// A phone.
    pub const PHONE: Self = Self {
        width: 360,
        height: 740,
        is_dark: false,
        text_percent: 100,
    };

    /// The same at night.
    #[must_use]
    pub fn dark(self) -> Self {
        Self {
            is_dark: true,
            ..self
        }
    }

    /// The same for somebody who sees badly.
    #[must_use]
    pub fn large(self) -> Self {
        Self {
            text_percent: 200,
            ..self
        }
    }
}

/// A browser that is running.
pub struct Browser {
    driver: Process,
    port: u16,
}

/// A window of a browser, with cookies of its own.
pub struct Tab {
    client: Client,
    base: String,
}

impl Browser {
    /// Starts the driver, which starts browsers.
    ///
    /// # Panics
    /// When it is not installed (`./dev setup`).
    pub async fn start() -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        // Asked to stop it stops its browsers, too.
        let mut driver = Process::start(&mut command).gently();
        let told = driver
            .wait_for_stdout("the driver says its port", |text| port_of(text).is_some())
            .await;
        let port = port_of(&told).expect("it was waited for");
        Self { driver, port }
    }

    /// Opens a window on the console at an address.
    pub async fn open(&self, base: &str) -> Tab {
        let capabilities = json!({
            "pageLoadStrategy": "normal",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--disable-extensions", "--no-first-run", "--hide-scrollbars",
            ]},
        });
        let capabilities: Capabilities =
            serde_json::from_value(capabilities).expect("an object is one");
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", self.port))
            .await
            .unwrap_or_else(|error| {
                panic!(
                    "no browser: {error}; the driver says: {}",
                    self.driver.stdout()
                )
            });
        let tab = Tab {
            client,
            base: base.to_owned(),
        };
        tab.look(Look::DESK).await;
        tab
    }

    /// Ends it.
    pub async fn stop(mut self) {
        self.driver.terminate();
        self.driver.wait().await;
    }
}

/// The port in `… started successfully on port 45678.`
fn port_of(told: &str) -> Option<u16> {
    let (_, rest) = told.split_once("started successfully on port ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let is_whole = rest.len() > digits.len();
    is_whole.then(|| digits.parse().ok())?
}

impl Tab {
    /// Goes to a path of the console.
    pub async fn go(&self, path: &str) {
        let url = format!("{}{path}", self.base);
        let going = tokio::time::timeout(PAGE_MAX, self.client.goto(&url)).await;
        going
            .unwrap_or_else(|_| panic!("{path} does not load"))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Signs in with a token.
    pub async fn sign_in(&self, token: &str) {
        self.go("/sign-in").await;
        self.write("#token", token).await;
        self.press("form button[type=submit]").await;
    }

    /// Returns the path and query of where it is.
    pub async fn path(&self) -> String {
        let url = self.client.current_url().await.expect("it is somewhere");
        match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        }
    }

    /// Returns an element.
    ///
    /// # Panics
    /// When there is none, with what the page says.
    pub async fn find(&self, css: &str) -> Element {
        match self.client.find(Locator::Css(css)).await {
            Ok(found) => found,
            Err(error) => panic!(
                "no `{css}` ({error}) on {}:\n{}",
                self.path().await,
                self.text("body").await
            ),
        }
    }

    /// Returns how many elements there are.
    pub async fn count(&self, css: &str) -> usize {
        let found = self.client.find_all(Locator::Css(css)).await;
        found.expect("a selector that is one").len()
    }

    /// Returns what an element says, as it is seen; empty if there is none.
    pub async fn text(&self, css: &str) -> String {
        let script = "const e = document.querySelector(arguments[0]); return e ? e.innerText : ''";
        let text = self.run(script, vec![json!(css)]).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Returns an attribute of an element; empty if there is none.
    pub async fn attribute(&self, css: &str, name: &str) -> String {
        let found = self.find(css).await.attr(name).await;
        found.expect("an element that is there").unwrap_or_default()
    }

    /// Waits until an element says something.
    pub async fn until(&self, css: &str, words: &str) {
        eventually(&format!("`{css}` says `{words}`"), async || {
            let text = self.text(css).await;
            if text.contains(words) {
                Ok(())
            } else {
                Err(text)
            }
        })
        .await;
    }

    /// Waits until it is at a path that begins so.
    pub async fn until_at(&self, path: &str) {
        eventually(&format!("it is at {path}"), async || {
            let at = self.path().await;
            if at.starts_with(path) {
                Ok(())
            } else {
                Err(at)
            }
        })
        .await;
    }

    /// Clicks an element; what it leads to is loaded when this returns.
    ///
    /// A live part may be exchanged between the look and the click: then nothing was clicked.
    pub async fn press(&self, css: &str) {
        eventually(&format!("`{css}` can be pressed"), async || {
            self.find(css).await.click().await
        })
        .await;
    }

    /// Writes into a field, in place of what is there.
    pub async fn write(&self, css: &str, text: &str) {
        eventually(&format!("`{css}` can be written in"), async || {
            let element = self.find(css).await;
            element.clear().await?;
            element.send_keys(text).await
        })
        .await;
    }

    /// Presses keys wherever the focus is.
    pub async fn keys(&self, keys: &str) {
        let active = self
            .client
            .active_element()
            .await
            .expect("something has the focus");
        active.send_keys(keys).await.expect("keys can be pressed");
    }

    /// Runs a script, and returns what it returns.
    pub async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        let ran = self.client.execute(script, arguments).await;
        ran.unwrap_or_else(|error| panic!("script fails: {error}\n{script}"))
    }

    /// Changes how the page is looked at.
    pub async fn look(&self, look: Look) {
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            json!({
                "width": look.width, "height": look.height, "deviceScaleFactor": 1,
                "mobile": look.width < 600,
            }),
        )
        .await;
        let scheme = if look.is_dark { "dark" } else { "light" };
        self.tell(
            "Emulation.setEmulatedMedia",
            json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}),
        )
        .await;
        // The size of text that somebody chose in the browser, to which `rem` refers.
        let sizes = json!({"fontSizes": {"standard": 16 * look.text_percent / 100}});
        self.tell("Page.setFontSizes", sizes).await;
    }

    /// Forgets who is signed in.
    pub async fn forget(&self) {
        self.client
            .delete_all_cookies()
            .await
            .expect("cookies can be forgotten");
    }

    /// Returns a cookie's attributes, as the driver tells them.
    pub async fn cookies(&self) -> Vec<Value> {
        let told = self
            .tell("Network.getCookies", json!({"urls": [self.base]}))
            .await;
        told["cookies"].as_array().cloned().unwrap_or_default()
    }

    /// Switches scripts off or on, for pages that are loaded from then on.
    pub async fn scripts(&self, are_on: bool) {
        let off = json!({"value": !are_on});
        self.tell("Emulation.setScriptExecutionDisabled", off).await;
    }

    /// Returns what the browser complained about since this was last asked: errors of scripts,
    /// what the security policy kept out, what could not be loaded.
    pub async fn complaints(&self) -> Vec<String> {
        let told = self.client.issue_cmd(Log).await.expect("a log");
        let entries = told.as_array().cloned().unwrap_or_default();
        let bad = entries
            .into_iter()
            .filter(|entry| entry["level"] != "INFO" && entry["level"] != "DEBUG");
        bad.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Saves a picture of the whole page under `target/console/`, and returns where.
    pub async fn picture(&self, name: &str) -> PathBuf {
        let size = self
            .run(
                "const e = document.documentElement; return [e.scrollWidth, e.scrollHeight]",
                Vec::new(),
            )
            .await;
        let told = self
            .tell(
                "Page.captureScreenshot",
                json!({
                    "format": "png", "captureBeyondViewport": true, "optimizeForSpeed": false,
                    "clip": {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1},
                }),
            )
            .await;
        let bytes = STANDARD
            .decode(told["data"].as_str().unwrap_or_default())
            .expect("a picture in base64");
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/console");
        tokio::fs::create_dir_all(&folder).await.expect("a folder");
        let path = folder.join(format!("{name}.png"));
        tokio::fs::write(&path, bytes).await.expect("a file");
        path
    }

    /// Returns what keeps people out who do not see the page, use no mouse, or use a phone: missing
    /// names, labels and headings, ids that stand twice, tables without headers, and what is wider
    /// than the window.
    pub async fn barriers(&self) -> Vec<String> {
        let found = self.run(BARRIERS, Vec::new()).await;
        let found = found.as_array().cloned().unwrap_or_default();
        found
            .into_iter()
            .map(|barrier| barrier.as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Closes the window.
    pub async fn close(self) {
        self.client.close().await.expect("a window can be closed");
    }

    /// Tells the browser something by its own protocol.
    async fn tell(&self, command: &'static str, parameters: Value) -> Value {
        let tell = Tell {
            command,
            parameters,
        };
        let told = self.client.issue_cmd(tell).await;
        told.unwrap_or_else(|error| panic!("{command}: {error}"))
    }
}

/// Asks the driver for the browser's log.
#[derive(Debug)]
struct Log;

/// Tells the browser something by its own protocol.
#[derive(Debug)]
struct Tell {
    command: &'static str,
    parameters: Value,
}

fn of_session(
    base: &url::Url,
    session: Option<&str>,
    rest: &str,
) -> Result<url::Url, url::ParseError> {
    base.join(&format!("session/{}/{rest}", session.unwrap_or_default()))
}

impl WebDriverCompatibleCommand for Log {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        of_session(base, session, "se/log")
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (
            http::Method::POST,
            Some(json!({"type": "browser"}).to_string()),
        )
    }
}

impl WebDriverCompatibleCommand for Tell {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        of_session(base, session, "goog/cdp/execute")
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        let body = json!({"cmd": self.command, "params": self.parameters});
        (http::Method::POST, Some(body.to_string()))
    }
}

/// What can be told of a page by rules. Each answer names the element.
const BARRIERS: &str = r#"
const found = [];
const name = (e) => `${e.tagName.toLowerCase()}${e.id ? '#' + e.id : ''}${e.className && e.className.baseVal === undefined ? '.' + e.className : ''} "${(e.innerText || '').slice(0, 40)}"`;
const say = (e, text) => found.push(`${text}: ${name(e)}`);
const all = (css) => [...document.querySelectorAll(css)];
const isSeen = (e) => e.checkVisibility ? e.checkVisibility() : true;
const label = (e) => {
  const by = (e.getAttribute('aria-labelledby') || '').split(/\s+/).filter(Boolean)
    .map((id) => document.getElementById(id)?.textContent || '').join(' ').trim();
  const labels = [...(e.labels || [])].map((l) => l.textContent.trim()).join(' ');
  return e.getAttribute('aria-label') || by || labels || e.getAttribute('title') || '';
};

if (!document.documentElement.lang) say(document.documentElement, 'no language');
if (!document.title.trim()) say(document.documentElement, 'no title');
if (all('main').length !== 1) found.push(`${all('main').length} main landmarks`);
if (all('h1').length !== 1) found.push(`${all('h1').length} headings of the first level`);
let level = 0;
for (const h of all('h1, h2, h3, h4, h5, h6').filter(isSeen)) {
  const now = Number(h.tagName[1]);
  if (now > level + 1) say(h, `heading of level ${now} after ${level}`);
  if (!h.textContent.trim()) say(h, 'empty heading');
  level = now;
}
const navs = all('nav').map((n) => label(n));
if (navs.some((n) => !n) || new Set(navs).size !== navs.length) found.push(`navigations are not told apart: ${navs}`);
for (const e of all('input:not([type=hidden]), select, textarea')) {
  if (!label(e)) say(e, 'no label');
}
for (const e of all('button, a[href]')) {
  const text = (e.textContent.trim() || label(e) || [...e.querySelectorAll('img[alt]')].map((i) => i.alt).join(''));
  if (!text) say(e, 'no name');
}
for (const e of all('img')) if (!e.hasAttribute('alt')) say(e, 'no alternative text');
for (const e of all('svg')) {
  const isHidden = e.closest('[aria-hidden=true]');
  const isNamed = e.getAttribute('role') === 'img' && label(e);
  if (!isHidden && !isNamed) say(e, 'picture without a name');
}
const ids = all('[id]').map((e) => e.id);
for (const id of new Set(ids)) if (ids.filter((i) => i === id).length > 1) found.push(`the id ${id} stands twice`);
for (const attribute of ['aria-labelledby', 'aria-describedby', 'for']) {
  for (const e of all(`[${attribute}]`)) {
    for (const id of e.getAttribute(attribute).split(/\s+/)) {
      if (!document.getElementById(id)) say(e, `${attribute} names nothing (${id})`);
    }
  }
}
for (const t of all('table')) {
  if (!t.caption && !label(t)) say(t, 'table without a caption');
  if (!t.querySelector('th')) say(t, 'table without headers');
  for (const h of t.querySelectorAll('th')) if (!h.scope) say(h, 'header without a scope');
}
for (const e of all('[tabindex]')) if (Number(e.getAttribute('tabindex')) > 0) say(e, 'jumps the queue of the keyboard');
for (const e of all('[onclick], [style]')) {
  if (e !== document.documentElement) say(e, 'inline script or style');
}
// The smallest target of WCAG 2.2 is 24 by 24 CSS pixels, but for links within text.
for (const e of all('button, input:not([type=hidden]):not([type=checkbox]):not([type=radio]), select').filter(isSeen)) {
  const box = e.getBoundingClientRect();
  if (box.width > 0 && (box.height < 24 || box.width < 24)) say(e, `too small to hit, ${box.width} by ${box.height}`);
}
const width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > width) {
  found.push(`the page is ${document.documentElement.scrollWidth} wide, the window ${width}`);
  for (const e of all('body *').filter(isSeen)) {
    const box = e.getBoundingClientRect();
    if (box.right > width + 1 && !e.closest('.scroll') && !e.closest('.hidden')) { say(e, `ends at ${Math.round(box.right)}`); if (found.length > 12) break; }
  }
}
return found;
"#;
