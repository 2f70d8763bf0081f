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
    let mut definitions = Definitions { variables, named: Vec::new(), made: Map::new() };
    if variables == Variables::Expanded {
        let variable = json!({"type": "string", "pattern": r"\$\{", "description": "A value from the environment."});
        definitions.made.insert(VARIABLE.to_owned(), variable);
    }
    let root = schema(shape, &mut definitions);
    let mut out = Map::new();
    out.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    out.insert("title".to_owned(), json!(title));
    if let Value::Object(root) = root {
        out.extend(root);
    }
    out.insert("$defs".to_owned(), Value::Object(definitions.made));
    Value::Object(out)
}

/// What the schema refers to: every declared map once, which is what recursion needs.
struct Definitions {
    variables: Variables,
    /// Names given so far, by the address of the declaration: two may have the same title.
    named: Vec<(usize, String)>,
    made: Map<String, Value>,
}

impl Definitions {
    /// A reference to the definition of a declaration, made the first time.
    fn refer(&mut self, address: usize, title: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        let known = self.named.iter().find(|(known, _)| *known == address).map(|(_, name)| name.clone());
        let name = known.unwrap_or_else(|| {
            let plain = title.replace(' ', "-");
            let free = |name: &String| !self.made.contains_key(name);
            let numbered = (2..).map(|number: usize| format!("{plain}-{number}"));
            let name = std::iter::once(plain.clone()).chain(numbered).find(free).unwrap_or(plain.clone());
            self.named.push((address, name.clone()));
            self.made.insert(name.clone(), Value::Null);
            let definition = make(self);
            self.made.insert(name.clone(), definition);
            name
        });
        json!({"$ref": format!("#/$defs/{name}")})
    }
}

/// The name of the definition of a text with a variable.
const VARIABLE: &str = "variable";

fn schema(shape: &'static Shape, definitions: &mut Definitions) -> Value {
    let plain = plain(shape, definitions);
    let narrow = match shape {
        Shape::Format(format) => format.pattern.is_some_and(|pattern| pattern != "."),
        Shape::Keyword(_) | Shape::Bool | Shape::Int(..) | Shape::Size(..) | Shape::Duration(..) | Shape::Cidr => true,
        _ => false,
    };
    if narrow && definitions.variables == Variables::Expanded {
        return json!({"anyOf": [plain, {"$ref": format!("#/$defs/{VARIABLE}")}]});
    }
    plain
}

fn plain(shape: &'static Shape, definitions: &mut Definitions) -> Value {
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
        Shape::Map(fields) => {
            let address = std::ptr::from_ref(*fields).addr();
            definitions.refer(address, fields.title, |definitions| map(fields, definitions))
        }
        Shape::Names(names) => {
            let address = std::ptr::from_ref(*names).addr();
            definitions.refer(address, names.title, |definitions| keyed(names, definitions))
        }
        Shape::Union(alternatives) => union(alternatives, definitions),
        Shape::Nullable(inner) => json!({"anyOf": [schema(inner, definitions), {"type": "null"}]}),
    }
}

/// One of these. Maps come first: of alternatives that fit equally badly, editors tell what is wrong with the first, and a
/// misspelt key says more than that a map is no word.
fn union(alternatives: &'static [&'static Shape], definitions: &mut Definitions) -> Value {
    let is_map = |shape: &&&Shape| matches!(shape, Shape::Map(_) | Shape::Names(_));
    let maps = alternatives.iter().filter(is_map);
    let others = alternatives.iter().filter(|shape| !is_map(shape));
    let all: Vec<_> = maps.chain(others).map(|each| schema(each, definitions)).collect();
    let words: Option<Vec<&str>> = alternatives.iter().try_fold(Vec::new(), |mut words, shape| match shape {
        Shape::Keyword(more) => {
            words.extend(*more);
            Some(words)
        }
        shape if is_map(&shape) => Some(words),
        _ => None,
    });
    match words.filter(|words| !words.is_empty() && definitions.variables == Variables::Literal) {
        // A text is told which words there are, whichever alternative comes first.
        Some(words) => json!({"anyOf": all, "if": {"type": "string"}, "then": {"enum": words}}),
        None => json!({"anyOf": all}),
    }
}

fn map(fields: &'static Fields, definitions: &mut Definitions) -> Value {
    let mut properties = Map::new();
    for field in fields.fields {
        let mut property = schema(field.shape, definitions);
        describe(&mut property, field.doc);
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

/// Says what a key is about: also at those alternatives of its value that would say something of their own, because
/// editors show what stands at the alternative that fits.
fn describe(property: &mut Value, doc: &str) {
    let Value::Object(property) = property else { return };
    property.insert("description".to_owned(), json!(doc));
    let alternatives = property.get_mut("anyOf").and_then(Value::as_array_mut);
    for alternative in alternatives.into_iter().flatten().filter_map(Value::as_object_mut) {
        let variable = alternative.get("$ref").is_some_and(|name| *name == format!("#/$defs/{VARIABLE}"));
        if !variable && (alternative.contains_key("$ref") || alternative.contains_key("description")) {
            alternative.insert("description".to_owned(), json!(doc));
        }
    }
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

fn keyed(names: &'static Names, definitions: &mut Definitions) -> Value {
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

#[cfg(test)]
mod tests {
    use super::super::shape::{Field, Fields, TEXT};
    use super::*;

    static TREE: Shape = Shape::Map(&Fields {
        title: "tree node",
        doc: "A tree.",
        fields: &[
            Field::required("name", &TEXT, "Its name."),
            Field::optional("children", &Shape::List(&TREE), "Below it."),
            Field::optional("other", &OTHER, "Something of the same title."),
        ],
        rules: &[Rule::AtMostOne(&["children", "other"])],
    });
    static OTHER: Shape = Shape::Map(&Fields {
        title: "tree node",
        doc: "No tree.",
        fields: &[Field::optional("size", &Shape::Int(1, 3), "How many.")],
        rules: &[],
    });

    #[test]
    fn recursion_ends_in_a_reference_and_titles_may_repeat() {
        let schema = json_schema(&TREE, "a tree", Variables::Literal);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$ref"], "#/$defs/tree-node");
        let node = &schema["$defs"]["tree-node"];
        assert_eq!(node["properties"]["children"]["items"]["$ref"], "#/$defs/tree-node");
        assert_eq!(node["properties"]["other"]["$ref"], "#/$defs/tree-node-2");
        assert_eq!(node["required"], json!(["name"]));
        assert_eq!(node["additionalProperties"], false);
        assert!(node["patternProperties"]["^x-"].is_object());
        assert_eq!(schema["$defs"]["tree-node-2"]["properties"]["size"]["maximum"], 3);
    }

    static EITHER: Shape = Shape::Map(&Fields {
        title: "either",
        doc: "A word or a map.",
        fields: &[Field::optional("value", &Shape::Union(&[&Shape::Keyword(&["a", "b"]), &OTHER]), "What it is.")],
        rules: &[],
    });

    #[test]
    fn a_map_is_the_first_alternative_and_a_word_is_told_the_words() {
        let value = json_schema(&EITHER, "e", Variables::Literal)["$defs"]["either"]["properties"]["value"].clone();
        let told = json!({"$ref": "#/$defs/tree-node", "description": "What it is."});
        assert_eq!(value["anyOf"], json!([told, {"enum": ["a", "b"]}]));
        assert_eq!(value["then"], json!({"enum": ["a", "b"]}));
        assert_eq!(value["description"], "What it is.");
        let expanded = json_schema(&EITHER, "e", Variables::Expanded)["$defs"]["either"]["properties"]["value"].clone();
        assert!(expanded["then"].is_null(), "a variable may be any word");
    }

    #[test]
    fn variables_may_stand_where_a_number_belongs_only_in_files_that_have_them() {
        let size = |variables| json_schema(&OTHER, "o", variables)["$defs"]["tree-node"]["properties"]["size"].clone();
        assert_eq!(size(Variables::Literal)["type"], "integer");
        assert_eq!(size(Variables::Expanded)["anyOf"][1]["$ref"], "#/$defs/variable");
    }
}
