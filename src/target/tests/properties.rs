//! The canonicaliser against a slow, obvious one, and the property of one view: what is forwarded is what was matched.

#![expect(clippy::string_slice, reason = "positions are counted in the same text")]

use proptest::prelude::*;

use super::super::*;

/// Canonical path and decoded segments, one rule of http.md after the other over the whole path.
fn model(path: &str, rules: PathRules) -> Option<(String, Vec<String>)> {
    if !path.starts_with('/') {
        return None;
    }
    // Raw characters first.
    if path.contains(['\\', '#']) || path.chars().any(|letter| letter.is_ascii_control() || !letter.is_ascii()) {
        return None;
    }
    let mut path: String =
        path.chars()
            .map(|letter| {
                if "\"<>[]^`{|} ".contains(letter) { format!("%{:02X}", u32::from(letter)) } else { letter.to_string() }
            })
            .collect();
    // Then escapes, from the left.
    let mut read = String::new();
    while let Some((before, after)) = path.split_once('%') {
        read += before;
        let digits: String = after.chars().take(2).collect();
        if digits.len() != 2 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(&digits, 16).ok()?;
        if byte < 0x20 || byte == 0x7f {
            return None;
        }
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            read.push(char::from(byte));
        } else {
            read.extend(format!("%{byte:02X}").chars());
        }
        path = after[2..].to_owned();
    }
    read += &path;
    // Then runs.
    if read.contains("//") && rules.empty_segments == EmptySegments::Refuse {
        return None;
    }
    while rules.empty_segments == EmptySegments::Merge && read.contains("//") {
        read = read.replace("//", "/");
    }
    let segments: Vec<&str> = read.split('/').skip(1).collect();
    if segments.iter().any(|segment| [".", ".."].contains(segment)) {
        return None;
    }
    let decoded = segments.iter().map(|segment| decoded(segment, rules.charset)).collect::<Option<_>>()?;
    Some((read, decoded))
}

fn decoded(segment: &str, charset: Charset) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = segment;
    while let Some(letter) = rest.chars().next() {
        let kept = ["%2F", "%5C", "%3B"].iter().any(|kept| rest.starts_with(kept));
        if letter == '%' && !kept {
            bytes.push(u8::from_str_radix(&rest[1..3], 16).ok()?);
            rest = &rest[3..];
        } else {
            bytes.push(u8::try_from(letter).ok()?);
            rest = &rest[1..];
        }
    }
    let text = match charset {
        Charset::Latin1 => bytes.into_iter().map(char::from).collect(),
        Charset::Utf8 => String::from_utf8(bytes).ok()?,
    };
    (charset == Charset::Latin1 || !text.chars().any(char::is_control)).then_some(text)
}

fn rules() -> impl Strategy<Value = PathRules> {
    let runs = prop_oneof![Just(EmptySegments::Merge), Just(EmptySegments::Keep), Just(EmptySegments::Refuse)];
    let charset = prop_oneof![2 => Just(Charset::Utf8), 1 => Just(Charset::Latin1)];
    (runs, charset).prop_map(|(empty_segments, charset)| PathRules { empty_segments, charset })
}

/// Paths of pieces that matter, so that most are nearly right.
fn path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => proptest::sample::select(&["/", "a", "B", ".", "%2e", "%2F", "%5c", "%3b", "%25", "%41", "~", "//"][..]).prop_map(str::to_owned),
        3 => proptest::sample::select(&["%c3%a4", "%C3", "%e4", " ", "\"", "{", "[", "|", "^", "'", "(", ";", ":", "@", "+"][..]).prop_map(str::to_owned),
        1 => proptest::sample::select(&["\\", "#", "%", "%4", "%u0041", "%00", "%7f", "%c2%85", "\u{e4}", "\t", "%g1"][..]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => any::<u8>().prop_map(|byte| format!("%{byte:02x}")),
    ];
    proptest::collection::vec(piece, 0..10).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn the_canonical_path_is_that_of_the_model(path in path(), rules in rules()) {
        let path = path.replace('?', "q");
        let found = Target::parse(&path, rules).ok().map(|target| {
            (target.path().to_owned(), target.segments().map(Cow::into_owned).collect::<Vec<_>>())
        });
        prop_assert_eq!(found, model(&path, rules));
    }

    #[test]
    fn what_is_noted_while_reading_is_what_the_text_says(path in path(), rules in rules()) {
        let path = path.replace('?', "q");
        if let Ok(target) = Target::parse(&path, rules) {
            let text = target.text();
            prop_assert_eq!(target.marks().unfolded, fold::fold_text(text) != text);
            let drops = text.split('/').any(|segment| segment.ends_with(['.', ' ']));
            prop_assert_eq!(target.marks().special, drops || text.contains(['\u{1}', '\u{2}', '\u{3}', ';', '%']));
            prop_assert!(target.sent_text().is_none_or(|sent| sent == text && sent == path));
        }
    }

    #[test]
    fn what_is_forwarded_reads_as_what_was_matched(path in path(), rules in rules()) {
        if let Ok(target) = Target::parse(&path, rules) {
            let again = Target::parse(target.path(), rules);
            let again = again.map_err(|error| TestCaseError::fail(format!("{error}: {}", target.path())))?;
            prop_assert_eq!(again.path(), target.path());
            prop_assert_eq!(again.segments().collect::<Vec<_>>(), target.segments().collect::<Vec<_>>());
            // Nothing that a server could take for the end of the path or line is left in it.
            let is_sendable = |byte: u8| byte.is_ascii_graphic() && !b"?#\\\"<>^`{|}".contains(&byte);
            prop_assert!(target.path().bytes().all(is_sendable), "{}", target.path());
        }
    }

    #[test]
    fn an_authority_is_canonical_after_one_reading(text in "[-a-zA-Z0-9_.:@\\[\\]% /]{0,24}") {
        if let Ok(authority) = Authority::parse(&text, Scheme::Https) {
            prop_assert_eq!(Authority::parse(authority.as_str(), Scheme::Https), Ok(authority.clone()));
            prop_assert!(!authority.host().is_empty() && !authority.host().bytes().any(|byte| byte.is_ascii_uppercase()));
        }
    }

    #[test]
    fn names_that_php_or_asp_would_merge_fold_alike(name in "[a-z_]{1,8}", tail in "(\\[[a-z]*\\])?") {
        let folded = query::fold_name(&name);
        for spelling in [name.to_uppercase(), name.replace('_', "."), name.replace('_', "%20"), format!("{name}%00x")] {
            let inner_space_only = spelling.starts_with("%20") || spelling.ends_with("%20");
            if !inner_space_only {
                prop_assert_eq!(query::fold_name(&(spelling.clone() + &tail)), folded.clone(), "{}", spelling);
                prop_assert!(query::name_folds_to(&(spelling.clone() + &tail), &folded), "{}", spelling);
            }
        }
    }
}
