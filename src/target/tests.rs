mod properties;

use super::*;

fn parse(text: &str) -> Result<Target<'_>, TargetError> {
    Target::parse(text, PathRules::default())
}

fn path(text: &str) -> String {
    parse(text).unwrap().path().to_owned()
}

#[test]
fn a_canonical_path_is_neither_changed_nor_copied() {
    for text in ["/", "/a/b", "/a/", "/Customers('4711')", "/a;b=c/d", "/a+b/:x@y/!$&*,="] {
        let target = parse(text).unwrap();
        assert_eq!(target.path(), text);
        assert!(matches!(target.path, Cow::Borrowed(_)), "{text}");
        assert!(target.decoded.is_none());
    }
}

#[test]
fn unreserved_characters_are_decoded_and_others_upper_cased() {
    assert_eq!(path("/%61%5a%2d%7E%5f%39"), "/aZ-~_9");
    assert_eq!(path("/a%2fb%5c%3b%c3%a4%27"), "/a%2Fb%5C%3B%C3%A4%27");
    assert_eq!(path("/%2561"), "/%2561");
}

#[test]
fn raw_characters_that_a_path_may_not_hold_are_encoded() {
    assert_eq!(path("/\"<>[]^`{|} "), "/%22%3C%3E%5B%5D%5E%60%7B%7C%7D%20");
}

#[test]
fn runs_of_slashes_are_merged_kept_or_refused() {
    let rules = |empty_segments| PathRules { empty_segments, ..PathRules::default() };
    assert_eq!(path("//a///b//"), "/a/b/");
    assert_eq!(Target::parse("//a//b", rules(EmptySegments::Keep)).unwrap().path(), "//a//b");
    assert_eq!(Target::parse("//a", rules(EmptySegments::Refuse)), Err(TargetError::EmptySegment));
    assert_eq!(Target::parse("/a/", rules(EmptySegments::Refuse)).unwrap().path(), "/a/");
}

#[test]
fn what_servers_read_differently_is_refused() {
    for (text, error) in [
        ("", TargetError::NotAbsolute),
        ("*", TargetError::NotAbsolute),
        ("a/b", TargetError::NotAbsolute),
        ("http://a/b", TargetError::NotAbsolute),
        ("/.", TargetError::DotSegment),
        ("/..", TargetError::DotSegment),
        ("/a/./b", TargetError::DotSegment),
        ("/a/../b", TargetError::DotSegment),
        ("/a/%2e%2E/b", TargetError::DotSegment),
        ("/a/.%2e", TargetError::DotSegment),
        ("/a//../b", TargetError::DotSegment),
        ("/a\\b", TargetError::Backslash),
        ("/%00", TargetError::Control),
        ("/%0a", TargetError::Control),
        ("/%7F", TargetError::Control),
        ("/%C2%85", TargetError::Control),
        ("/a\tb", TargetError::Control),
        ("/a\u{7f}", TargetError::Control),
        ("/%", TargetError::Escape),
        ("/%4", TargetError::Escape),
        ("/%4g", TargetError::Escape),
        ("/%%41", TargetError::Escape),
        ("/%u0041", TargetError::UnicodeEscape),
        ("/%U0041", TargetError::UnicodeEscape),
        ("/a#b", TargetError::Fragment),
        ("/a?b#c", TargetError::Fragment),
        ("/\u{e4}", TargetError::NonAscii),
        ("/%ff", TargetError::Charset),
        ("/%c0%af", TargetError::Charset),
        ("/%ed%a0%80", TargetError::Charset),
        ("/%c3/%a4", TargetError::Charset),
        ("/a?b c", TargetError::QueryCharacter),
        ("/a?\n", TargetError::QueryCharacter),
        ("/a?\u{e4}", TargetError::NonAscii),
    ] {
        assert_eq!(parse(text).map(|target| target.path().to_owned()), Err(error), "{text}");
    }
}

#[test]
fn segments_that_only_begin_like_dot_segments_pass() {
    for text in ["/...", "/.a", "/a..", "/..a/b", "/a?/../b"] {
        assert!(parse(text).is_ok(), "{text}");
    }
}

#[test]
fn latin_1_takes_any_byte_as_a_character() {
    let rules = PathRules { charset: Charset::Latin1, ..PathRules::default() };
    let target = Target::parse("/%e4%80", rules).unwrap();
    assert_eq!(target.path(), "/%E4%80");
    assert_eq!(target.segments().collect::<Vec<_>>(), ["\u{e4}\u{80}"]);
    assert_eq!(Target::parse("/%0a", rules), Err(TargetError::Control));
}

#[test]
fn segments_are_decoded_but_for_slashes_and_semicolons() {
    let target = parse("/Customers(%274711%27)/a%2fb%5c%3b;%c3%a4/5%3Acancel/").unwrap();
    assert_eq!(target.segments().collect::<Vec<_>>(), ["Customers('4711')", "a%2Fb%5C%3B;\u{e4}", "5:cancel", ""]);
    assert_eq!(parse("/").unwrap().segments().collect::<Vec<_>>(), [""]);
    assert_eq!(parse("/%252F").unwrap().segments().collect::<Vec<_>>(), ["%2F"]);
}

#[test]
fn the_query_is_left_as_it_is() {
    assert_eq!(parse("/a?b=%zz?&%00").unwrap().query(), Some("b=%zz?&%00"));
    assert_eq!(parse("/a?").unwrap().query(), Some(""));
    assert_eq!(parse("/a").unwrap().query(), None);
}

#[test]
fn absolute_form_is_split_rfc_9112_section_3_2_2() {
    let split = |text| split_absolute(text).map(|(_, authority, path)| (authority.to_owned(), path.into_owned()));
    assert_eq!(split("http://a:80/b?c"), Some(("a:80".into(), "/b?c".into())));
    assert_eq!(split("HTTPS://a"), Some(("a".into(), "/".into())));
    assert_eq!(split("http://a?b"), Some(("a".into(), "/?b".into())));
    assert_eq!(split("http://a#b").map(|(_, path)| parse(&path).is_err()), Some(true));
    assert_eq!(split("ftp://a/b"), None);
    assert_eq!(split("/http://a"), None);
}
