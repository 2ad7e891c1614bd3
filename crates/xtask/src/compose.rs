//! Rules about Compose's file: what every service has, so that a new one cannot forget it.
//!
//! It looks at lines, as the other rules do: what Compose itself would refuse is Compose's business.

use crate::Problem;
use crate::tree::File;

/// The file that is checked.
const COMPOSE: &str = "docker-compose.yml";

/// The block that services take over, and what stands in it.
const HARDENED: &str = "x-hardened: &hardened";
const EVERY_SERVICE_HAS: [&str; 7] = [
    "read_only: true",
    "cap_drop: [ALL]",
    "security_opt: [\"no-new-privileges:true\"]",
    "logging: *logging",
    "cpus: ",
    "mem_limit: ",
    "pids_limit: ",
];

/// Takes the block over, and adds the image and the networks of the roles.
const ROLE: &str = "x-role: &role";

/// What a service does not say again: it would replace what it took over.
const NOT_REPLACED: [&str; 7] = [
    "read_only:",
    "cap_drop:",
    "security_opt:",
    "logging:",
    "privileged:",
    "network_mode:",
    "pid:",
];

/// What a file that is laid over does not say at all.
const NOT_WIDENED: [&str; 3] = ["cap_add:", "networks:", "user:"];
const EXTENDS: &str = "extends: { file: docker-compose.yml, service: ";

/// Who is on the network of the database.
const NEAR_THE_DATABASE: [&str; 3] = ["audit-projector", "doctor", "postgres"];

/// Networks that nothing leaves the machine by.
const INTERNAL: [&str; 4] = ["core", "api", "data", "observability"];

pub(crate) fn check(file: &File) -> Vec<Problem> {
    if file.path != COMPOSE {
        return Vec::new();
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let mut problems = Vec::new();
    let hardened = block(&lines, HARDENED, 0);
    for wanted in EVERY_SERVICE_HAS {
        if !hardened
            .iter()
            .any(|(_, line)| line.trim().starts_with(wanted))
        {
            problems.push(Problem::new(
                file,
                0,
                format!("`{HARDENED}` lacks `{wanted}`"),
            ));
        }
    }
    if !has(&block(&lines, ROLE, 0), "<<: *hardened") {
        problems.push(Problem::new(
            file,
            0,
            format!("`{ROLE}` lacks `<<: *hardened`"),
        ));
    }
    for (_, name) in members(&block(&lines, "services:", 0)) {
        problems.extend(service(file, &lines, name));
    }
    let networks = block(&lines, "networks:", 0);
    for name in INTERNAL {
        if !has(&networks, &format!("{name}: {{ internal: true }}")) {
            problems.push(Problem::new(
                file,
                0,
                format!("the network `{name}` is not internal"),
            ));
        }
    }
    problems
}

/// Files that are laid over [`COMPOSE`]: they add to its services, and take nothing from them back.
pub(crate) fn check_overlays(files: &[File]) -> Vec<Problem> {
    let Some(base) = files.iter().find(|file| file.path == COMPOSE) else {
        return Vec::new();
    };
    let lines: Vec<&str> = base.text.lines().collect();
    let services = block(&lines, "services:", 0);
    let known: Vec<&str> = members(&services).iter().map(|(_, name)| *name).collect();
    let mut problems = Vec::new();
    for file in files {
        if file.path == COMPOSE
            || !file.path.starts_with("docker-compose.")
            || !file.has_ending("yml")
        {
            continue;
        }
        let lines: Vec<&str> = file.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let line = line.trim();
            let mut replaced = NOT_REPLACED.iter().chain(&NOT_WIDENED);
            if let Some(key) = replaced.find(|key| line.starts_with(**key)) {
                let message = format!("`{key}` is for {COMPOSE} to say");
                problems.push(Problem::new(file, index + 1, message));
            }
        }
        for (number, name) in members(&block(&lines, "services:", 0)) {
            let body = block(&lines, &format!("  {name}:"), 2);
            let extends = body.iter().any(|(_, line)| {
                line.trim()
                    .strip_prefix(EXTENDS)
                    .and_then(|rest| rest.strip_suffix(" }"))
                    .is_some_and(|of| known.contains(&of))
            });
            if !extends && !known.contains(&name) {
                let message = format!("`{name}` extends no service of {COMPOSE}");
                problems.push(Problem::new(file, number, message));
            }
        }
    }
    problems
}

fn service(file: &File, lines: &[&str], name: &str) -> Vec<Problem> {
    let body = block(lines, &format!("  {name}:"), 2);
    let at = body.first().map_or(0, |(number, _)| number - 1);
    let mut problems = Vec::new();
    let networks = body
        .iter()
        .find(|(_, line)| line.starts_with("    networks:"));
    if !has(&body, "<<: *role") && !has(&body, "<<: *hardened") {
        problems.push(format!(
            "`{name}` takes over neither `*role` nor `*hardened`"
        ));
    }
    if !has(&body, "<<: *role") && networks.is_none() {
        problems.push(format!("`{name}` does not say which networks it is on"));
    }
    for (_, line) in &body {
        let own = line
            .strip_prefix("    ")
            .filter(|rest| !rest.starts_with(' '));
        if let Some(key) = NOT_REPLACED
            .iter()
            .find(|key| own.is_some_and(|own| own.starts_with(**key)))
        {
            problems.push(format!("`{name}` replaces `{key}` of what it took over"));
        }
    }
    let on_data = networks.is_some_and(|(_, line)| {
        line.split(|c: char| !c.is_alphanumeric())
            .any(|word| word == "data")
    });
    if on_data && !NEAR_THE_DATABASE.contains(&name) {
        problems.push(format!("`{name}` is on the database's network"));
    }
    problems
        .into_iter()
        .map(|message| Problem::new(file, at, message))
        .collect()
}

/// The lines below the one that reads `head`, as far as they stand further in than `indent`.
fn block<'a>(lines: &[&'a str], head: &str, indent: usize) -> Vec<(usize, &'a str)> {
    let Some(start) = lines.iter().position(|line| *line == head) else {
        return Vec::new();
    };
    let is_inside =
        |line: &str| line.trim().is_empty() || line.len() - line.trim_start().len() > indent;
    let numbered = lines.iter().enumerate().skip(start + 1);
    numbered
        .take_while(|(_, line)| is_inside(line))
        .map(|(index, line)| (index + 1, *line))
        .collect()
}

/// The names two spaces in.
fn members<'a>(body: &[(usize, &'a str)]) -> Vec<(usize, &'a str)> {
    let name = |line: &'a str| {
        line.strip_prefix("  ")?
            .strip_suffix(':')
            .filter(|rest| !rest.starts_with([' ', '#']))
    };
    body.iter()
        .filter_map(|(number, line)| Some((*number, name(line)?)))
        .collect()
}

fn has(body: &[(usize, &str)], wanted: &str) -> bool {
    body.iter().any(|(_, line)| line.trim() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../docker-compose.yml");

    fn told(text: &str) -> String {
        let file = File {
            path: COMPOSE.to_owned(),
            text: text.to_owned(),
        };
        let problems = check(&file);
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    #[test]
    fn the_shipped_file_is_hardened() {
        assert_eq!(told(SHIPPED), "");
        let lines: Vec<&str> = SHIPPED.lines().collect();
        assert!(
            members(&block(&lines, "services:", 0)).len() >= 14,
            "services are not found"
        );
    }

    #[test]
    fn a_service_that_forgets_or_undoes_is_refused() {
        let with =
            |service: &str| SHIPPED.replace("\nservices:\n", &format!("\nservices:\n{service}"));
        let bare = told(&with("  new:\n    image: new:1\n"));
        assert!(bare.contains("neither `*role` nor `*hardened`"), "{bare}");
        assert!(bare.contains("which networks"), "{bare}");
        let open = told(&with(
            "  new:\n    <<: *role\n    read_only: false\n    networks: [core, data]\n",
        ));
        assert!(open.contains("replaces `read_only:`"), "{open}");
        assert!(open.contains("the database's network"), "{open}");
    }

    #[test]
    fn what_is_laid_over_widens_nothing() {
        let told = |cluster: &str| {
            let file = |path: &str, text: &str| File {
                path: path.to_owned(),
                text: text.to_owned(),
            };
            let all = [
                file(COMPOSE, SHIPPED),
                file("docker-compose.cluster.yml", cluster),
            ];
            let problems = check_overlays(&all);
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines.join("\n")
        };
        let shipped = include_str!("../../../docker-compose.cluster.yml");
        assert_eq!(told(shipped), "");
        let alone = told(&shipped.replace("    extends: {", "    # extends: {"));
        assert!(alone.contains("`nats-2` extends no service"), "{alone}");
        let of_nobody = told(&shipped.replace("service: nats }", "service: other }"));
        assert!(
            of_nobody.contains("`nats-3` extends no service"),
            "{of_nobody}"
        );
        for wider in ["read_only: false", "cap_add: [ALL]", "networks: [data]"] {
            let told = told(&shipped.replace("  nats:\n", &format!("  nats:\n    {wider}\n")));
            assert!(told.contains("is for docker-compose.yml to say"), "{told}");
        }
    }

    #[test]
    fn the_block_itself_loses_nothing() {
        for wanted in EVERY_SERVICE_HAS {
            let text = SHIPPED.replace(&format!("\n  {wanted}"), "\n  # ");
            assert!(told(&text).contains("lacks"), "{wanted}");
        }
        assert!(
            told(&SHIPPED.replace("data: { internal: true }", "data:")).contains("not internal")
        );
    }
}
