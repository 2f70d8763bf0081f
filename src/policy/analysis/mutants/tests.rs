//! Exactly which mutants documents have, and what each changes.

use super::*;
use crate::diagnostic::Diagnostics;
use crate::document::parse;
use crate::policy::tests::surroundings;
use crate::policy::{IdentityFacts, Policies, Surroundings};
use crate::target::quirks::Quirks;

const ISSUERS: [&str; 2] = ["kusy", "shoen"];

fn source(document: &str) -> Arc<Source> {
    Arc::new(Source { path: "a.yaml".into(), text: document.to_owned() })
}

fn compiled(document: &str) -> Policies {
    let surroundings = Surroundings {
        identity: IdentityFacts { assertion: Some("https://torwart.test".into()), ..IdentityFacts::default() },
        files: &|_| Ok(String::new()),
        ..surroundings(&ISSUERS, &[("a", Quirks::default())])
    };
    let (policies, problems) = Policies::compile(&[source(document)], &surroundings);
    policies.unwrap_or_else(|| panic!("{document}{}", problems.render()))
}

fn json(node: &Node) -> String {
    node.to_json().unwrap().to_string()
}

/// What of a text another has otherwise.
fn changed(before: &str, after: &str) -> String {
    let (before, after): (Vec<char>, Vec<char>) = (before.chars().collect(), after.chars().collect());
    let shorter = before.len().min(after.len());
    let start = (0..shorter).find(|at| before[*at] != after[*at]).unwrap_or(shorter);
    let ends = |at: &usize| before[before.len() - 1 - at] != after[after.len() - 1 - at];
    let end = (0..shorter - start).find(ends).unwrap_or(shorter - start);
    let middle = |text: &[char]| match text[start..text.len() - end].iter().collect::<String>() {
        nothing if nothing.is_empty() => "nothing".to_owned(),
        long if long.chars().count() > 60 => long.chars().take(57).chain("...".chars()).collect(),
        short => short,
    };
    format!("{} -> {}", middle(&before), middle(&after))
}

/// Every mutant of a document, each with its line, what it reaches and what it makes of the document. A document without
/// the routes that a mutant does not reach is changed alike.
fn made(document: &str) -> Vec<String> {
    compiled(document);
    let source = source(document);
    let node = parse(&source, &mut Diagnostics::new()).unwrap();
    let mutants = mutants(&node, &source, &ISSUERS).into_iter().map(|mutant| {
        let whole = mutant.of(&node).unwrap();
        let alone = mutant.alone(&node);
        let expected = match &mutant.reach {
            Reach::All => None,
            Reach::Shape(routes) | Reach::Routes(routes) => Some(json(&only_routes(&whole, routes).unwrap())),
        };
        assert_eq!(alone.as_ref().map(json), expected, "{mutant:?}");
        let reach = match &mutant.reach {
            Reach::All => "all".to_owned(),
            Reach::Shape(routes) => format!("shape {routes:?}"),
            Reach::Routes(routes) => format!("routes {routes:?}"),
        };
        let (operator, change) = (mutant.operator.as_str(), &mutant.change);
        let (line, _) = mutant.place.line_column();
        format!("{line} {operator}: {change} | {reach} | {}", changed(&json(&node), &json(&whole)))
    });
    mutants.collect()
}

/// What a document says beside its routes, and what routes say beside what they ask for.
const AROUND: &str = r#"
version: 1
policy: a
hosts: [a.example.com, b.example.com]
upstream: a
issuers: [shoen]
require: {scope: s}
client_credentials: {bypass: [batch, night]}
forward: {add_prefix: /v1, headers: {X-A: a, X-B: b}, timeout: 5s}
routes:
  - path: /{owner}
    methods: [GET, POST]
    params: {owner: alnum}
    issuers: [kusy, shoen]
    require: {subject: "{owner}"}
    narrow: {query.c: client, query.p: permissions}
    forward: {strip_prefix: /x, authorization: keep, identity_headers: none, assertion: true, max_body: 1KiB, query: {a: b}}
  - {path: "/{owner}", methods: [PUT], params: {owner: alnum}, client_credentials: bypass, require: {subject: "{owner}"}, mode: enforce}
  - {path: /list, methods: "*", client_credentials: {bypass: [batch], lift: [subject, permission]}, require: {subject: x, permission: p}, narrow: {query.c: client}}
  - {path: /seen, methods: [GET], client_credentials: enforce, require: authenticated, mode: observe}
  - {path: /open, methods: [GET], require: public}
  - {path: /in, methods: [GET], require: {token: none, network: [10.0.0.0/8]}}
"#;

const AROUND_MUTANTS: &str = r#"
7 drop condition: no `scope` | all | equire":{"scope":"s"},"r -> nothing
4 drop host: hosts without `a.example.com` | all | a.example.com"," -> nothing
4 drop host: hosts without `b.example.com` | all | ,"b.example.com" -> nothing
6 issuers: tokens of every issuer | all | nothing -> kusy","
3 observe: `mode: observe` | all | nothing -> mode":"observe","
9 drop effect: no `add_prefix` | all | add_prefix":"/v1"," -> nothing
9 drop effect: `X-A` is not set | all | A":"a","X- -> nothing
9 drop effect: `X-B` is not set | all | ,"X-B":"b" -> nothing
15 drop condition: no `subject` | routes [0] | {"subject":"{owner}"} -> "authenticated"
13 widen type: `owner` of any form | shape [0, 1] | "owner":"alnum" -> nothing
12 drop method: no GET | shape [0, 1] | GET"," -> nothing
12 drop method: no POST | shape [0, 1] | ,"POST" -> nothing
15 bypass: `client_credentials: bypass` | routes [0] | nothing -> client_credentials":"bypass","
15 enforce: `client_credentials: enforce` | routes [0] | nothing -> client_credentials":"enforce","
15 drop value: bypass without `batch` | routes [0] | nothing -> client_credentials":{"bypass":["night"]},"
15 drop value: bypass without `night` | routes [0] | nothing -> client_credentials":{"bypass":["batch"]},"
14 drop value: issuers without `kusy` | shape [0, 1] | kusy"," -> nothing
14 drop value: issuers without `shoen` | shape [0, 1] | ,"shoen" -> nothing
16 drop narrow: `query.c` is not narrowed | routes [0] | c":"client","query. -> nothing
16 drop narrow: `query.p` is not narrowed | routes [0] | ,"query.p":"permissions" -> nothing
17 drop effect: no `strip_prefix` | routes [0] | ,"strip_prefix":"/x" -> nothing
17 drop effect: no `authorization` | routes [0] | authorization":"keep"," -> nothing
17 drop effect: no `identity_headers` | routes [0] | identity_headers":"none"," -> nothing
17 drop effect: no `assertion` | routes [0] | ssertion":true,"a -> nothing
17 drop effect: no `max_body` | routes [0] | max_body":"1KiB"," -> nothing
17 drop effect: `a` is not set | routes [0] | "a":"b" -> nothing
11 observe: `mode: observe` | shape [0, 1] | nothing -> mode":"observe","
18 drop condition: no `subject` | routes [1] | {"subject":"{owner}"} -> "authenticated"
18 widen type: `owner` of any form | shape [0, 1] | "owner":"alnum" -> nothing
18 drop method: no PUT | all | "bypass","methods":["PUT"],"mode":"enforce","params":{"ow... -> nothing
18 enforce: `client_credentials: enforce` | routes [1] | bypass -> enforce
18 observe: `mode: observe` | shape [0, 1] | enforc -> observ
19 drop condition: no `subject` | routes [2] | ,"subject":"x" -> nothing
19 drop condition: no `permission` | routes [2] | permission":"p"," -> nothing
19 drop method: only GET | shape [2] | "*" -> ["GET"]
19 drop method: only POST, PUT, PATCH, DELETE, OPTIONS | shape [2] | "*" -> ["POST","PUT","PATCH","DELETE","OPTIONS"]
19 bypass: `client_credentials: bypass` | routes [2] | {"bypass":["batch"],"lift":["subject","permission"]} -> "bypass"
19 enforce: `client_credentials: enforce` | routes [2] | {"bypass":["batch"],"lift":["subject","permission"]} -> "enforce"
19 drop lift: lift without `subject` | routes [2] | subject"," -> nothing
19 drop lift: lift without `permission` | routes [2] | ,"permission" -> nothing
19 drop lift: no `lift` | routes [2] | ,"lift":["subject","permission"] -> nothing
19 drop narrow: no `narrow` | routes [2] | narrow":{"query.c":"client"}," -> nothing
19 observe: `mode: observe` | shape [2] | nothing -> mode":"observe","
20 token: asks for no token | all | authenticated -> public
20 drop method: no GET | all | client_credentials":"enforce","methods":["GET"],"mode":"o... -> nothing
20 bypass: `client_credentials: bypass` | routes [3] | enforce -> bypass
21 token: asks for a token | all | public -> authenticated
21 drop method: no GET | all | open","require":"public"},{"methods":["GET"],"path":"/ -> nothing
21 observe: `mode: observe` | shape [4] | nothing -> mode":"observe","
22 token: asks for a token | all | ,"token":"none" -> nothing
22 drop condition: no `network` | routes [5] | network":["10.0.0.0/8"]," -> nothing
22 widen network: any address | routes [5] | 10.0.0.0/8 -> 0.0.0.0/0","::/0
22 drop method: no GET | all | ,{"methods":["GET"],"path":"/in","require":{"network":["1... -> nothing
22 observe: `mode: observe` | shape [5] | nothing -> mode":"observe","
18 swap requirements: `{"subject":"{owner}"}` and `{"permission":"p","subject":"x"}` | shape [1, 2] | subject":"{owner}"}},{"client_credentials":{"bypass":["ba... -> permission":"p","subject":"x"}},{"client_credentials":{"b...
19 swap requirements: `{"permission":"p","subject":"x"}` and `authenticated` | shape [2, 3] | {"permission":"p","subject":"x"}},{"client_credentials":"... -> "authenticated"},{"client_credentials":"enforce","methods...
20 swap requirements: `authenticated` and `public` | shape [3, 4] | authenticated"},{"methods":["GET"],"path":"/open","requir... -> public"},{"methods":["GET"],"path":"/open","require":"aut...
21 swap requirements: `public` and `{"network":["10.0.0.0/8"],"token":"none"}` | shape [4, 5] | "public"},{"methods":["GET"],"path":"/in","require":{"net... -> {"network":["10.0.0.0/8"],"token":"none"}},{"methods":["G...
"#;

/// Every kind of condition, beside others.
const CONDITIONS: &str = r#"
version: 1
policy: a
hosts: [a.example.com]
upstream: a
issuers: [kusy, shoen]
mode: observe
require: {scope: {all_of: [a, b]}, permission: {any_of: [p, q]}}
routes:
  - path: /{owner}
    methods: [GET]
    require:
      x-why: [one, two]
      subject: ["{owner}", 123456789-123456789-123456789-123456789-123456789-123456789-, 123456789-123456789-123456789-123456789-123456789-123456789-1]
      client: c
      issuer: [kusy, shoen]
      organization: {all_of: ["{owner}", "{query.o}"]}
      claim: {x: {one_of: [1, 2]}, y: {contains: {any_of: [a, b]}}, z: {equals: 1}}
      authentication: {acr: [one, two], max_age: 5m}
      network: [10.0.0.0/8, 11.0.0.0/8]
      certificate: {dns: [a, b], subject: CN=a}
      request: {query.a: [x, y], query.b: z}
      any_of: [{scope: c}, {client: d, scope: {any_of: [s, t]}}, {all_of: [{client: e}, {flow: user}]}]
      not: {client: [evil, bad]}
  - path: /keys
    methods: [GET]
    require:
      claim: [{name: [a, b], one_of: [1, 2]}, {name: c, contains: {all_of: [1, 2]}}]
      authentication: {acr: [one, two]}
      certificate: {dns: [a, b]}
      request: {query.a: [x, y]}
      network: [0.0.0.0/0, "::/0"]
      scope: {any_of: [only]}
      all_of: [{client: c}, {subject: x, flow: user}]
      any_of: [{client: c}, {client: d}]
      not: {organization: "{query.o}"}
  - {path: /no, methods: [GET], require: {client: c, all_of: [{subject: s}], not: {client: evil}}}
"#;

const CONDITIONS_MUTANTS: &str = r#"
8 drop condition: no `scope` | all | ,"scope":{"all_of":["a","b"]} -> nothing
8 drop condition: no `permission` | all | permission":{"any_of":["p","q"]}," -> nothing
8 drop word: scope without `a` | all | a"," -> nothing
8 drop word: scope without `b` | all | ,"b" -> nothing
8 all_of to any_of: `any_of` of scope | all | ll -> ny
8 drop word: permission without `p` | all | p"," -> nothing
8 drop word: permission without `q` | all | ,"q" -> nothing
8 any_of to all_of: `all_of` of permission | all | ny -> ll
6 drop value: issuers without `kusy` | all | kusy"," -> nothing
6 drop value: issuers without `shoen` | all | ,"shoen" -> nothing
14 drop condition: no `subject` | routes [0] | subject":["{owner}","123456789-123456789-123456789-123456... -> nothing
15 drop condition: no `client` | routes [0] | client":"c"," -> nothing
16 drop condition: no `issuer` | routes [0] | issuer":["kusy","shoen"]," -> nothing
17 drop condition: no `organization` | routes [0] | organization":{"all_of":["{owner}","{query.o}"]}," -> nothing
18 drop condition: no `claim` | routes [0] | aim":{"x":{"one_of":[1,2]},"y":{"contains":{"any_of":["a"... -> nothing
19 drop condition: no `authentication` | routes [0] | authentication":{"acr":["one","two"],"max_age":"5m"}," -> nothing
20 drop condition: no `network` | routes [0] | etwork":["10.0.0.0/8","11.0.0.0/8"],"n -> nothing
21 drop condition: no `certificate` | routes [0] | ertificate":{"dns":["a","b"],"subject":"CN=a"},"c -> nothing
22 drop condition: no `request` | routes [0] | request":{"query.a":["x","y"],"query.b":"z"}," -> nothing
23 drop condition: no `any_of` | routes [0] | ny_of":[{"scope":"c"},{"client":"d","scope":{"any_of":["s... -> nothing
24 drop condition: no `not` | routes [0] | not":{"client":["evil","bad"]}," -> nothing
14 drop value: subject without `{owner}` | routes [0] | {owner}"," -> nothing
14 drop value: subject without `123456789-123456789-123456789-123456789-123456789-123456789-` | routes [0] | ","123456789-123456789-123456789-123456789-123456789-1234... -> nothing
14 drop value: subject without `123456789-123456789-123456789-123456789-123456789-1234567...` | routes [0] | ,"123456789-123456789-123456789-123456789-123456789-12345... -> nothing
16 drop value: issuer without `kusy` | routes [0] | kusy"," -> nothing
16 drop value: issuer without `shoen` | routes [0] | ,"shoen" -> nothing
17 drop word: organization without `{owner}` | routes [0] | owner}","{ -> nothing
17 drop word: organization without `{query.o}` | routes [0] | ,"{query.o}" -> nothing
17 all_of to any_of: `any_of` of organization | routes [0] | ll -> ny
18 drop condition: no `claim` of `x` | routes [0] | x":{"one_of":[1,2]}," -> nothing
18 drop condition: no `claim` of `y` | routes [0] | y":{"contains":{"any_of":["a","b"]}}," -> nothing
18 drop condition: no `claim` of `z` | routes [0] | ,"z":{"equals":1} -> nothing
18 drop value: claim without `1` | routes [0] | 1, -> nothing
18 drop value: claim without `2` | routes [0] | ,2 -> nothing
18 drop word: claim without `a` | routes [0] | a"," -> nothing
18 drop word: claim without `b` | routes [0] | ,"b" -> nothing
18 any_of to all_of: `all_of` of claim | routes [0] | ny -> ll
19 drop condition: no `authentication` of `acr` | routes [0] | acr":["one","two"]," -> nothing
19 drop condition: no `authentication` of `max_age` | routes [0] | ,"max_age":"5m" -> nothing
19 drop value: acr without `one` | routes [0] | one"," -> nothing
19 drop value: acr without `two` | routes [0] | ,"two" -> nothing
20 drop value: network without `10.0.0.0/8` | routes [0] | 0.0.0.0/8","1 -> nothing
20 drop value: network without `11.0.0.0/8` | routes [0] | ,"11.0.0.0/8" -> nothing
20 widen network: any address | routes [0] | 10.0.0.0/8","11.0.0.0/8 -> 0.0.0.0/0","::/0
21 drop condition: no `certificate` of `dns` | routes [0] | dns":["a","b"]," -> nothing
21 drop value: dns without `a` | routes [0] | a"," -> nothing
21 drop value: dns without `b` | routes [0] | ,"b" -> nothing
21 drop condition: no `certificate` of `subject` | routes [0] | ,"subject":"CN=a" -> nothing
22 drop condition: no `request` of `query.a` | routes [0] | a":["x","y"],"query. -> nothing
22 drop value: query.a without `x` | routes [0] | x"," -> nothing
22 drop value: query.a without `y` | routes [0] | ,"y" -> nothing
22 drop condition: no `request` of `query.b` | routes [0] | ,"query.b":"z" -> nothing
23 drop alternative: any_of without `{"scope":"c"}` | routes [0] | scope":"c"},{" -> nothing
23 drop alternative: any_of without `{"client":"d","scope":{"any_of":["s","t"]}}` | routes [0] | client":"d","scope":{"any_of":["s","t"]}},{" -> nothing
23 drop alternative: any_of without `{"all_of":[{"client":"e"},{"flow":"user"}]}` | routes [0] | ,{"all_of":[{"client":"e"},{"flow":"user"}]} -> nothing
23 any_of to all_of: `all_of` | routes [0] | ny -> ll
23 drop condition: no `client` | routes [0] | client":"d"," -> nothing
23 drop condition: no `scope` | routes [0] | ,"scope":{"any_of":["s","t"]} -> nothing
23 drop word: scope without `s` | routes [0] | s"," -> nothing
23 drop word: scope without `t` | routes [0] | ,"t" -> nothing
23 any_of to all_of: `all_of` of scope | routes [0] | ny -> ll
23 drop condition: all_of without `{"client":"e"}` | routes [0] | client":"e"},{" -> nothing
23 drop condition: all_of without `{"flow":"user"}` | routes [0] | ,{"flow":"user"} -> nothing
23 all_of to any_of: `any_of` | routes [0] | ll -> ny
24 drop value: client without `evil` | routes [0] | evil"," -> nothing
24 drop value: client without `bad` | routes [0] | ,"bad" -> nothing
24 drop not: `{"client":["evil","bad"]}` | routes [0] | ny_of":[{"scope":"c"},{"client":"d","scope":{"any_of":["s... -> ll_of":[{"client":["evil","bad"]}],"any_of":[{"scope":"c"...
11 drop method: no GET | all | {owner}","require":{"any_of":[{"scope":"c"},{"client":"d"... -> nothing
12 bypass: `client_credentials: bypass` | routes [0] | nothing -> client_credentials":"bypass","
28 drop condition: no `claim` | routes [1] | claim":[{"name":["a","b"],"one_of":[1,2]},{"contains":{"a... -> nothing
29 drop condition: no `authentication` | routes [1] | authentication":{"acr":["one","two"]}," -> nothing
30 drop condition: no `certificate` | routes [1] | ertificate":{"dns":["a","b"]},"c -> nothing
31 drop condition: no `request` | routes [1] | request":{"query.a":["x","y"]}," -> nothing
32 drop condition: no `network` | routes [1] | etwork":["0.0.0.0/0","::/0"],"n -> nothing
33 drop condition: no `scope` | routes [1] | ,"scope":{"any_of":["only"]} -> nothing
34 drop condition: no `all_of` | routes [1] | ll_of":[{"client":"c"},{"flow":"user","subject":"x"}],"a -> nothing
35 drop condition: no `any_of` | routes [1] | ny_of":[{"client":"c"},{"client":"d"}],"a -> nothing
36 drop condition: no `not` | routes [1] | not":{"organization":"{query.o}"}," -> nothing
28 drop condition: claim without `{"name":["a","b"],"one_of":[1,2]}` | routes [1] | name":["a","b"],"one_of":[1,2]},{" -> nothing
28 drop condition: claim without `{"contains":{"all_of":[1,2]},"name":"c"}` | routes [1] | ,{"contains":{"all_of":[1,2]},"name":"c"} -> nothing
28 drop value: claim without `1` | routes [1] | 1, -> nothing
28 drop value: claim without `2` | routes [1] | ,2 -> nothing
28 drop word: claim without `1` | routes [1] | 1, -> nothing
28 drop word: claim without `2` | routes [1] | ,2 -> nothing
28 all_of to any_of: `any_of` of claim | routes [1] | ll -> ny
29 drop value: acr without `one` | routes [1] | one"," -> nothing
29 drop value: acr without `two` | routes [1] | ,"two" -> nothing
30 drop value: dns without `a` | routes [1] | a"," -> nothing
30 drop value: dns without `b` | routes [1] | ,"b" -> nothing
31 drop value: query.a without `x` | routes [1] | x"," -> nothing
31 drop value: query.a without `y` | routes [1] | ,"y" -> nothing
32 drop value: network without `0.0.0.0/0` | routes [1] | 0.0.0.0/0"," -> nothing
32 drop value: network without `::/0` | routes [1] | ,"::/0" -> nothing
34 drop condition: all_of without `{"client":"c"}` | routes [1] | client":"c"},{" -> nothing
34 drop condition: all_of without `{"flow":"user","subject":"x"}` | routes [1] | ,{"flow":"user","subject":"x"} -> nothing
34 drop condition: no `subject` | routes [1] | ,"subject":"x" -> nothing
34 drop condition: no `flow` | routes [1] | flow":"user"," -> nothing
35 drop alternative: any_of without `{"client":"c"}` | routes [1] | c"},{"client":" -> nothing
35 drop alternative: any_of without `{"client":"d"}` | routes [1] | ,{"client":"d"} -> nothing
36 drop not: `{"organization":"{query.o}"}` | routes [1] | not":{"organization":"{query.o}"} -> organization":"{query.o}"
26 drop method: no GET | all | keys","require":{"all_of":[{"client":"c"},{"flow":"user",... -> nothing
27 bypass: `client_credentials: bypass` | routes [1] | nothing -> client_credentials":"bypass","
37 drop condition: no `client` | routes [2] | client":"c"," -> nothing
37 drop condition: no `all_of` | routes [2] | all_of":[{"subject":"s"}]," -> nothing
37 drop condition: no `not` | routes [2] | ,"not":{"client":"evil"} -> nothing
37 drop method: no GET | all | ,{"methods":["GET"],"path":"/no","require":{"all_of":[{"s... -> nothing
37 bypass: `client_credentials: bypass` | routes [2] | nothing -> client_credentials":"bypass","
12 swap requirements: `{"any_of":[{"scope":"c"},{"client":"d","scope":{"any_of":...` and `{"all_of":[{"client":"c"},{"flow":"user","subject":"x"}],...` | shape [0, 1] | ny_of":[{"scope":"c"},{"client":"d","scope":{"any_of":["s... -> ll_of":[{"client":"c"},{"flow":"user","subject":"x"}],"an...
27 swap requirements: `{"all_of":[{"client":"c"},{"flow":"user","subject":"x"}],...` and `{"all_of":[{"subject":"s"}],"client":"c","not":{"client":...` | shape [1, 2] | client":"c"},{"flow":"user","subject":"x"}],"any_of":[{"c... -> subject":"s"}],"client":"c","not":{"client":"evil"}}},{"m...
"#;

/// Requirements of one entry.
const SINGLE: &str = r"
version: 1
policy: a
hosts: [a.example.com]
upstream: a
issuers: [kusy, shoen]
require: {scope: {all_of: [a, b]}}
client_credentials: {bypass: [one, two], lift: [subject, permission]}
routes:
  - {path: /a, methods: [GET], require: {not: {client: c}}, mode: observe}
  - {path: /b, methods: [GET], require: {token: none}, client_credentials: deny}
  - {path: /c, methods: [GET], require: {any_of: [{client: c}, {permission: p}]}, client_credentials: deny}
  - {path: /d, methods: [GET], require: {all_of: [{network: [10.0.0.0/8]}, {client: c}]}}
";

const SINGLE_MUTANTS: &str = r#"
7 drop condition: no `scope` | all | equire":{"scope":{"all_of":["a","b"]}},"r -> nothing
7 drop word: scope without `a` | all | a"," -> nothing
7 drop word: scope without `b` | all | ,"b" -> nothing
7 all_of to any_of: `any_of` of scope | all | ll -> ny
6 drop value: issuers without `kusy` | all | kusy"," -> nothing
6 drop value: issuers without `shoen` | all | ,"shoen" -> nothing
3 observe: `mode: observe` | all | nothing -> mode":"observe","
10 drop condition: no `not` | routes [0] | {"not":{"client":"c"}} -> "authenticated"
10 drop not: `{"client":"c"}` | routes [0] | not":{"client":"c"} -> all_of":[{"client":"c"}]
10 drop method: no GET | all | methods":["GET"],"mode":"observe","path":"/a","require":{... -> nothing
10 bypass: `client_credentials: bypass` | routes [0] | nothing -> client_credentials":"bypass","
10 enforce: `client_credentials: enforce` | routes [0] | nothing -> client_credentials":"enforce","
10 drop value: bypass without `one` | routes [0] | nothing -> client_credentials":{"bypass":["two"],"lift":["subject","...
10 drop value: bypass without `two` | routes [0] | nothing -> client_credentials":{"bypass":["one"],"lift":["subject","...
10 drop lift: lift without `subject` | routes [0] | nothing -> client_credentials":{"bypass":["one","two"],"lift":["perm...
10 drop lift: lift without `permission` | routes [0] | nothing -> client_credentials":{"bypass":["one","two"],"lift":["subj...
10 drop lift: no `lift` | routes [0] | nothing -> client_credentials":{"bypass":["one","two"]},"
11 token: asks for a token | all | {"token":"none"} -> "authenticated"
11 drop method: no GET | all | b","require":{"token":"none"}},{"client_credentials":"den... -> nothing
11 observe: `mode: observe` | shape [1] | nothing -> mode":"observe","
12 drop condition: no `any_of` | routes [2] | {"any_of":[{"client":"c"},{"permission":"p"}]} -> "authenticated"
12 drop alternative: any_of without `{"client":"c"}` | routes [2] | client":"c"},{" -> nothing
12 drop alternative: any_of without `{"permission":"p"}` | routes [2] | ,{"permission":"p"} -> nothing
12 any_of to all_of: `all_of` | routes [2] | ny -> ll
12 drop method: no GET | all | client_credentials":"deny","methods":["GET"],"path":"/c",... -> nothing
12 bypass: `client_credentials: bypass` | routes [2] | deny -> bypass
12 enforce: `client_credentials: enforce` | routes [2] | deny -> enforce
12 observe: `mode: observe` | shape [2] | nothing -> mode":"observe","
13 drop condition: no `all_of` | routes [3] | {"all_of":[{"network":["10.0.0.0/8"]},{"client":"c"}]} -> "authenticated"
13 drop condition: all_of without `{"network":["10.0.0.0/8"]}` | routes [3] | network":["10.0.0.0/8"]},{" -> nothing
13 drop condition: all_of without `{"client":"c"}` | routes [3] | ,{"client":"c"} -> nothing
13 all_of to any_of: `any_of` | routes [3] | ll -> ny
13 widen network: any address | routes [3] | 10.0.0.0/8 -> 0.0.0.0/0","::/0
13 drop method: no GET | all | ,{"methods":["GET"],"path":"/d","require":{"all_of":[{"ne... -> nothing
13 bypass: `client_credentials: bypass` | routes [3] | nothing -> client_credentials":"bypass","
13 enforce: `client_credentials: enforce` | routes [3] | nothing -> client_credentials":"enforce","
13 drop value: bypass without `one` | routes [3] | nothing -> client_credentials":{"bypass":["two"],"lift":["subject","...
13 drop value: bypass without `two` | routes [3] | nothing -> client_credentials":{"bypass":["one"],"lift":["subject","...
13 drop lift: lift without `subject` | routes [3] | nothing -> client_credentials":{"bypass":["one","two"],"lift":["perm...
13 drop lift: lift without `permission` | routes [3] | nothing -> client_credentials":{"bypass":["one","two"],"lift":["subj...
13 drop lift: no `lift` | routes [3] | nothing -> client_credentials":{"bypass":["one","two"]},"
13 observe: `mode: observe` | shape [3] | nothing -> mode":"observe","
10 swap requirements: `{"not":{"client":"c"}}` and `{"token":"none"}` | shape [0, 1] | not":{"client":"c"}}},{"client_credentials":"deny","metho... -> token":"none"}},{"client_credentials":"deny","methods":["...
11 swap requirements: `{"token":"none"}` and `{"any_of":[{"client":"c"},{"permission":"p"}]}` | shape [1, 2] | token":"none"}},{"client_credentials":"deny","methods":["... -> any_of":[{"client":"c"},{"permission":"p"}]}},{"client_cr...
12 swap requirements: `{"any_of":[{"client":"c"},{"permission":"p"}]}` and `{"all_of":[{"network":["10.0.0.0/8"]},{"client":"c"}]}` | shape [2, 3] | ny_of":[{"client":"c"},{"permission":"p"}]}},{"methods":[... -> ll_of":[{"network":["10.0.0.0/8"]},{"client":"c"}]}},{"me...
"#;

/// No more than one can do without.
const LITTLE: &str = r"
version: 1
policy: a
hosts: [a.example.com]
upstream: a
issuers: [kusy, shoen]
require: authenticated
routes:
  - {path: /a, methods: [GET], require: {client: c}}
  - {path: /b, methods: [GET], require: {client: c}}
  - {path: /c, methods: [GET], require: {client: d}}
";

const LITTLE_MUTANTS: &str = r#"
6 drop value: issuers without `kusy` | all | kusy"," -> nothing
6 drop value: issuers without `shoen` | all | ,"shoen" -> nothing
3 observe: `mode: observe` | all | nothing -> mode":"observe","
9 drop condition: no `client` | routes [0] | {"client":"c"} -> "authenticated"
9 drop method: no GET | all | a","require":{"client":"c"}},{"methods":["GET"],"path":"/ -> nothing
9 bypass: `client_credentials: bypass` | routes [0] | nothing -> client_credentials":"bypass","
9 observe: `mode: observe` | shape [0] | nothing -> mode":"observe","
10 drop condition: no `client` | routes [1] | {"client":"c"} -> "authenticated"
10 drop method: no GET | all | b","require":{"client":"c"}},{"methods":["GET"],"path":"/ -> nothing
10 bypass: `client_credentials: bypass` | routes [1] | nothing -> client_credentials":"bypass","
10 observe: `mode: observe` | shape [1] | nothing -> mode":"observe","
11 drop condition: no `client` | routes [2] | {"client":"d"} -> "authenticated"
11 drop method: no GET | all | ,{"methods":["GET"],"path":"/c","require":{"client":"d"}} -> nothing
11 bypass: `client_credentials: bypass` | routes [2] | nothing -> client_credentials":"bypass","
11 observe: `mode: observe` | shape [2] | nothing -> mode":"observe","
10 swap requirements: `{"client":"c"}` and `{"client":"d"}` | shape [1, 2] | c"}},{"methods":["GET"],"path":"/c","require":{"client":"d -> d"}},{"methods":["GET"],"path":"/c","require":{"client":"c
"#;

#[test]
fn every_mutant_of_a_document_changes_what_it_says_and_nothing_else() {
    for (document, mutants) in
        [(AROUND, AROUND_MUTANTS), (CONDITIONS, CONDITIONS_MUTANTS), (SINGLE, SINGLE_MUTANTS), (LITTLE, LITTLE_MUTANTS)]
    {
        let (made, expected): (Vec<_>, Vec<_>) = (made(document), mutants.trim().lines().collect());
        for (made, expected) in made.iter().zip(&expected) {
            assert_eq!(made, expected);
        }
        assert_eq!(made.len(), expected.len());
    }
}

/// What is asked for is compared, in whatever order and however often it is written; what is written otherwise differs.
#[test]
fn policies_ask_the_same_where_every_route_asks_the_same_of_everybody() {
    let policies = |head: &str, routes: &[&str]| {
        let start = "version: 1\npolicy: a\nhosts: [a.example.com]\nupstream: a\n";
        let routes = routes.iter().zip(0..);
        let routes: Vec<_> =
            routes.map(|(route, at)| format!("  - {{path: /{at}, methods: [GET], {route}}}\n")).collect();
        compiled(&format!("{start}{head}routes:\n{}", routes.concat()))
    };
    let both = "issuers: [kusy, shoen]\n";
    let asks = |one: (&str, &[&str]), other: (&str, &[&str])| {
        let (one, other) = (policies(one.0, one.1), policies(other.0, other.1));
        assert!(asks_the_same(&one, &one) && asks_the_same(&other, &other));
        assert_eq!(asks_the_same(&one, &other), asks_the_same(&other, &one));
        asks_the_same(&one, &other)
    };
    let scoped = format!("{both}require: {{scope: a}}\n");
    let bypassed = format!("{both}client_credentials: {{bypass: [b], lift: [subject, permission]}}\n");
    for (one, other, same) in [
        ((both, "require: {scope: {all_of: [a, b]}}"), (both, "require: {scope: {all_of: [b, a]}}"), true),
        ((both, "require: {scope: {all_of: [a, b]}}"), (both, "require: {all_of: [{scope: b}, {scope: a}]}"), true),
        ((both, "require: {scope: {all_of: [a, b]}}"), (&scoped, "require: {scope: b}"), true),
        ((both, "require: {scope: {all_of: [a, b]}}"), (&scoped, "require: {scope: {all_of: [a, b]}}"), true),
        ((both, "require: {scope: {all_of: [a, b]}}"), (both, "require: {scope: {any_of: [a, b]}}"), false),
        ((both, "require: {scope: {all_of: [a, b]}}"), (both, "require: {scope: a}"), false),
        ((both, "require: authenticated"), (both, "require: {scope: a}"), false),
        ((both, "require: authenticated"), (both, "require: public"), false),
        ((both, "require: authenticated"), (both, "require: authenticated, mode: observe"), false),
        ((both, "require: authenticated"), ("issuers: [kusy]\n", "require: authenticated"), false),
        ((both, "require: {client: [c, d]}"), (both, "require: {client: [c]}"), false),
        ((both, "require: {permission: p}"), (&bypassed, "require: {permission: p}"), false),
        (
            (both, "require: {any_of: [{client: c}, {all_of: [{subject: s}, {flow: user}]}]}"),
            (both, "require: {any_of: [{all_of: [{flow: user}, {subject: s}]}, {client: c}]}"),
            true,
        ),
        (
            (both, "require: {any_of: [{client: c}, {all_of: [{subject: s}, {flow: user}]}]}"),
            (both, "require: {any_of: [{client: c}, {any_of: [{subject: s}, {flow: user}]}]}"),
            false,
        ),
        (
            (both, "require: {any_of: [{client: c}, {subject: s}]}"),
            (both, "require: {any_of: [{client: c}, {subject: t}]}"),
            false,
        ),
        ((both, "require: {not: {client: c}}"), (both, "require: {client: c}"), false),
        ((both, "require: {not: {client: c}}"), (both, "require: {not: {client: d}}"), false),
        ((both, "require: {claim: {x: {equals: 1}}}"), (both, "require: {claim: {y: {equals: 1}}}"), false),
        ((both, "require: {claim: {x: {equals: 1}}}"), (both, "require: {claim: {x: {equals: '1'}}}"), false),
    ] {
        assert_eq!(asks((one.0, &[one.1]), (other.0, &[other.1])), same, "{one:?} {other:?}");
        let beside = "require: public";
        assert_eq!(asks((one.0, &[beside, one.1]), (other.0, &[beside, other.1])), same, "{one:?} {other:?}");
    }
    assert!(!asks((both, &["require: public"]), (both, &["require: public", "require: public"])));
}
