//! JSON Schema (draft 2020-12) from the same declarations that check the files.

use serde_json::{Map, Value, json};

use super::shape::{Fields, Names, Rule, Shape};

/// Whether a file may hold `${NAME}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variables {
    /// Any scalar may come from the environment.
    Expanded,
    /// `${` means nothing.
    Literal,
}

/// The schema of files of this shape, as editors use it.
pub fn json_schema(shape: &'static Shape, title: &str, variables: Variables) -> Value {
    let mut definitions = Map::new();
    if variables == Variables::Expanded {
        let variable = json!({"type": "string", "pattern": r"\$\{", "description": "A value from the environment."});
        definitions.insert(VARIABLE.to_owned(), variable);
    }
    let root = schema(shape, &mut definitions);
    let mut out = Map::new();
    out.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    out.insert("title".to_owned(), json!(title));
    if let Value::Object(root) = root {
        out.extend(root);
    }
    out.insert("$defs".to_owned(), Value::Object(definitions));
    Value::Object(out)
}

/// The definition of a text with a variable: its being there says that scalars may have them.
const VARIABLE: &str = "variable";

fn schema(shape: &'static Shape, definitions: &mut Map<String, Value>) -> Value {
    let plain = plain(shape, definitions);
    let narrow = match shape {
        Shape::Format(format) => format.pattern.is_some_and(|pattern| pattern != "."),
        Shape::Keyword(_) | Shape::Bool | Shape::Int(..) | Shape::Size(..) | Shape::Duration(..) | Shape::Cidr => true,
        _ => false,
    };
    if narrow && definitions.contains_key(VARIABLE) {
        return json!({"anyOf": [plain, {"$ref": format!("#/$defs/{VARIABLE}")}]});
    }
    plain
}

fn plain(shape: &'static Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Any => json!({}),
        Shape::Text => json!({"type": "string"}),
        Shape::Format(format) => match format.pattern {
            Some(pattern) => json!({"type": "string", "pattern": pattern, "description": capitalised(format.what)}),
            None => json!({"type": "string", "description": capitalised(format.what)}),
        },
        Shape::Keyword(words) => json!({"enum": words}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Int(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Size(..) => json!({"anyOf": [
            {"type": "string", "pattern": "^[0-9]+(B|Ki|KiB|Mi|MiB|Gi|GiB)$"},
            {"type": "integer", "minimum": 0},
        ]}),
        Shape::Duration(..) => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}),
        Shape::Cidr => json!({"type": "string", "pattern": "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$"}),
        Shape::Literal => json!({"type": ["string", "number", "boolean"]}),
        Shape::List(item) => json!({"type": "array", "items": schema(item, definitions)}),
        Shape::NonEmptyList(item) => json!({"type": "array", "minItems": 1, "items": schema(item, definitions)}),
        Shape::OneOrMany(item) => {
            let item = schema(item, definitions);
            json!({"anyOf": [item.clone(), {"type": "array", "minItems": 1, "items": item}]})
        }
        Shape::Map(fields) => defined(fields.title, definitions, |definitions| map(fields, definitions)),
        Shape::Names(names) => defined(names.title, definitions, |definitions| keyed(names, definitions)),
        Shape::Union(alternatives) => {
            let all: Vec<_> = alternatives.iter().map(|each| schema(each, definitions)).collect();
            json!({"anyOf": all})
        }
        Shape::Nullable(inner) => json!({"anyOf": [schema(inner, definitions), {"type": "null"}]}),
    }
}

/// A reference to a definition, which is made the first time: declarations are recursive.
fn defined(
    title: &'static str,
    definitions: &mut Map<String, Value>,
    make: impl FnOnce(&mut Map<String, Value>) -> Value,
) -> Value {
    let name = title.replace(' ', "-");
    if !definitions.contains_key(&name) {
        definitions.insert(name.clone(), Value::Null);
        let definition = make(definitions);
        definitions.insert(name.clone(), definition);
    }
    json!({"$ref": format!("#/$defs/{name}")})
}

fn map(fields: &'static Fields, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for field in fields.fields {
        let mut property = schema(field.shape, definitions);
        if let Value::Object(property) = &mut property {
            property.insert("description".to_owned(), json!(field.doc));
        }
        properties.insert(field.name.to_owned(), property);
    }
    let required: Vec<_> = fields.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut out = Map::new();
    out.insert("title".to_owned(), json!(fields.title));
    out.insert("description".to_owned(), json!(fields.doc));
    out.insert("type".to_owned(), json!("object"));
    out.insert("properties".to_owned(), Value::Object(properties));
    out.insert("patternProperties".to_owned(), json!({"^x-": {}}));
    out.insert("additionalProperties".to_owned(), json!(false));
    if !required.is_empty() {
        out.insert("required".to_owned(), json!(required));
    }
    let rules: Vec<_> = fields.rules.iter().map(rule).collect();
    if !rules.is_empty() {
        out.insert("allOf".to_owned(), Value::Array(rules));
    }
    Value::Object(out)
}

fn rule(rule: &Rule) -> Value {
    let each = |keys: &[&str]| keys.iter().map(|key| json!({"required": [key]})).collect::<Vec<_>>();
    match rule {
        Rule::ExactlyOne(keys) => json!({"oneOf": each(keys)}),
        Rule::AtLeastOne(keys) => json!({"anyOf": each(keys)}),
        Rule::AtMostOne(keys) => {
            let mut allowed = each(keys);
            allowed.push(json!({"not": {"anyOf": each(keys)}}));
            json!({"oneOf": allowed})
        }
        Rule::Together(keys) => {
            let needs: Map<_, _> = keys.iter().map(|key| ((*key).to_owned(), json!(keys))).collect();
            json!({"dependentRequired": needs})
        }
    }
}

fn keyed(names: &'static Names, definitions: &mut Map<String, Value>) -> Value {
    let mut key = Map::new();
    key.insert("description".to_owned(), json!(capitalised(names.key.what)));
    if let Some(pattern) = names.key.pattern {
        key.insert("pattern".to_owned(), json!(pattern));
    }
    json!({
        "title": names.title,
        "type": "object",
        "propertyNames": key,
        "additionalProperties": schema(names.value, definitions),
    })
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
