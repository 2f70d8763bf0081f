use proptest::prelude::*;

use super::{Fault, read};

const SOAP_11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const SOAP_12: &str = "http://www.w3.org/2003/05/soap-envelope";

fn envelope(inside: &str) -> String {
    format!("<s:Envelope xmlns:s=\"{SOAP_11}\">{inside}</s:Envelope>")
}

fn operation(message: &str) -> Result<&str, Fault> {
    read(message.as_bytes()).map(|message| message.operation)
}

#[test]
fn the_operation_is_the_only_element_of_the_body() {
    for namespace in [SOAP_11, SOAP_12] {
        let message = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<!-- c -->\n<soap:Envelope xmlns:soap='{namespace}' \
             xmlns:o = \"urn:orders\" a:b='1' xmlns:a='urn:a'>\n <soap:Header><o:T><x/>t&amp;<![CDATA[<]]></o:T></soap:Header>\n \
             <soap:Body ><o:GetOrder id=\"1\"><id>47&#x31;1</id><nil/></o:GetOrder> <!-- d --></soap:Body>\n</soap:Envelope>\n"
        );
        assert_eq!(operation(&message), Ok("GetOrder"), "{message}");
    }
    let plain = format!("<Envelope xmlns='{SOAP_12}'><Body><Getränk xmlns=''/></Body></Envelope>");
    assert_eq!(operation(&plain), Ok("Getränk"));
    assert_eq!(operation(&envelope("<s:Body><Get/></s:Body>")), Ok("Get"));
}

#[test]
fn anything_else_in_or_around_envelope_and_body_is_refused() {
    for (inside, fault) in [
        ("<s:Body/>", Fault::NotOneOperation),
        ("<s:Body> </s:Body>", Fault::NotOneOperation),
        ("<s:Body><A/><B/></s:Body>", Fault::NotOneOperation),
        ("<s:Body>x<A/></s:Body>", Fault::NoEnvelope),
        ("<s:Body><A/><![CDATA[ ]]></s:Body>", Fault::NoEnvelope),
        ("", Fault::NoEnvelope),
        ("<s:Header/>", Fault::NoEnvelope),
        ("<s:Body><A/></s:Body><s:Body><B/></s:Body>", Fault::NoEnvelope),
        ("<s:Body><A/></s:Body><x/>", Fault::NoEnvelope),
        ("<s:Header/><s:Header/><s:Body><A/></s:Body>", Fault::NoEnvelope),
        ("<s:Body><A/></s:Body><s:Header/>", Fault::NoEnvelope),
        ("<s:body><A/></s:body>", Fault::NoEnvelope),
        ("<Body><A/></Body>", Fault::NoEnvelope),
        ("<s:Body xmlns:s='urn:x'><A/></s:Body>", Fault::NoEnvelope),
        ("<s:Body><o:A/></s:Body>", Fault::Malformed),
        ("<t:Body><A/></t:Body>", Fault::Malformed),
    ] {
        assert_eq!(operation(&envelope(inside)), Err(fault), "{inside}");
    }
    assert_eq!(operation("<Envelope><Body><A/></Body></Envelope>"), Err(Fault::NoEnvelope));
    assert_eq!(operation("<s:Envelope xmlns:s='urn:x'><s:Body><A/></s:Body></s:Envelope>"), Err(Fault::NoEnvelope));
    assert_eq!(
        operation(&format!("<s:Message xmlns:s='{SOAP_11}'><s:Body><A/></s:Body></s:Message>")),
        Err(Fault::NoEnvelope)
    );
}

#[test]
fn what_is_not_well_formed_is_refused() {
    for inside in [
        "<A>",
        "</A>",
        "<A></B>",
        "<A",
        "<A/ >",
        "<A b/>",
        "<A b=1/>",
        "<A b='1' b='2'/>",
        "<A b='1'c='2'/>",
        "<A b='<'/>",
        "<A>&nbsp;</A>",
        "<A>&</A>",
        "<A>&#0;</A>",
        "<A>&#xD800;</A>",
        "<A>&#+65;</A>",
        "<A>&#x;</A>",
        "<A b='&x;'/>",
        "<A>]]></A>",
        "<A><!-- a -- b --></A>",
        "<A><!-- a ---></A>",
        "<A><?php x?></A>",
        "<1/>",
        "<:A/>",
        "<a:b:c/>",
        "<a:/>",
        "<a:1/>",
        "<A><![CDATA[x]]</A>",
        "<!A/>",
        "< A/>",
        "<A\u{b}/>",
        "<A>\u{1}</A>",
        "<A>\u{ffff}</A>",
        "<A xmlns:x=''/>",
        "<A xmlns:xml='urn:x'/>",
        "<A xmlns='&amp;'/>",
    ] {
        let message = envelope(&format!("<s:Body>{inside}</s:Body>"));
        let refused = operation(&message);
        assert!(matches!(refused, Err(Fault::Malformed | Fault::NotOneOperation)), "{inside}: {refused:?}");
    }
    let good = envelope("<s:Body><A/></s:Body>");
    for (before, behind) in [
        ("<!DOCTYPE a>", ""),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]>", ""),
        ("<?pi?>", ""),
        ("", "<?pi?>"),
        ("x", ""),
        ("", "x"),
        ("", "<a/>"),
        (" <?xml version='1.0'?>", ""),
        ("<?xml version='1.0'?><?xml version='1.0'?>", ""),
        ("<?xml version='1.1'?>", ""),
        ("<?xml?>", ""),
        ("<?xml encoding='utf-8' version='1.0'?>", ""),
        ("<?xml version='1.0' version='1.0'?>", ""),
        ("<?xml version='1.0' x='1'?>", ""),
        ("<?xmlversion='1.0'?>", ""),
        ("<![CDATA[]]>", ""),
    ] {
        assert_eq!(operation(&format!("{before}{good}{behind}")), Err(Fault::Malformed), "{before} {behind}");
    }
    assert_eq!(operation(""), Err(Fault::Malformed));
    assert_eq!(operation(&format!("\u{feff}{good}")), Err(Fault::NotUtf8));
    assert_eq!(operation(&format!("<?xml version='1.0' encoding='latin1'?>{good}")), Err(Fault::NotUtf8));
    assert_eq!(read(b"<a>\xff</a>"), Err(Fault::NotUtf8));
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(read(&utf16).is_err());
}

#[test]
fn elements_inside_of_each_other_end_at_64() {
    let deep = |levels: usize| envelope(&format!("<s:Body>{}{}</s:Body>", "<A>".repeat(levels), "</A>".repeat(levels)));
    assert_eq!(operation(&deep(62)), Ok("A"));
    assert_eq!(operation(&deep(63)), Err(Fault::TooDeep));
    assert_eq!(operation(&"<A>".repeat(100_000)), Err(Fault::NoEnvelope));
}

#[test]
fn an_action_agrees_with_its_last_part() {
    let message = envelope("<s:Body><Get/></s:Body>");
    let message = read(message.as_bytes()).unwrap();
    for action in ["", "\"\"", "Get", "\"Get\"", "urn:x#Get", "\"http://x/y/Get\"", "urn:Get"] {
        assert!(message.agrees_with(action), "{action}");
    }
    for action in ["get", "\"Delete\"", "http://x/Get/", "Get\"", " ", "http://x/GetOrder", "x.Get"] {
        assert!(!message.agrees_with(action), "{action}");
    }
}

#[test]
fn a_header_named_action_has_to_agree_too() {
    let with = |action: &str| {
        envelope(&format!("<s:Header><w:Action xmlns:w='urn:w'>{action}</w:Action></s:Header><s:Body><Get/></s:Body>"))
    };
    for action in ["urn:Get", " http://x/Get\n", "http://x/P/GetRequest", "urn:<![CDATA[Get]]>", "urn&#58;G&#x65;t"] {
        assert!(read(with(action).as_bytes()).unwrap().agrees_with_itself(), "{action}");
    }
    for action in ["urn:Delete", "", "urn:GetResponse", "urn:Get&#47;Delete"] {
        assert!(!read(with(action).as_bytes()).unwrap().agrees_with_itself(), "{action}");
    }
    assert_eq!(read(with("urn:<b/>Get").as_bytes()), Err(Fault::Malformed));
    assert!(read(envelope("<s:Body><Get><Action>x</Action></Get></s:Body>").as_bytes()).unwrap().agrees_with_itself());
}

proptest! {
    #[test]
    fn whatever_stands_in_a_message_it_is_read_or_refused(inside in "(<|>|/|s:|Body|Header|A|B| |='x'|&amp;|&|<!--|-->|]]>|<!\\[CDATA\\[|é){0,24}") {
        if let Ok(message) = read(envelope(&inside).as_bytes()) {
            let named = ["<", ":"].map(|before| format!("{before}{}", message.operation));
            prop_assert!(named.iter().any(|name| inside.contains(name)));
        }
    }

    #[test]
    fn whatever_stands_in_an_operation_it_is_not_taken_for_another(inside in "(<|>|/|s:|Body|A|B| |='x'|&|<!--|-->|]]>|<!\\[CDATA\\[){0,16}") {
        let message = envelope(&format!("<s:Body><Get>{inside}</Get></s:Body>"));
        if let Ok(read) = read(message.as_bytes()) {
            prop_assert_eq!(read.operation, "Get");
        }
    }
}
