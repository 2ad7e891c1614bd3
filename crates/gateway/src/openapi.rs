//! The OpenAPI 3.1 document, from the descriptor set and the table of routes.
//!
//! Descriptions are the comments of the `.proto` files; nothing is said here a second time.

use std::collections::BTreeMap;

use prost_reflect::prost_types::source_code_info::Location;
use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};
use serde_json::{Map, Value, json};

use crate::ndjson;
use crate::routes::{Answer, Binding, Body, Call, calls, variables_of};

/// How deep a query may reach into messages.
const QUERY_DEPTH_MAX: usize = 3;

const DESCRIPTION: &str = "The API of Casement as HTTP+JSON, in proto3's canonical JSON form: \
enums by name, times as RFC 3339, durations as `90s`, 64-bit integers as text. Fields may be \
written in lowerCamelCase or as in the `.proto` files. Every call is also there as \
`POST /package.Service/Method` with the request as its body, and as gRPC on the same port. In a \
path `+` is itself; in a query it is written `%2B`.";

/// Writes the document.
pub(crate) fn document(pool: &DescriptorPool) -> Value {
    let mut schemas = Schemas::default();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for call in calls() {
        let method = pool.get_service_by_name(call.service).and_then(|service| {
            service
                .methods()
                .find(|method| method.name() == call.method)
        });
        let Some(method) = method else {
            continue;
        };
        for (index, binding) in call.bindings.iter().enumerate() {
            let operation = operation(call, binding, index, &method, &mut schemas);
            paths
                .entry(binding.template)
                .or_default()
                .insert(binding.verb.to_string().to_lowercase(), operation);
        }
    }
    schemas.components.insert("Problem".to_owned(), problem());
    let tags: Vec<Value> = pool
        .services()
        .filter(|service| calls().any(|call| call.service == service.full_name()))
        .map(|service| {
            let file = service.parent_file();
            json!({"name": service.name(), "description": comment(&file, service.path())})
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Casement",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas.components,
            "responses": {
                "Problem": {
                    "description": "A refusal, with its reason.",
                    "content": {
                        "application/problem+json": {
                            "schema": {"$ref": "#/components/schemas/Problem"},
                        },
                    },
                },
            },
        },
    })
}

fn operation(
    call: &Call,
    binding: &Binding,
    index: usize,
    method: &MethodDescriptor,
    schemas: &mut Schemas,
) -> Value {
    let service = method.parent_service();
    let id = match index {
        0 => format!("{}_{}", service.name(), method.name()),
        more => format!("{}_{}_{}", service.name(), method.name(), more + 1),
    };
    let input = method.input();
    let bound = variables_of(binding.template);
    let mut parameters: Vec<Value> = bound
        .iter()
        .filter_map(|path| {
            let field = resolve(&input, path)?;
            Some(json!({
                "name": path,
                "in": "path",
                "required": true,
                "description": comment(&field.parent_message().parent_file(), field.path()),
                "schema": schemas.field(&field),
            }))
        })
        .collect();
    if !matches!(binding.body, Body::All | Body::File | Body::Lines(_)) {
        let mut query = Query {
            binding,
            bound: &bound,
            schemas,
            parameters: &mut parameters,
        };
        query.add(&input, "", "", 0);
    }
    let output = schemas.message(&method.output());
    let content = if call.answer == Answer::File {
        json!({"*/*": {"schema": {"description": "The file, with its own media type."}}})
    } else if method.is_server_streaming() {
        json!({"application/x-ndjson": {"schema": {
            "description": "One line each.",
            "properties": {"result": output, "error": {"$ref": "#/components/schemas/Problem"}},
        }}})
    } else {
        json!({"application/json": {"schema": output}})
    };
    let mut operation = json!({
        "operationId": id,
        "tags": [service.name()],
        "description": comment(&service.parent_file(), method.path()),
        "security": [{"bearer": [call.scope.as_str()]}],
        "parameters": parameters,
        "responses": {
            "200": {"description": "The answer.", "content": content},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    });
    let body = match binding.body {
        Body::None => None,
        Body::All => Some(("application/json", schemas.message(&input))),
        Body::Field(name) => input
            .get_field_by_name(name)
            .map(|field| ("application/json", schemas.field(&field))),
        Body::Lines(name) => input.get_field_by_name(name).map(|field| {
            let mut schema = schemas.field(&field);
            schema["description"] = "One line each.".into();
            (ndjson::MEDIA_TYPES[0], schema)
        }),
        Body::File => {
            let description = "The file, with its own media type and its length.";
            Some(("*/*", json!({"description": description})))
        }
    };
    if let Some((kind, schema)) = body {
        let mut content = json!({});
        content[kind] = json!({"schema": schema});
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    operation
}

/// Collects the fields that a query may set.
struct Query<'a> {
    binding: &'a Binding,
    bound: &'a [&'static str],
    schemas: &'a mut Schemas,
    parameters: &'a mut Vec<Value>,
}

impl Query<'_> {
    /// `path` is as in the `.proto` files, `name` as in JSON; both end with a dot or are empty.
    fn add(&mut self, message: &MessageDescriptor, path: &str, name: &str, depth: usize) {
        for field in message.fields() {
            let field_path = format!("{path}{}", field.name());
            let field_name = format!("{name}{}", field.json_name());
            let is_body = matches!(self.binding.body, Body::Field(name) if name == field_path);
            if is_body || field.is_map() || self.bound.contains(&field_path.as_str()) {
                continue;
            }
            match field.kind() {
                Kind::Message(inner) if well_known(&inner).is_none() => {
                    if !field.is_list() && depth < QUERY_DEPTH_MAX {
                        let (path, name) = (format!("{field_path}."), format!("{field_name}."));
                        self.add(&inner, &path, &name, depth + 1);
                    }
                }
                _ => {
                    let schema = self.schemas.field(&field);
                    self.parameters.push(json!({
                        "name": field_name,
                        "in": "query",
                        "description": comment(&message.parent_file(), field.path()),
                        "schema": schema,
                    }));
                }
            }
        }
    }
}

/// Schemas by full name, each written once.
#[derive(Debug, Default)]
struct Schemas {
    components: BTreeMap<String, Value>,
}

impl Schemas {
    fn message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message) {
            return schema;
        }
        let name = message.full_name();
        if !self.components.contains_key(name) {
            // Before its fields, which may lead back here.
            self.components.insert(name.to_owned(), Value::Null);
            let properties: Map<String, Value> = message
                .fields()
                .map(|field| {
                    let mut schema = self.field(&field);
                    let description = comment(&message.parent_file(), field.path());
                    if let (Some(schema), false) = (schema.as_object_mut(), description.is_empty())
                    {
                        schema.insert("description".to_owned(), description.into());
                    }
                    (field.json_name().to_owned(), schema)
                })
                .collect();
            let mut description = comment(&message.parent_file(), message.path());
            for choice in message.oneofs() {
                let names: Vec<String> = choice
                    .fields()
                    .map(|field| format!("`{}`", field.json_name()))
                    .collect();
                if names.len() > 1 {
                    if !description.is_empty() {
                        description.push(' ');
                    }
                    description.extend(["At most one of ", &names.join(", "), "."]);
                }
            }
            let schema = json!({
                "type": "object",
                "description": description,
                "properties": properties,
            });
            self.components.insert(name.to_owned(), schema);
        }
        reference(name)
    }

    fn enumeration(&mut self, kind: &EnumDescriptor) -> Value {
        let name = kind.full_name();
        if !self.components.contains_key(name) {
            let values: Vec<String> = kind.values().map(|value| value.name().to_owned()).collect();
            let notes: Vec<String> = kind
                .values()
                .filter_map(|value| {
                    let note = comment(&kind.parent_file(), value.path());
                    (!note.is_empty()).then(|| format!("`{}`: {note}", value.name()))
                })
                .collect();
            let mut description = comment(&kind.parent_file(), kind.path());
            for note in notes {
                if !description.is_empty() {
                    description.push(' ');
                }
                description.push_str(&note);
            }
            let schema = json!({"type": "string", "enum": values, "description": description});
            self.components.insert(name.to_owned(), schema);
        }
        reference(name)
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map()
            && let Kind::Message(entry) = field.kind()
        {
            let value = self.field(&entry.map_entry_value_field());
            return json!({"type": "object", "additionalProperties": value});
        }
        let one = match field.kind() {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32"})
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({"type": "integer", "format": "int64", "minimum": 0})
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": "string", "format": "int64"})
            }
            Kind::Uint64 | Kind::Fixed64 => json!({"type": "string", "format": "uint64"}),
            Kind::Enum(kind) => self.enumeration(&kind),
            Kind::Message(kind) => self.message(&kind),
        };
        if field.is_list() {
            json!({"type": "array", "items": one})
        } else {
            one
        }
    }
}

/// Messages that have a form of their own in JSON.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    Some(match message.full_name() {
        "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
        "google.protobuf.Duration" => {
            json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"})
        }
        "google.protobuf.FieldMask" => json!({"type": "string"}),
        "google.protobuf.Struct" => json!({"type": "object"}),
        _ => return None,
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn resolve(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    match path.split_once('.') {
        None => message.get_field_by_name(path),
        Some((first, rest)) => match message.get_field_by_name(first)?.kind() {
            Kind::Message(inner) => resolve(&inner, rest),
            _ => None,
        },
    }
}

/// The comment before a declaration, in one line. `path` is where it stands in its file.
fn comment(file: &prost_reflect::FileDescriptor, path: &[i32]) -> String {
    file.file_descriptor_proto()
        .source_code_info
        .iter()
        .flat_map(|info| &info.location)
        .find(|location| location.path == path)
        .map(Location::leading_comments)
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457. Branch on `code` and `reason`; `detail` is for people.",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string", "description": "The code of gRPC, such as NOT_FOUND."},
            "reason": {"type": "string", "description": "Stable, such as WINDOW_CLOSED."},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            "violations": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "field": {"type": "string"},
                        "description": {"type": "string"},
                    },
                },
            },
            "preconditions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string"},
                        "subject": {"type": "string"},
                        "description": {"type": "string"},
                    },
                },
            },
        },
    })
}
