use super::*;

fn regex(written: &str) -> ValueType {
    ValueType::regex(written).unwrap()
}

fn none() -> [&'static BTreeSet<String>; 2] {
    const NONE: &BTreeSet<String> = &BTreeSet::new();
    [NONE; 2]
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Texts of `a` and `b`, the shortest first and those of one length as in a dictionary.
fn enumerated(longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..longest {
        last = last.iter().flat_map(|text| [format!("{text}a"), format!("{text}b")]).collect();
        all.extend(last.clone());
    }
    all.retain(|text| !text.is_empty());
    all
}

/// No usual text fits any of these, and what does fit one consists of `a` and `b`: the shortest ones are known by
/// enumeration.
#[test]
fn texts_of_every_combination_are_the_shortest_there_are() {
    let kinds = ["a+", "a{2}|b", "[ab]{3}", "(?:ab)*a?", "b.{0}a*|aab", "aaa|b"].map(regex);
    let all = enumerated(7);
    for (at, one) in kinds.iter().enumerate() {
        for other in kinds.iter().skip(at + 1) {
            for (wanted, avoided) in [(1, &[][..]), (2, &["b", "ab"]), (3, &["a", "aa", "aaa", "aaaa", "baa"])] {
                let (avoided, other_avoided) = (set(avoided), set(&["ba"]));
                let avoid = [&avoided, &other_avoided];
                let found = texts(&[one, other], wanted, avoid);
                assert_eq!(found.gap, None);
                for cell in [(true, true), (true, false), (false, true)] {
                    let fits = |text: &&String| (one.fits(text), other.fits(text)) == cell;
                    let known = |text: &&String| !avoid.iter().any(|avoided| avoided.contains(*text));
                    let expected: Vec<_> = all.iter().filter(fits).filter(known).take(wanted).collect();
                    let texts: Vec<_> = found.texts.iter().filter(fits).collect();
                    assert_eq!(texts, expected, "{one:?} {other:?} {cell:?} {avoid:?}");
                }
            }
        }
    }
}

#[test]
fn usual_texts_come_first_and_searched_ones_where_they_do_not_suffice() {
    let found = |kinds: &[&ValueType], wanted| texts(kinds, wanted, none()).texts;
    assert_eq!(found(&[], 2), ["a1", "b2"]);
    assert_eq!(found(&[&ValueType::Int], 1), ["a1", "4711"]);
    assert_eq!(found(&[&ValueType::Int], 4), ["a1", "b2", "c3", "d4", "4711", "4712", "-5", "0", "1", "2", "3"]);
    // Numbers are slugs unless they are negative, and no slug has an underscore.
    assert_eq!(found(&[&ValueType::Int, &ValueType::Slug], 1), ["a1", "4711", "-5", "x_1"]);
    // The first alone, the second alone, both.
    assert_eq!(found(&[&regex("!|!!"), &regex("!!|!!!")], 1), ["a1", "!", "!!!", "!!"]);
    // `/` is in no segment of a path without a second thought, and a control character in no text.
    assert_eq!(found(&[&regex("[\\n/]+")], 1), ["a1", "/"]);
    assert_eq!(found(&[&regex("\\n")], 1), ["a1"]);
}

#[test]
fn texts_to_avoid_are_not_found() {
    let kind = regex("x|y|zz");
    let found = texts(&[&kind], 3, [&set(&["x", "a1"]), &set(&["c3"])]);
    assert_eq!(found.texts, ["b2", "d4", "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111", "y", "zz"]);
}

/// What a policy names may be all but one of the texts that fit.
#[test]
fn a_text_is_found_beside_any_number_that_are_to_be_avoided() {
    let letters: Vec<String> = ('a'..='y').map(String::from).collect();
    let avoided = letters.iter().cloned().collect();
    let kind = regex("[a-z]");
    assert_eq!(texts(&[&kind], 1, [&avoided, none()[0]]).texts, ["a1", "z"]);
    let long = regex("[a-z]{2}");
    let avoided = ('a'..='z').flat_map(|one| letters.iter().map(move |other| format!("{one}{other}"))).collect();
    assert_eq!(texts(&[&long], 2, [&avoided, none()[0]]).texts, ["a1", "b2", "az", "bz"]);
}

#[test]
fn types_of_the_language_are_automata_like_others() {
    let (uuid, slug, int, alnum) = (ValueType::Uuid, ValueType::Slug, ValueType::Int, ValueType::alnum().unwrap());
    let most = "9".repeat(19);
    let odd = ["0", "-0", "01", "-", "a-", "a--b", "ä5", "a\n", "", &most, &format!("-{most}"), &format!("1{most}")];
    for kind in [&uuid, &slug, &int, &alnum] {
        let automaton = automaton(&pattern(kind).unwrap()).unwrap();
        for text in USUAL.into_iter().chain(odd) {
            let anchored = start::Config::new().anchored(Anchored::Yes);
            let begin = automaton.start_state(&anchored).unwrap();
            let end = text.bytes().fold(begin, |state, byte| automaton.next_state(state, byte));
            assert_eq!(automaton.is_match_state(automaton.next_eoi_state(end)), kind.fits(text), "{kind:?} {text}");
        }
    }
    let found = texts(&[&uuid, &slug], 1, none());
    assert!(found.texts.iter().any(|text| uuid.fits(text) && !slug.fits(text)), "{found:?}");
}

#[test]
fn what_is_too_large_is_said() {
    let list = ValueType::List { separator: ",".into(), of: Box::new(ValueType::Int) };
    assert!(texts(&[&list], 4, none()).gap.is_some(), "the items of lists are told apart instead");
    // Of five types every combination is looked for, of six none: there may be some.
    let kinds = ["a", "b", "c", "d", "e", "f"].map(regex);
    let [one, two, three, four, five, six] = &kinds;
    let found = texts(&[one, two, three, four, five], 1, none());
    assert_eq!((found.texts, found.gap), (["a1", "a", "b", "c", "d", "e"].map(str::to_owned).to_vec(), None));
    let found = texts(&[one, two, three, four, five, six], 1, none());
    assert_eq!((found.texts, found.gap.is_some()), (vec!["a1".to_owned()], true));
}

/// The text has a state before each of its letters and one behind the last.
#[test]
fn a_product_may_have_as_many_states_as_it_says_and_no_more() {
    let longest = MOST_STATES - 1;
    let found = texts(&[&regex(&format!("!{{{longest}}}"))], 1, none());
    assert_eq!((found.texts.len(), found.gap), (2, None));
    assert_eq!(found.texts.last().unwrap().len(), longest);
    let found = texts(&[&regex(&format!("!{{{MOST_STATES}}}"))], 1, none());
    assert_eq!(found.texts, ["a1"]);
    assert_eq!(found.gap.unwrap(), "the types of a value make more than 10000 states");
}
