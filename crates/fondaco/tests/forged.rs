//! Snapshots that the command does not make: of a villain that has the key of a repository, and names what would be written
//! outside of the restored folder; and of several folders, as clients of a gateway make them.

#[path = "forged/forger.rs"]
mod forger;
mod market;
mod parts;

use forger::{Forger, link, named};
use market::market;
use parts::{compare, failure, world};
use rustic_core::repofile::{Node, NodeType};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// All files and folders below a folder, but for those of `apart`.
fn all(folder: &Path, apart: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.path() == apart {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_snapshot_writes_nothing_outside_and_the_rest_is_restored() {
    let market = market(4).await;
    let source = market.source.clone();
    fs::write(source.join("evil"), b"not yours").unwrap();
    fs::write(source.join("good"), b"dear all").unwrap();
    fs::create_dir(source.join("pair")).unwrap();
    fs::write(source.join("pair/inside"), b"below").unwrap();
    fs::hard_link(source.join("evil"), source.join("pair/twin")).unwrap();
    market.world.run("buyer", market.create_args(&[])).await.unwrap();

    // Where it aims: beside the folder that is restored, at an absolute place, and where a link leads.
    let arena = market.world.home("arena");
    let (to, outside, absolute) = (arena.join("to"), arena.join("outside"), arena.join("absolute"));
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("victim"), b"as it was").unwrap();
    let victim = fs::metadata(outside.join("victim")).unwrap();

    let forger = Forger::open(&market.world.home("buyer"), &source).await;
    let evil = forger.node("evil").await;
    let (inside, pair) = (forger.node("pair/inside").await, forger.node("pair").await);
    let victim_link = link("v", &outside.join("victim"));
    let away = |name: &str| link(name, &outside);
    let folder = |name: &str| Node { subtree: None, ..named(&pair, name) };
    let absolute_name = absolute.to_str().unwrap();
    let forged: Vec<(&str, Node)> = vec![
        ("0", named(&evil, "../x")),
        ("1", named(&evil, "../../x")),
        ("2", named(&evil, absolute_name)),
        ("3", named(&evil, "..")),
        ("4", named(&evil, "b/../../x")),
        // A folder of such a name, and a file in it.
        ("5", folder("../beside")),
        ("5/in", named(&inside, "in")),
        ("6", folder(absolute_name)),
        ("6/in", named(&inside, "in")),
        ("a", named(&evil, "a")),
        // A link that leads away and a folder of its name, with a file that is to be written through the link.
        ("b", away("d")),
        ("c", folder("d")),
        ("c/in", named(&inside, "in")),
        // The same, the link last.
        ("e", folder("e")),
        ("e/in", named(&inside, "in")),
        ("f", away("e")),
        // A link with entries of its own: a second name of `a`, which is made when the link is there.
        ("g", Node { subtree: pair.subtree, ..away("g") }),
        ("good", forger.node("good").await),
        // A link to a file, and a pipe in its place, whose permissions and times would be that file's.
        ("v", victim_link),
        ("w", Node { content: None, node_type: NodeType::Fifo, ..named(&evil, "v") }),
        // What comes after all that is where it should be.
        ("y", folder("y")),
        ("y/in", named(&inside, "in")),
        ("z", named(&evil, "z")),
    ];
    forger.forge(forged).await;

    let before = all(market.world.path(), &to);
    let restore = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    let lines = market.world.run_to("buyer", restore, 8).await.unwrap();
    let is_of_the_market = |path: &PathBuf| !path.starts_with(&arena);
    let arena_of = |paths: Vec<PathBuf>| -> Vec<PathBuf> {
        paths.into_iter().filter(|path| !is_of_the_market(path)).collect()
    };
    assert_eq!(arena_of(all(market.world.path(), &to)), arena_of(before));
    let after = fs::metadata(outside.join("victim")).unwrap();
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"as it was");
    assert_eq!(
        (after.mode(), after.mtime_nsec(), after.uid()),
        (victim.mode(), victim.mtime_nsec(), victim.uid())
    );

    // Each is named, with why, and the command fails.
    let restored = lines.iter().find(|line| line["event"] == "restore").unwrap();
    let refused: Vec<&str> =
        restored["refused"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let expected = [
        r#""../x" would leave the folder"#.to_owned(),
        r#""../../x" would leave the folder"#.to_owned(),
        format!("{absolute_name:?} would leave the folder"),
        r#"".." would leave the folder"#.to_owned(),
        r#""b/../../x" would leave the folder"#.to_owned(),
        r#""../beside" would leave the folder"#.to_owned(),
        format!("{absolute_name:?} would leave the folder"),
        r#""d" is there twice"#.to_owned(),
        r#""e" is there twice"#.to_owned(),
        r#""g" has entries below it, and is no folder"#.to_owned(),
        r#""v" is there twice"#.to_owned(),
    ];
    assert_eq!(refused, expected);
    let error = lines.last().unwrap()["error"].as_str().unwrap();
    assert!(error.contains(r#""../x" would leave the folder, and so with 10 more"#), "{error}");

    // The rest is there.
    for (path, content) in
        [("a", &b"not yours"[..]), ("good", b"dear all"), ("e/in", b"below"), ("y/in", b"below")]
    {
        assert_eq!(fs::read(to.join(path)).unwrap(), content, "{path}");
    }
    assert_eq!(fs::read(to.join("z")).unwrap(), b"not yours");
    assert_eq!(fs::read_link(to.join("d")).unwrap(), outside);
    let names: Vec<_> = all(&to, Path::new("")).into_iter().collect();
    let names: Vec<&str> =
        names.iter().map(|path| path.strip_prefix(&to).unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a", "d", "e", "e/in", "good", "v", "y", "y/in", "z"]);
    market.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_two_folders_comes_back_with_both() {
    let market = market(4).await;
    let (source, other) = (market.source.clone(), market.world.home("other"));
    fs::create_dir_all(&other).unwrap();
    fs::write(source.join("a"), b"first").unwrap();
    fs::write(other.join("b"), b"second").unwrap();
    market.world.run("buyer", market.create_args(&[])).await.unwrap();
    let forger = Forger::open(&market.world.home("buyer"), &source).await;
    forger.back_up(vec![source.clone(), other.clone()]).await;

    // Each under its whole path, and one of them by it.
    let (to, part) = (market.world.home("to"), market.world.home("part"));
    let below = |folder: &Path, name: &str| folder.strip_prefix("/").unwrap().join(name);
    let (first, second) = (below(&source, "a"), below(&other, "b"));
    let restore = ["restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    market.backup("buyer", &restore).await;
    assert_eq!(fs::read(to.join(&first)).unwrap(), b"first");
    assert_eq!(fs::read(to.join(&second)).unwrap(), b"second");
    let (inside, part_name) = (other.to_str().unwrap(), part.to_str().unwrap());
    market.backup("buyer", &["restore", "latest", inside, "--no-cache", "--to", part_name]).await;
    assert_eq!(all(&part, Path::new("")), [part.join("b")]);

    let paths_of = |lines: &[serde_json::Value], event: &str| -> Vec<PathBuf> {
        let lines = lines.iter().filter(|line| line["event"] == event);
        lines.map(|line| line["path"].as_str().unwrap().into()).collect()
    };
    let listed = market.backup("buyer", &["ls", "latest", "--recursive"]).await;
    let listed = paths_of(&listed, "entry");
    assert!(listed.contains(&first) && listed.contains(&second), "{listed:?}");
    // With the folder that both snapshots have, nothing happened.
    let differences = market.backup("buyer", &["diff", "latest~1", "latest"]).await;
    let differing = paths_of(&differences, "difference");
    assert!(differing.contains(&second) && !differing.contains(&first), "{differing:?}");
    market.world.end().await;
}
