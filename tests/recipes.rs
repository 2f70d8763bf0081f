//! The recipes of docs/policies.md: the guide shows exactly the files, and every file is tested so that no route and no
//! condition of it could be weakened unnoticed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every policy among the recipes.
fn recipes() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("docs/recipes")).unwrap().map(|entry| entry.unwrap().path());
    let mut policies: Vec<_> = files.filter(|path| !path.to_str().unwrap().ends_with(".test.yaml")).collect();
    policies.sort();
    policies
}

#[test]
fn the_guide_shows_every_recipe_as_it_is() {
    let guide = fs::read_to_string(root().join("docs/policies.md")).unwrap();
    let shown: BTreeSet<&str> =
        guide.split("```yaml\n").skip(1).map(|block| block.split_once("```").unwrap().0).collect();
    let recipes = recipes();
    assert_eq!(recipes.len(), 12, "{recipes:?}");
    for path in &recipes {
        let text = fs::read_to_string(path).unwrap();
        assert!(shown.contains(text.as_str()), "docs/policies.md does not show {} as it is", path.display());
        let tests = path.with_extension("test.yaml");
        assert!(tests.exists(), "{} is not there", tests.display());
        let link = format!("(recipes/{})", tests.file_name().unwrap().to_str().unwrap());
        assert!(guide.contains(&link), "docs/policies.md has no link {link}");
    }
}

#[test]
fn every_recipe_passes_its_tests_and_none_could_be_weakened_unnoticed() {
    let (code, said) = torwart_test(&root().join("docs/recipes"), &["--coverage", "--mutate"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("(100.0 %)") && said.contains(" 0 survived"), "{said}");
}

/// The assertion above can fail.
#[test]
fn without_the_test_that_matters_a_recipe_could_be_weakened() {
    let recipe = |name: &str| fs::read_to_string(root().join("docs/recipes").join(name)).unwrap();
    let tests = recipe("lists.test.yaml");
    let (before, cases) = tests.split_once("tests:\n").unwrap();
    let kept = cases.split("  - name: ").skip(1).filter(|case| !case.contains("{deny: scope}"));
    let kept: Vec<String> = kept.map(|case| format!("  - name: {case}")).collect();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("lists.yaml"), recipe("lists.yaml")).unwrap();
    fs::write(directory.path().join("lists.test.yaml"), format!("{before}tests:\n{}", kept.concat())).unwrap();
    let (code, said) = torwart_test(directory.path(), &["--mutate"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("lists.yaml:10:15: survived: drop condition: no `scope`"), "{said}");
}

fn torwart_test(directory: &Path, options: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torwart"));
    command.current_dir(directory).args(["test", "."]).args(options).env_remove("TORWART_CONFIG");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}
