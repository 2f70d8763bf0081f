//! Random bodies, and what headers say of them.

use super::super::dice::Dice;
use super::BodyKind;
use super::requests::query;

const PARAMETERS_OF_FORMS: [&str; 5] = ["f", "f", "q", "org_uid", "ids[]"];
const FORM: &str = "application/x-www-form-urlencoded";

/// The body of a request whose route asks about this kind. Adds headers.
pub(crate) fn body(
    dice: &mut Dice,
    wanted: Option<BodyKind>,
    texts: &[&str],
    headers: &mut Vec<(String, Vec<u8>)>,
) -> Option<Vec<u8>> {
    if dice.chance(if wanted.is_some() { 7 } else { 80 }) {
        return None;
    }
    let kinds = [BodyKind::Json, BodyKind::Form, BodyKind::Form, BodyKind::Soap];
    let kind = wanted.filter(|_| !dice.chance(3)).unwrap_or_else(|| dice.pick(&kinds));
    let (media, body) = match kind {
        BodyKind::Json => {
            let media = dice.pick(&["application/json", "application/json", "application/vnd.a+json"]);
            (media.to_owned(), json(dice, texts))
        }
        BodyKind::Form => {
            let more = dice.pick(&["", "", "", "", "&F=1", "&f[]=a", "&q=a", "&x=1;f=a", "&_method=PUT"]);
            (FORM.to_owned(), query(dice, &PARAMETERS_OF_FORMS, texts).unwrap_or_default() + more)
        }
        BodyKind::Soap => soap(dice, headers),
    };
    describe(dice, &media, headers);
    let mut body = body.into_bytes();
    match dice.roll(60) {
        0 => body.clear(),
        1 => body.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
        2 => body.push(0xff),
        3 => body.truncate(body.len() / 2),
        4 => body.extend(dice.pick(&["x", " ", "\n", "\0", "{}", "&x=1", "<x/>"]).bytes()),
        5 => body.extend([b' '; 120]),
        _ => {}
    }
    Some(body)
}

fn describe(dice: &mut Dice, media: &str, headers: &mut Vec<(String, Vec<u8>)>) {
    let odd =
        ["text/plain", "multipart/form-data; boundary=x", FORM, "application/json", "text/xml", "multipart/mixed"];
    let line = match dice.roll(30) {
        0 => None,
        1..=3 => Some(dice.pick(&odd).to_owned()),
        4 => Some(format!("{media}; charset=utf-8")),
        5 => Some(format!("{media}; charset=\"UTF-8\"")),
        6 => Some(format!("{media};charset=iso-8859-1")),
        7 => Some(media.to_uppercase()),
        _ => Some(media.to_owned()),
    };
    headers.extend(line.map(|line| ("Content-Type".to_owned(), line.into_bytes())));
    match dice.roll(60) {
        0 => headers.push(("Content-Encoding".to_owned(), dice.pick(&["gzip", "identity"]).into())),
        1 => headers.push(("Content-Type".to_owned(), dice.pick(&odd).into())),
        2 => headers.push((dice.pick(&["Content_Type", "Content.Encoding"]).to_owned(), dice.pick(&odd).into())),
        _ => {}
    }
}

/// A JSON value inside of a parameter, percent-encoded.
pub(crate) fn inside(dice: &mut Dice, texts: &[&str]) -> String {
    let org = scalar(dice, texts);
    let ids: Vec<_> = (0..dice.roll(3)).map(|_| scalar(dice, texts)).collect();
    let text = match dice.roll(16) {
        0 => "{".to_owned(),
        1 => format!("{{\"org\":{org},\"Org\":1}}"),
        2 => format!("{{\"org\":{org},\"org\":{org}}}"),
        3 => org,
        4 => format!("{{\"ids\":{org}}}"),
        _ => format!("{{\"org\":{org},\"ids\":[{}]}}", ids.join(",")),
    };
    let encoded = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-,:".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(encoded).collect()
}

fn scalar(dice: &mut Dice, texts: &[&str]) -> String {
    let odd = [
        "null",
        "true",
        "1",
        "-0",
        "0",
        "1.0",
        "1e0",
        "1E400",
        "-1",
        "01",
        "99999999999999999999",
        "{}",
        "[]",
        "\"\"",
        "[\"a\"]",
        "\"\\u0061\"",
        "\"\\uD83D\\uDE00\"",
        "\"\\ud800\"",
        "\"a\\/b\"",
        "\"\u{e4}\"",
        "\"\t\"",
        "'a'",
        "NaN",
    ];
    let text = dice.pick(texts);
    match dice.roll(12) {
        0 => dice.pick(&odd).to_owned(),
        _ if text == "1" && dice.chance(50) => text.to_owned(),
        _ => format!("\"{text}\""),
    }
}

/// An object with what templates name.
fn json(dice: &mut Dice, texts: &[&str]) -> String {
    let list = |dice: &mut Dice, one: &dyn Fn(&mut Dice) -> String| {
        let items: Vec<_> = (0..dice.pick(&[0, 1, 1, 2, 3])).map(|_| one(dice)).collect();
        format!("[{}]", items.join(","))
    };
    let scalar = |dice: &mut Dice| scalar(dice, texts);
    let element = |dice: &mut Dice| match dice.roll(20) {
        0 => "{}".to_owned(),
        1 => scalar(dice),
        2 => format!("{{\"oRg\":{}}}", scalar(dice)),
        _ => format!("{{\"x\":1,\"org\":{}}}", scalar(dice)),
    };
    let mut entries = Vec::new();
    if dice.chance(92) {
        entries.push(format!("\"{}\":{}", dice.pick(&["org", "org", "org", "\\u006frg"]), scalar(dice)));
    }
    if dice.chance(85) {
        let items = if dice.chance(94) { list(dice, &element) } else { element(dice) };
        entries.push(format!("\"items\": {items}"));
    }
    if dice.chance(85) {
        entries.push(format!("\"n\" :{}", scalar(dice)));
    }
    if dice.chance(85) {
        let list = if dice.chance(90) { list(dice, &scalar) } else { format!("{{\"0\":{}}}", scalar(dice)) };
        entries.push(format!("\"a\":{list}"));
    }
    if dice.chance(85) {
        entries.push(format!("\"m\":{}", list(dice, &|dice| list(dice, &scalar))));
    }
    let deep = dice.roll(4) + 61;
    let odd = [
        "\"Org\":1",
        "\"org\":1",
        "\"ITEMS\":[]",
        "\"org\\u0000\":1",
        "\"org \":1",
        "\"other\":{\"Org\":1}",
        "\"x\":1,\"x\":1",
        "\"x\":[{\"y\":1,\"y\":2}]",
        "\"A\":1",
        "\"\\u212a\":1",
        "/*c*/",
        "",
    ];
    match dice.roll(16) {
        0 => entries.push(dice.pick(&odd).to_owned()),
        1 => entries.push(format!("\"deep\":{}{}", "[".repeat(deep), "]".repeat(deep))),
        2 => return dice.pick(&["[]", "\"a\"", "null", " {} ", "[{\"org\":\"a\"}]", "1"]).to_owned(),
        _ => {}
    }
    format!("{{{}}}", entries.join(","))
}

/// What else says which operation a message is for.
fn action(dice: &mut Dice, operation: &str, other: &str) -> String {
    match dice.roll(6) {
        0 => other.to_owned(),
        1 => format!("urn:o/{operation}"),
        2 => format!("\"http://example.com/o#{operation}\""),
        3 => format!("urn:o:{operation}"),
        4 => dice.pick(&["", "\"\"", "urn:o/", "\"a"]).to_owned(),
        _ => format!("\"{operation}\""),
    }
}

/// A message with its type; headers may name its operation, too.
fn soap(dice: &mut Dice, headers: &mut Vec<(String, Vec<u8>)>) -> (String, String) {
    let operation = dice.pick(&["a", "A", "b"]);
    let other = dice.pick(&["a", "b"]);
    let (media, namespace) = dice.pick(&[
        ("text/xml", "http://schemas.xmlsoap.org/soap/envelope/"),
        ("application/soap+xml", "http://www.w3.org/2003/05/soap-envelope"),
    ]);
    let mut media = media.to_owned();
    if dice.chance(40) {
        headers.push(("SOAPAction".to_owned(), action(dice, operation, other).into_bytes()));
    }
    if dice.chance(3) {
        let name = dice.pick(&["SOAPAction", "SOAP_Action", "soap-action"]);
        headers.push((name.to_owned(), action(dice, operation, other).into_bytes()));
    }
    if dice.chance(15) {
        media += &format!("; action=\"urn:o/{}\"", dice.pick(&[operation, other]));
    }
    let prefix = dice.pick(&["s", "s", "e"]);
    let inner = dice.pick(&["", "text", "<id>1</id>", "<!-- b --><b x=\"1\"/>", "<o:b xmlns:o=\"urn:o\">&amp;</o:b>"]);
    let one = match dice.roll(4) {
        0 => format!("<{operation}/>"),
        1 => format!("<o:{operation} xmlns:o=\"urn:o\">{inner}</o:{operation}>"),
        2 => format!("<{operation} xmlns=\"urn:o\" a=\"/\">{inner}</{operation} >"),
        _ => format!("<{operation}>{inner}</{operation}>"),
    };
    let header = match dice.roll(8) {
        0 => format!("<{prefix}:Header/>"),
        1 => format!(
            "<{prefix}:Header><w:Action xmlns:w=\"http://www.w3.org/2005/08/addressing\">urn:o/{other}</w:Action></{prefix}:Header>"
        ),
        2 => format!("<{prefix}:Header>\n<t>1</t></{prefix}:Header>"),
        _ => String::new(),
    };
    let body = match dice.roll(30) {
        0 => format!("{one}<{other}/>"),
        1 => String::new(),
        2 => format!("<!-- {other} -->{one}"),
        6 => format!("text{one}"),
        3 => format!("<o:{operation}/>"),
        4 => format!("<{operation}>"),
        5 => format!("<?x y?>{one}"),
        _ => one,
    };
    let body = format!("<{prefix}:Body>{body}</{prefix}:Body>");
    let bodies = match dice.roll(30) {
        0 => format!("{body}{body}"),
        1 => format!("<Body><{other}/></Body>{body}"),
        2 => format!("<x>{body}</x>"),
        3 => format!("<x/>{body}"),
        4 => format!("{body}<x/>"),
        5 => format!("{body}<{prefix}:Header/>"),
        6 => format!("text{body}"),
        _ => body,
    };
    let start = dice.pick(&[
        "",
        "",
        "",
        "<?xml version=\"1.0\"?>",
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n",
        "<!-- c -->",
        "\n",
    ]);
    let start = if dice.chance(3) { "<!DOCTYPE a>" } else { start };
    let namespace = if dice.chance(97) { namespace } else { "urn:x" };
    let text = format!("{start}<{prefix}:Envelope xmlns:{prefix}=\"{namespace}\">{header}{bodies}</{prefix}:Envelope>");
    (media, text)
}
