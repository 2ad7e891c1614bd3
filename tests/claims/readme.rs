//! The README shows what happens: its console blocks are run against the demo, and what comes out
//! is compared with what stands there, line by line.
//!
//! A block that begins with ```` ```console ```` holds commands, each after `$ ` and going on after
//! a `\` at the end of a line, and what they print. `$ ./dev up` stands for the demo itself, with
//! the ports moved. `export` sets variables for the commands after it. `curl` is played by a client
//! of our own, so that no program is needed that may not be there; after a customer was made to
//! write, it waits until her window is open, which takes less than a reader needs to go on.
//!
//! What differs from run to run is taken out on both sides, and nothing else: times, ids (a wamid,
//! or hexadecimal from six digits on), positions, durations, sizes, and how many events or messages
//! there are. White space counts as one blank. A line with nothing but `…` stands for any lines.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use casement_testkit::{Process, casement_bin, eventually, free_port, nats_server_bin};
use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

/// The demo's addresses as the README has them, with the settings that move them.
const PORTS: [(u16, &str); 6] = [
    (8080, "CASEMENT__INGRESS__LISTEN"),
    (8081, "CASEMENT__API__LISTEN"),
    (8082, "CASEMENT__CONSOLE__LISTEN"),
    (8083, "CASEMENT__DEMO__SIMULATOR_LISTEN"),
    (8084, "CASEMENT__HEALTH__LISTEN"),
    (4222, "CASEMENT__LOG__OWN_SERVER__LISTEN"),
];

/// What differs from run to run, and what stands for it.
const PLACEHOLDERS: [(&str, &str); 8] = [
    (
        r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z| UTC)?",
        "<time>",
    ),
    (r"\d{2}:\d{2}:\d{2} UTC", "<time>"),
    (r"wamid\.[A-Za-z0-9+/=]+", "<id>"),
    (r"~[0-9a-f]+~\d+", "<position>"),
    (
        r"\b[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\b|\bc?[0-9a-f]{16,}\b|…[0-9a-f]{6}\b",
        "<id>",
    ),
    (r"\b\d+(\.\d+)? (ms|s|min|h)\b", "<duration>"),
    (r"\b\d+(\.\d+)? (bytes|KiB|MiB|GiB|TiB)\b", "<size>"),
    (r"\b\d+ (events|messages)( up to \d+)?", "<count>"),
];

/// A command and what shall come of it.
#[derive(Debug)]
struct Step {
    line: usize,
    command: String,
    output: Vec<String>,
}

/// Reads the console blocks of a text, in order.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            is_inside = line == "```console";
            goes_on = false;
            continue;
        }
        if !is_inside {
            continue;
        }
        let command = match line.strip_prefix("$ ") {
            Some(command) => {
                steps.push(Step {
                    line: index + 1,
                    command: String::new(),
                    output: Vec::new(),
                });
                Some(command)
            }
            None if goes_on => Some(line.trim_start()),
            None => None,
        };
        let step = steps.last_mut().expect("a console block begins with `$ `");
        match command {
            Some(part) => {
                goes_on = part.ends_with('\\');
                step.command.push_str(part.trim_end_matches('\\'));
            }
            None => step.output.push(line.to_owned()),
        }
    }
    steps
}

/// Takes a command line apart as a shell does, as far as the README goes: blanks, both quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in command.chars() {
        match (letter, quote) {
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (_, Some(open)) if open == letter => quote = None,
            (' ', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    assert_eq!(quote, None, "an open quote: {command}");
    words.extend(word);
    words
}

/// Takes out what differs.
struct Rule {
    placeholders: Vec<(Regex, &'static str)>,
    blanks: Regex,
    rules: Regex,
}

impl Rule {
    fn new() -> Self {
        let regex = |text: &str| Regex::new(text).expect("a pattern of ours");
        Self {
            placeholders: PLACEHOLDERS
                .iter()
                .map(|(pattern, with)| (regex(pattern), *with))
                .collect(),
            blanks: regex(r"\s+"),
            rules: regex("─+"),
        }
    }

    fn apply(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (pattern, with) in &self.placeholders {
            line = pattern.replace_all(&line, *with).into_owned();
        }
        let line = self.rules.replace_all(&line, "─");
        self.blanks.replace_all(&line, " ").trim().to_owned()
    }

    /// Returns the first place where what came is not what stands there.
    fn difference(&self, wanted: &[String], came: &[String]) -> Option<String> {
        let came: Vec<String> = came.iter().map(|line| self.apply(line)).collect();
        let mut rest = &came[..];
        let mut may_skip = false;
        for line in wanted {
            let line = self.apply(line);
            if line == "…" {
                may_skip = true;
                continue;
            }
            let at = if may_skip {
                rest.iter().position(|one| *one == line)
            } else {
                (rest.first() == Some(&line)).then_some(0)
            };
            let Some(at) = at else {
                let next = rest.first().map_or("nothing", String::as_str);
                return Some(format!("it says\n  {line}\nand there came\n  {next}"));
            };
            rest = &rest[at + 1..];
            may_skip = false;
        }
        if rest.is_empty() || may_skip {
            return None;
        }
        Some(format!("after all it says there came\n  {}", rest[0]))
    }
}

/// Where the README's commands are run.
struct Terminal {
    folder: TempDir,
    ports: BTreeMap<u16, u16>,
    environment: BTreeMap<String, String>,
    http: reqwest::Client,
    demo: Option<Process>,
}

impl Terminal {
    fn open() -> Self {
        let ports: BTreeMap<u16, u16> =
            PORTS.iter().map(|(port, _)| (*port, free_port())).collect();
        let mut environment = BTreeMap::new();
        for (port, key) in PORTS {
            environment.insert(key.to_owned(), format!("127.0.0.1:{}", ports[&port]));
        }
        let own = [
            ("CASEMENT_API", format!("http://127.0.0.1:{}", ports[&8081])),
            (
                "CASEMENT_NATS",
                format!("nats://127.0.0.1:{}", ports[&4222]),
            ),
        ];
        for (key, value) in own {
            environment.insert(key.to_owned(), value);
        }
        let options = casement_shell::http::ClientOptions::default();
        Self {
            folder: TempDir::new().expect("a temporary folder"),
            ports,
            environment,
            http: casement_shell::http::client(&options).expect("an HTTP client"),
            demo: None,
        }
    }

    /// Puts the README's addresses in place of ours, or the other way round.
    fn move_ports(&self, text: &str, is_ours: bool) -> String {
        let mut text = text.to_owned();
        for (theirs, ours) in &self.ports {
            let (from, to) = if is_ours {
                (ours, theirs)
            } else {
                (theirs, ours)
            };
            text = text.replace(&format!("127.0.0.1:{from}"), &format!("127.0.0.1:{to}"));
        }
        text
    }

    fn program(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(casement_bin());
        command
            .current_dir(self.folder.path())
            .env("CASEMENT_NATS_SERVER", nats_server_bin())
            .envs(&self.environment)
            .args(arguments);
        command
    }

    /// Runs a command and returns the lines it printed.
    async fn run(&mut self, command: &str) -> Vec<String> {
        let words = words(command);
        let (program, arguments) = words.split_first().expect("a command");
        let printed = match program.as_str() {
            "./dev" => self.start(arguments).await,
            "export" => {
                for assignment in arguments {
                    let (key, value) = assignment.split_once('=').expect("KEY=value");
                    let value = self.move_ports(value, false);
                    self.environment.insert(key.to_owned(), value);
                }
                String::new()
            }
            "casement" => {
                let mut command = tokio::process::Command::from(self.program(arguments));
                let output = command.output().await.expect("the program");
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{words:?}: {said}");
                String::from_utf8_lossy(&output.stdout).into_owned()
            }
            "curl" => self.curl(arguments).await,
            other => panic!("{other} is not to be had here: {command}"),
        };
        let printed = self.move_ports(&printed, true);
        let here = self.folder.path().display().to_string();
        let printed = printed
            .replace(
                &casement_bin().display().to_string(),
                "target/debug/casement",
            )
            .replace(&here, ".");
        let lines = printed.lines().map(str::to_owned);
        lines.skip_while(String::is_empty).collect()
    }

    /// `./dev up` without the building.
    async fn start(&mut self, arguments: &[String]) -> String {
        assert_eq!(arguments, ["up"]);
        let mut command = self.program(&["up".to_owned(), "--demo".to_owned()]);
        let mut demo = Process::start(&mut command).gently();
        let is_told = |told: &str| told.contains("Ctrl-C stops it.\n");
        let told = demo.wait_for_stdout("the story's end", is_told).await;
        self.demo = Some(demo);
        told
    }

    async fn wait_for_window(&self, said: &str) {
        let said: Value = serde_json::from_str(said).expect("JSON");
        let customer = said["customer"].as_str().expect("a phone").to_owned();
        let asking = ["window", "--json", "--to", &customer].map(str::to_owned);
        eventually("the window is open", async || {
            let mut command = tokio::process::Command::from(self.program(&asking));
            let output = command.output().await.expect("the program");
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            if told.contains("WINDOW_STATE_OPEN") {
                Ok(())
            } else {
                Err(told)
            }
        })
        .await;
    }

    async fn curl(&self, arguments: &[String]) -> String {
        let mut url = None;
        let mut headers = Vec::new();
        let mut body = None;
        let mut rest = arguments.iter();
        while let Some(word) = rest.next() {
            match word.as_str() {
                "-s" => {}
                "-H" => headers.extend(rest.next().and_then(|header| header.split_once(": "))),
                "-d" => body = rest.next().cloned(),
                flag if flag.starts_with('-') => panic!("{flag} of curl is not played here"),
                place => url = Some(format!("http://{}", self.move_ports(place, false))),
            }
        }
        let url = url.expect("curl is given an address");
        let mut request = match &body {
            Some(body) => self.http.post(&url).body(body.clone()),
            None => self.http.get(&url),
        };
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{arguments:?}: {answer:?}");
        let text = answer.text().await.expect("a text");
        if url.ends_with("/_sim/says") {
            self.wait_for_window(body.as_deref().unwrap_or_default())
                .await;
        }
        text
    }
}

#[tokio::test]
async fn what_the_readme_shows_is_what_happens() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let steps = steps(&std::fs::read_to_string(readme).unwrap());
    assert!(steps.len() >= 8, "only {} commands", steps.len());
    assert_eq!(steps[0].command, "./dev up");
    let rule = Rule::new();
    let mut terminal = Terminal::open();
    let mut differences = Vec::new();
    for step in &steps {
        let came = terminal.run(&step.command).await;
        if let Some(difference) = rule.difference(&step.output, &came) {
            differences.push(format!(
                "README.md:{}: $ {}\n{difference}\nAll that came:\n{}",
                step.line,
                step.command,
                came.join("\n")
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn the_rule_takes_out_what_differs_and_nothing_else() {
    let rule = Rule::new();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (shown, came, is_same) in [
        (
            "until 08:29:49 UTC, 19.1 s from now",
            "until 11:07:56 UTC, 20.0 s from now",
            true,
        ),
        ("customer …aa3ba4", "customer …9be872", true),
        (
            "EVENTS~18ea50d42f68ddbd~3",
            "EVENTS~18ea595c890fc9c7~14",
            true,
        ),
        (
            "EVENTS     intact: 12 events up to 12",
            "EVENTS intact: 9 events up to 9",
            true,
        ),
        ("a\n…\nc", "a\nb\nb\nc", true),
        ("a\n…", "a\nb", true),
        ("WINDOW_OPEN", "WINDOW_CLOSED", false),
        ("attempt 1", "attempt 2", false),
        ("to +15550100004", "to +15550100005", false),
        ("a", "a\nb", false),
        ("a\nb", "a", false),
        ("a\n…\nc", "a\nb", false),
    ] {
        let difference = rule.difference(&lines(shown), &lines(came));
        assert_eq!(
            difference.is_none(),
            is_same,
            "{shown} / {came}: {difference:?}"
        );
    }
}

#[test]
fn commands_are_read_with_their_quotes_and_over_line_ends() {
    let text = "```sh\n$ not this\n```\n```console\n$ casement send --text 'Hello again' \\\n  \
                --to +1\nout\n\n$ export A=b\n```\n";
    let steps = steps(text);
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert_eq!(
        words(&steps[0].command),
        ["casement", "send", "--text", "Hello again", "--to", "+1"]
    );
    assert_eq!(steps[0].output, ["out", ""]);
}
