//! The document of the API, and whether an answer is as it says: as much of JSON Schema (2020-12)
//! as the document uses. A keyword that is not known here is an error, so that none goes unchecked.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Map, Value};

/// The document.
#[derive(Debug)]
pub(crate) struct Document(pub(crate) Value);

/// One method of one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation<'a> {
    /// The path with its templates.
    pub(crate) path: &'a str,
    /// In capitals.
    pub(crate) method: &'static str,
    /// What the document says of the path.
    pub(crate) item: &'a Value,
    /// What it says of the method.
    pub(crate) value: &'a Value,
}

/// What is wrong with a value, by its place.
type Problems = Vec<String>;

impl Document {
    /// The document that the program answers with.
    pub(crate) fn new() -> Self {
        let text = include_str!("../../src/http/openapi.json");
        Self(serde_json::from_str(text).unwrap_or_else(|error| panic!("openapi.json: {error}")))
    }

    /// All there are.
    pub(crate) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        object(&self.0["paths"]).iter().flat_map(|(path, item)| {
            METHODS.into_iter().filter_map(move |method| {
                let value = item.get(method.to_ascii_lowercase())?;
                Some(Operation { path, method, item, value })
            })
        })
    }

    /// One that there is.
    pub(crate) fn operation(&self, method: &str, path: &str) -> Operation<'_> {
        let found = self.operations().find(|known| known.method == method && known.path == path);
        found.unwrap_or_else(|| panic!("{method} {path} is not in the document"))
    }

    /// The parameters of an operation that stand in `place`, `query` or `path`.
    pub(crate) fn parameters<'a>(
        &'a self,
        operation: Operation<'a>,
        place: &str,
    ) -> impl Iterator<Item = &'a Value> {
        let lists = [&operation.item["parameters"], &operation.value["parameters"]];
        let all = lists.into_iter().filter_map(Value::as_array).flatten();
        let all = all.map(|parameter| match parameter["$ref"].as_str() {
            Some(reference) => self.at(reference),
            None => parameter,
        });
        all.filter(move |parameter| parameter["in"] == place)
    }

    /// Checks an answer: that its status is told of, its media type is, and its body is as the
    /// schema says. A status that has no word of its own is told of as `default`.
    pub(crate) fn check(
        &self,
        operation: Operation<'_>,
        status: u16,
        media_type: &str,
        body: &str,
    ) -> Result<(), String> {
        let responses = &operation.value["responses"];
        let told = responses
            .get(status.to_string())
            .or_else(|| responses.get("default").filter(|_| status >= 400));
        let told = told.ok_or_else(|| format!("the status {status} is not told of"))?;
        let told = told["$ref"].as_str().map_or(told, |reference| self.at(reference));
        let Some(content) = told.get("content") else {
            return if body.is_empty() { Ok(()) } else { Err("there is a body".to_owned()) };
        };
        let schema = content.get(media_type).map(|content| &content["schema"]);
        let schema = schema.ok_or_else(|| format!("{media_type} is not told of"))?;
        if media_type != "application/json" {
            return Ok(());
        }
        let body: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
        self.check_value(schema, &body)
    }

    /// Checks a value.
    pub(crate) fn check_value(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut problems = Problems::new();
        self.judge(schema, value, "", &mut problems);
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
    }

    /// What a reference within the document leads to.
    pub(crate) fn at(&self, reference: &str) -> &Value {
        let pointer = reference.strip_prefix('#').unwrap_or_default();
        self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    /// Finds what is wrong; says which members of an object were looked at.
    fn judge<'a>(
        &'a self,
        schema: &'a Value,
        value: &Value,
        at: &str,
        problems: &mut Problems,
    ) -> BTreeSet<&'a str> {
        let mut seen = BTreeSet::new();
        for (keyword, rule) in object(schema) {
            match keyword.as_str() {
                "description" | "default" | "unevaluatedProperties" => {}
                "$ref" => {
                    let schema = self.at(rule.as_str().unwrap_or_default());
                    seen.extend(self.judge(schema, value, at, problems));
                }
                "allOf" => {
                    for schema in list(rule) {
                        seen.extend(self.judge(schema, value, at, problems));
                    }
                }
                "anyOf" => {
                    let tried = list(rule).iter().map(|schema| {
                        let mut problems = Problems::new();
                        self.judge(schema, value, at, &mut problems);
                        problems
                    });
                    let tried: Vec<_> = tried.collect();
                    if !tried.iter().any(Vec::is_empty) {
                        problems.extend(tried.into_iter().flatten());
                    }
                }
                "properties" => {
                    for (name, schema) in object(rule) {
                        seen.insert(name.as_str());
                        if let Some(member) = value.get(name) {
                            self.judge(schema, member, &format!("{at}/{name}"), problems);
                        }
                    }
                }
                "additionalProperties" if rule.is_object() => {
                    for (name, member) in value.as_object().into_iter().flatten() {
                        self.judge(rule, member, &format!("{at}/{name}"), problems);
                    }
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.judge(rule, item, &format!("{at}/{index}"), problems);
                    }
                }
                _ => {
                    if !is_kept(keyword, rule, schema, value) {
                        problems.push(format!("{at}: {value} is not {keyword} {rule}"));
                    }
                }
            }
        }
        if schema.get("unevaluatedProperties").is_some() {
            let members = value.as_object().into_iter().flatten();
            for (name, _) in members.filter(|(name, _)| !seen.contains(name.as_str())) {
                problems.push(format!("{at}: {name} is not told of"));
            }
        }
        seen
    }
}

/// Whether a value keeps a rule that leads to no other schema.
fn is_kept(keyword: &str, rule: &Value, schema: &Value, value: &Value) -> bool {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let len = |len: Option<usize>| len.is_none_or(|len| len as u64 >= rule.as_u64().unwrap_or(0));
    match keyword {
        "type" => match rule {
            Value::Array(types) => types.iter().any(|kind| is_a(kind, value)),
            kind => is_a(kind, value),
        },
        "enum" => list(rule).contains(value),
        "const" => rule == value,
        "minimum" => !value.is_number() || number(value) >= number(rule),
        "maximum" => !value.is_number() || number(value) <= number(rule),
        "minLength" => len(value.as_str().map(|text| text.chars().count())),
        "minItems" => len(value.as_array().map(Vec::len)),
        "minProperties" => len(value.as_object().map(Map::len)),
        "maxItems" => {
            value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap_or(0))
        }
        "pattern" => value.as_str().is_none_or(|text| {
            let pattern = Regex::new(rule.as_str().unwrap_or_default());
            pattern.is_ok_and(|pattern| pattern.is_match(text))
        }),
        "format" => {
            assert_eq!(rule, "date-time", "no other format is known here");
            value.as_str().is_none_or(|text| text.parse::<jiff::Timestamp>().is_ok())
        }
        "required" => value.as_object().is_none_or(|members| {
            list(rule).iter().all(|name| members.contains_key(name.as_str().unwrap_or_default()))
        }),
        "additionalProperties" => {
            assert_eq!(rule, false);
            let known = object(&schema["properties"]);
            value.as_object().is_none_or(|members| members.keys().all(|n| known.contains_key(n)))
        }
        other => panic!("the keyword {other} is not known here"),
    }
}

fn is_a(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap_or_default() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other} is not known here"),
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("this is no object: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("this is no list: {value}"))
}

/// What a path can take, beside HEAD, which goes with GET, and OPTIONS, which all take.
pub(crate) const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
