//! A small cluster that is in order, and what is told of each thing that is not.

use serde_json::{Value, json};

use super::*;

const COMPOSE: &str = r#"
x-hardened: &hardened
  mem_limit: 512m
x-role: &role
  <<: *hardened
  networks: [core, observability]
services:
  nats:
    <<: *hardened
    mem_limit: 1g
    networks: [core]
    secrets: [store]
    ports: ["${PUBLISH:-127.0.0.1:4222}:4222"]
  dispatcher:
    <<: *role
    networks: [core, observability, outside]
    secrets:
      - { source: nkey-dispatcher, target: nkey }
      - graph-token
  postgres:
    <<: *hardened
    networks: [data]
  doctor:
    <<: *role
    profiles: [doctor]
"#;

fn pod(name: &str, networks: &[&str], memory: &str, secrets: &[(&str, &str)]) -> Value {
    let mut labels = serde_json::Map::new();
    for network in networks {
        labels.insert(format!("casement.dev/network-{network}"), json!("true"));
    }
    let items: Vec<Value> = secrets
        .iter()
        .map(|(key, path)| json!({ "key": key, "path": path }))
        .collect();
    json!({
        "metadata": { "labels": labels },
        "spec": {
            "serviceAccountName": "ours",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 10001,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": name,
                "image": "nats:2.15",
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
                "resources": {
                    "requests": { "cpu": "1", "memory": memory },
                    "limits": { "cpu": "2", "memory": memory },
                },
                "startupProbe": {}, "livenessProbe": {}, "readinessProbe": {},
            }],
            "volumes": [{ "name": "secrets", "secret": { "secretName": "s", "items": items } }],
        },
    })
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({ "kind": kind, "metadata": { "name": name }, "spec": spec })
}

fn policy(name: &str) -> Value {
    let selector = |label: String| {
        let mut labels = serde_json::Map::new();
        labels.insert(label, json!("true"));
        json!({ "matchLabels": labels })
    };
    let same = selector(format!("casement.dev/network-{name}"));
    let mut peers = vec![json!({ "podSelector": same })];
    if name == "observability" {
        peers.push(json!({ "namespaceSelector": same }));
    }
    object(
        "NetworkPolicy",
        name,
        &json!({
            "podSelector": same,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{ "from": peers }],
            "egress": [{ "to": peers }],
        }),
    )
}

/// Two services, and all that belongs to them.
fn cluster() -> Vec<Value> {
    let mut outside = policy("outside");
    outside["spec"]["egress"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "to": [
            { "ipBlock": { "cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"] } },
            { "ipBlock": { "cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::254/128"] } },
        ] }));
    let budget = |name: &str| {
        let selector = json!({ "matchLabels": { "app.kubernetes.io/name": name } });
        object(
            "PodDisruptionBudget",
            name,
            &json!({ "selector": selector }),
        )
    };
    vec![
        json!({ "kind": "ServiceAccount", "metadata": { "name": "ours" },
            "automountServiceAccountToken": false }),
        object(
            "StatefulSet",
            "nats",
            &json!({ "template": pod("nats", &["core"], "1Gi", &[("store", "store")]) }),
        ),
        object(
            "Deployment",
            "dispatcher",
            &json!({ "template": pod("dispatcher", &["core", "observability", "outside"], "512Mi",
                &[("nkey-dispatcher", "nkey"), ("graph-token", "graph-token")]) }),
        ),
        budget("nats"),
        budget("dispatcher"),
        policy("core"),
        policy("observability"),
        outside,
        object(
            "NetworkPolicy",
            "nobody",
            &json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }),
        ),
        object(
            "NetworkPolicy",
            "names",
            &json!({
                "podSelector": {},
                "policyTypes": ["Egress"],
                "egress": [{
                    "to": [{ "namespaceSelector": {
                        "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } } }],
                    "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }],
                }],
            }),
        ),
        object(
            "NetworkPolicy",
            "published-nats",
            &json!({
                "podSelector": { "matchLabels": { "app.kubernetes.io/name": "nats" } },
                "policyTypes": ["Ingress"],
                "ingress": [{ "ports": [{ "protocol": "TCP", "port": 4222 }] }],
            }),
        ),
        object(
            "NetworkPolicy",
            "external-database",
            &json!({
                "podSelector": { "matchLabels": { "casement.dev/network-data": "true" } },
                "policyTypes": ["Egress"],
                "egress": [{ "ports": [{ "protocol": "TCP", "port": 5432 }] }],
            }),
        ),
    ]
}

fn told_of(objects: &[Value]) -> Vec<String> {
    let file = |path: &str, text: String| File {
        path: path.to_owned(),
        text,
    };
    let documents: Vec<String> = objects.iter().map(ToString::to_string).collect();
    check(
        &file("docker-compose.yml", COMPOSE.to_owned()),
        &file("rendered.yaml", documents.join("\n---\n")),
    )
    .into_iter()
    .map(|problem| problem.message)
    .collect()
}

/// What is told after a change to the object of that kind and name.
fn told_after(kind: &str, name: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut objects = cluster();
    let object = objects
        .iter_mut()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap();
    change(object);
    told_of(&objects)
}

#[test]
fn what_is_as_compose_has_it_passes() {
    assert_eq!(told_of(&cluster()), [""; 0]);
}

#[test]
fn the_shipped_compose_file_is_read_with_its_anchors() {
    let services = compose::read(include_str!("../../../../docker-compose.yml")).unwrap();
    let dispatcher = &services["dispatcher"];
    assert_eq!(dispatcher.memory, 1 << 30);
    assert!(dispatcher.networks.contains("outside"));
    assert_eq!(dispatcher.secrets["nkey-dispatcher"], "nats-nkey");
    assert_eq!(services["window-tracker"].networks.len(), 3);
    assert_eq!(services["gateway"].memory, 512 << 20);
    assert_eq!(
        services["gateway"].published.iter().collect::<Vec<_>>(),
        [&8081, &8082]
    );
    assert!(services["doctor"].is_optional && !services["ingress"].is_optional);
}

#[test]
fn a_container_that_may_more_than_in_compose_is_refused() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change, &str); 15] = [
        (
            "root",
            |pod| pod["securityContext"]["runAsUser"] = json!(0),
            "run as root",
        ),
        (
            "seccomp",
            |pod| pod["securityContext"]["seccompProfile"] = Value::Null,
            "seccomp",
        ),
        (
            "token",
            |pod| pod["automountServiceAccountToken"] = Value::Null,
            "must be false",
        ),
        (
            "account",
            |pod| pod["serviceAccountName"] = json!("default"),
            "service account",
        ),
        (
            "host",
            |pod| pod["hostNetwork"] = json!(true),
            "hostNetwork",
        ),
        (
            "folder",
            |pod| pod["volumes"][0] = json!({ "hostPath": {} }),
            "of the host",
        ),
        (
            "writable",
            |pod| pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = Value::Null,
            "readOnlyRootFilesystem",
        ),
        (
            "capability",
            |pod| pod["containers"][0]["securityContext"]["capabilities"]["add"] = json!(["CHOWN"]),
            "capabilities",
        ),
        (
            "escalation",
            |pod| pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true),
            "allowPrivilegeEscalation",
        ),
        (
            "memory",
            |pod| pod["containers"][0]["resources"]["limits"]["memory"] = json!("2Gi"),
            "limit of memory",
        ),
        (
            "unlimited",
            |pod| pod["containers"][0]["resources"]["limits"]["cpu"] = Value::Null,
            "`resources.limits.cpu` is missing",
        ),
        (
            "image",
            |pod| pod["containers"][0]["image"] = json!("nats"),
            "no version",
        ),
        (
            "probe",
            |pod| pod["containers"][0]["readinessProbe"] = Value::Null,
            "readinessProbe",
        ),
        (
            "secret",
            |pod| pod["volumes"][0]["secret"]["items"][0]["key"] = json!("master-key"),
            "is given the secrets",
        ),
        (
            "all secrets",
            |pod| pod["volumes"][0]["secret"]["items"] = Value::Null,
            "all of the secret",
        ),
    ];
    for (what, change, why) in changes {
        let told = told_after("Deployment", "dispatcher", |object| {
            change(&mut object["spec"]["template"]["spec"]);
        });
        assert!(
            told.iter().any(|line| line.contains(why)),
            "{what}: {told:?}"
        );
    }
    // Another container of the same pod is looked at, too.
    let told = told_after("Deployment", "dispatcher", |object| {
        object["spec"]["template"]["spec"]["initContainers"] = json!([{ "image": "nats:2.15" }]);
    });
    assert!(
        told.iter()
            .any(|line| line.contains("readOnlyRootFilesystem")),
        "{told:?}"
    );
}

#[test]
fn services_and_their_networks_are_those_of_compose() {
    let told = told_after("Deployment", "dispatcher", |object| {
        object["spec"]["template"]["metadata"]["labels"]["casement.dev/network-data"] =
            json!("true");
    });
    assert!(told[0].contains("is on the networks"), "{told:?}");

    let mut objects = cluster();
    objects[2]["metadata"]["name"] = json!("sender");
    let lines = told_of(&objects).join("\n");
    assert!(lines.contains("no service of that name"), "{lines}");
    assert!(
        lines.contains("`dispatcher` of docker-compose.yml is missing"),
        "{lines}"
    );

    let without_budget: Vec<Value> = cluster()
        .into_iter()
        .filter(|object| object["kind"] != "PodDisruptionBudget")
        .collect();
    assert_eq!(told_of(&without_budget).len(), 2);
}

#[test]
fn a_policy_that_opens_more_or_less_is_refused() {
    let told = told_after("NetworkPolicy", "core", |object| {
        object["spec"]["egress"] = json!([{}]);
    });
    assert!(told[0].contains("`core` is not what"), "{told:?}");
    let told = told_after("NetworkPolicy", "published-nats", |object| {
        object["spec"]["ingress"][0]["ports"][0]["port"] = json!(8222);
    });
    assert!(told[0].contains("`published-nats` is not what"), "{told:?}");
    let told = told_after("NetworkPolicy", "nobody", |object| {
        object["spec"]["policyTypes"] = json!(["Ingress"]);
    });
    assert!(told[0].contains("`nobody` is not what"), "{told:?}");
    let told = told_after("NetworkPolicy", "external-database", |object| {
        object["spec"]["egress"][0] = json!({});
    });
    assert!(
        told[0].contains("opens what docker-compose.yml does not"),
        "{told:?}"
    );
    for missing in ["nobody", "outside"] {
        let objects: Vec<Value> = cluster()
            .into_iter()
            .filter(|object| object["metadata"]["name"] != missing)
            .collect();
        assert_eq!(
            told_of(&objects),
            [format!("NetworkPolicy `{missing}` is missing")]
        );
    }
}

#[test]
fn the_database_of_the_cluster_itself_needs_no_way_out() {
    let mut objects = cluster();
    let template = pod("postgres", &["data"], "512Mi", &[]);
    objects.push(object("Job", "postgres", &json!({ "template": template })));
    objects.push(policy("data"));
    let told = told_of(&objects);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("`external-database` opens"), "{told:?}");
}

#[test]
fn sizes_of_compose_and_of_the_cluster_are_the_same() {
    for (size, bytes) in [
        ("512m", Some(512 << 20)),
        ("512Mi", Some(512 << 20)),
        ("6g", Some(6 << 30)),
        ("6Gi", Some(6 << 30)),
        ("1024", Some(1024)),
        ("1x", None),
        ("", None),
    ] {
        assert_eq!(compose::bytes(size), bytes, "{size}");
    }
}
