//! One name and one sentence for each crate, wherever it is mentioned; and the workspace's lints kept.

use super::{Fault, has_word};
use crate::workspace::Crate;

/// The folder of the command, whose package has no prefix.
const COMMAND: &str = "fondaco";

/// Crates that may state lints of their own, because they need SIMD and fuzz it against a safe twin.
const MAY_BE_UNSAFE: [&str; 1] = ["erasure"];

/// What those lints then say: no unsafe code but where a module asks for it, and none of it without its reason.
const UNSAFE_LINTS: [&str; 3] = [
    "unsafe_code = \"deny\"",
    "unsafe_op_in_unsafe_fn = \"deny\"",
    "undocumented_unsafe_blocks = \"deny\"",
];

/// The package is named after its folder.
pub(super) fn package(each: &Crate) -> Option<Fault> {
    let folder = each.short_name();
    let expected = match folder {
        COMMAND => folder.to_owned(),
        _ if !each.is_ours() => folder.to_owned(),
        _ => format!("fondaco-{folder}"),
    };
    let what = format!("the package in the folder {folder} is named {}", each.name);
    let hint = format!("write name = \"{expected}\", or rename the folder");
    (each.name != expected).then(|| Fault::new(each.file("Cargo.toml"), what, hint))
}

/// The description is the first doc line of the crate's main `source`, a path and its text.
pub(super) fn sentence(each: &Crate, source: Option<(&str, &str)>) -> Option<Fault> {
    let manifest = each.file("Cargo.toml");
    if each.description.is_empty() {
        let hint = "write description = \"Verb what it does.\"";
        return Some(Fault::new(manifest, "the crate has no sentence", hint));
    }
    let Some((path, text)) = source else {
        let hint = "every crate has one or the other";
        return Some(Fault::new(manifest, "there is no src/lib.rs and no src/main.rs", hint));
    };
    let first = text.lines().find_map(|line| line.strip_prefix("//! ")).unwrap_or_default();
    if first.trim_end() == each.description {
        return None;
    }
    let what =
        format!("the first doc line is {first:?}, the description is {:?}", each.description);
    Some(Fault::new(path, what, format!("make them one sentence, here and in {manifest}")))
}

/// The crate keeps the lints of the workspace, and so `unsafe_code = "forbid"`; or it is one that may be unsafe, and says
/// why it is sound wherever it is.
pub(super) fn lints(each: &Crate, manifest: &str) -> Option<Fault> {
    let lines: Vec<&str> = manifest.lines().map(bare).filter(|line| !line.is_empty()).collect();
    let kept = lines.windows(2).any(|pair| pair == ["[lints]", "workspace = true"])
        || lines.contains(&"lints.workspace = true");
    if kept {
        return None;
    }
    if MAY_BE_UNSAFE.contains(&each.short_name()) {
        let missing = UNSAFE_LINTS.into_iter().find(|lint| !lines.contains(lint))?;
        let what = format!("this crate may be unsafe, but does not say {missing}");
        return Some(Fault::new(each.file("Cargo.toml"), what, "add it to the lints"));
    }
    let kind = if each.is_library { "library" } else { "program" };
    let what = format!("this {kind} does not keep the lints of the workspace");
    Some(Fault::new(each.file("Cargo.toml"), what, "add [lints] workspace = true"))
}

/// The workspace forbids unsafe code.
pub(super) fn root_lints(manifest: &str) -> Option<Fault> {
    let forbids = manifest.lines().any(|line| bare(line) == "unsafe_code = \"forbid\"");
    let hint = "write unsafe_code = \"forbid\" under [workspace.lints.rust]";
    (!forbids).then(|| Fault::new("Cargo.toml", "the workspace does not forbid unsafe code", hint))
}

/// Every crate's sentence stands in the README, on the line with its name.
pub(super) fn readme(crates: &[Crate], readme: &str) -> Vec<Fault> {
    let missing = |each: &&Crate| {
        let ticked = format!("`{}`", each.short_name());
        each.is_ours()
            && !readme.lines().any(|line| {
                let named =
                    line.contains(&ticked) || (each.name != COMMAND && has_word(line, &each.name));
                named && line.contains(&each.description)
            })
    };
    let fault = |each: &Crate| {
        let what = format!("no line names {} and says its sentence", each.name);
        let hint = format!("add the line: `{}` {}", each.short_name(), each.description);
        Fault::new("README.md", what, hint)
    };
    crates.iter().filter(missing).map(fault).collect()
}

/// Every crate stands in the map: a fenced block of ARCHITECTURE.md, not merely its prose.
pub(super) fn map(crates: &[Crate], architecture: &str) -> Vec<Fault> {
    let blocks = architecture.split("\n```").skip(1).step_by(2);
    let map: String = blocks.collect::<Vec<_>>().join("\n");
    let missing = |each: &&Crate| each.is_ours() && !has_word(&map, each.short_name());
    let fault = |each: &Crate| {
        let what = format!("the map does not show {}", each.short_name());
        let hint = "add it to the line of its floor, in the ```text block";
        Fault::new("ARCHITECTURE.md", what, hint)
    };
    crates.iter().filter(missing).map(fault).collect()
}

/// A line of a manifest without its comment.
fn bare(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::{
        super::planted::{said, sound},
        *,
    };
    use crate::workspace::Floor;

    fn units() -> Crate {
        sound("units", Floor::Number(0))
    }

    #[test]
    fn canary_package() {
        let cases = [
            ("crates/units", "fondaco-units", true),
            ("crates/fondaco", "fondaco", true),
            ("xtask", "xtask", true),
            ("crates/units", "units", false),
            ("crates/units", "fondaco-unit", false),
            ("crates/fondaco", "fondaco-fondaco", false),
        ];
        for (folder, name, sound) in cases {
            let planted = Crate { folder: folder.into(), name: name.into(), ..units() };
            assert_eq!(package(&planted).is_none(), sound, "{name} in {folder}");
        }
    }

    #[test]
    fn canary_sentence() {
        let cases = [
            (Some("//! Do what units does.\n//!\n//! More."), true),
            (Some("//\n//! Do what units does.\n"), true),
            (Some("//! Do what units did.\n"), false),
            (Some("pub fn undocumented() {}"), false),
            (None, false),
        ];
        for (text, sound) in cases {
            let source = text.map(|text| ("crates/units/src/lib.rs", text));
            assert_eq!(sentence(&units(), source).is_none(), sound, "{text:?}");
        }
        let silent = Crate { description: String::new(), ..units() };
        assert_eq!(said(sentence(&silent, None)), ["the crate has no sentence"]);
    }

    #[test]
    fn canary_lints() {
        let cases = [
            ("[package]\n\n[lints] # ours\nworkspace = true\n", true),
            ("lints.workspace = true", true),
            ("[package]\nname = \"x\"", false),
            ("[lints]\nworkspace = false", false),
            ("# [lints]\n# workspace = true", false),
            ("[lints.rust]\nunsafe_code = \"allow\"", false),
        ];
        for (manifest, sound) in cases {
            assert_eq!(lints(&units(), manifest).is_none(), sound, "{manifest}");
        }
        let erasure = sound("erasure", Floor::Number(1));
        let all = UNSAFE_LINTS.join("\n");
        assert_eq!(lints(&erasure, &all), None);
        assert!(lints(&units(), &all).is_some());
        for lint in UNSAFE_LINTS {
            assert!(lints(&erasure, &all.replace(lint, "")).is_some(), "{lint}");
        }
        assert_eq!(root_lints("unsafe_code = \"forbid\""), None);
        assert!(root_lints("unsafe_code = \"warn\"").is_some());
    }

    #[test]
    fn canary_readme() {
        let cases = [
            ("| `units` | Do what units does. |", true),
            ("- fondaco-units: Do what units does.", true),
            ("- fondaco-units-old: Do what units does.", false),
            ("- fondaco-units", false),
            ("Do what units does.", false),
            ("- `units`\nDo what units does.", false),
        ];
        for (text, sound) in cases {
            assert_eq!(readme(&[units()], text).is_empty(), sound, "{text}");
        }
        let command = sound("fondaco", Floor::Number(5));
        assert_eq!(readme(&[command], "fondaco: Do what fondaco does.").len(), 1);
    }

    #[test]
    fn canary_map() {
        let cases = [
            ("# Map\n\n```text\n0 ground  codec <- units\n```\n", true),
            ("# Map\n\n```text\n0 ground  codec\n```\n\nNot units.\n", false),
            ("# Map\n\n```text\n0 units-old\n```\n", false),
            ("", false),
        ];
        for (text, sound) in cases {
            assert_eq!(map(&[units()], text).is_empty(), sound, "{text}");
        }
    }
}
