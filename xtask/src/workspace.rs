//! The workspace as its manifests describe it: the crates, their floors and their edges.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::shell;

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// All crates of the workspace.
pub(crate) struct Workspace {
    /// Where cargo puts what it builds; not always `target`.
    pub(crate) target: PathBuf,
    /// Every member, in the order of cargo.
    pub(crate) crates: Vec<Crate>,
}

/// One member of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Crate {
    /// The package name, as `fondaco-units`.
    pub(crate) name: String,
    /// The folder below the root, as `crates/units`.
    pub(crate) folder: String,
    /// The floor, or what stands in its place.
    pub(crate) floor: Result<Floor, String>,
    /// The crate's sentence; empty when there is none.
    pub(crate) description: String,
    /// Whether others can link it.
    pub(crate) is_library: bool,
    /// What it uses, within the workspace and outside.
    pub(crate) uses: Vec<Use>,
}

/// How high a crate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floor {
    /// 0, the ground, to 5, the apps.
    Number(u8),
    /// Tools and tests, which look at all floors and carry none.
    Beside,
}

/// One declared dependency.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    /// The package used.
    pub(crate) package: String,
    /// What for.
    pub(crate) kind: Kind,
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is linked in.
    Normal,
    /// A build script uses it.
    Build,
    /// Tests use it.
    Dev,
}

impl Workspace {
    /// Asks cargo; resolves nothing, so it needs neither network nor `Cargo.lock`.
    pub(crate) fn load() -> Result<Self, String> {
        let asked = shell::command("cargo metadata --format-version 1 --no-deps");
        let text = shell::output(asked).map_err(|failed| failed.to_string())?;
        let metadata: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let crates = list(&metadata["packages"]).iter().map(Crate::read).collect();
        Ok(Self { target: PathBuf::from(text_of(&metadata["target_directory"])), crates })
    }

    /// Whether there is a member with this package `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.crates.iter().any(|each| each.name == name)
    }
}

impl Crate {
    fn read(package: &Value) -> Self {
        let manifest = PathBuf::from(text_of(&package["manifest_path"]));
        let folder = manifest.parent().unwrap_or(&manifest);
        let folder = folder.strip_prefix(root()).unwrap_or(folder);
        let is_library = list(&package["targets"])
            .iter()
            .flat_map(|target| list(&target["kind"]))
            .any(|kind| matches!(text_of(kind), "lib" | "rlib" | "proc-macro"));
        Self {
            name: text_of(&package["name"]).to_owned(),
            folder: folder.to_string_lossy().into_owned(),
            floor: Floor::read(&package["metadata"]["floor"]),
            description: text_of(&package["description"]).trim().to_owned(),
            is_library,
            uses: list(&package["dependencies"]).iter().map(Use::read).collect(),
        }
    }

    /// The path of a file of this crate, below the root.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// The last part of the folder, which the map uses as the crate's name.
    pub(crate) fn short_name(&self) -> &str {
        self.folder.rsplit('/').next().unwrap_or(&self.folder)
    }

    /// Whether this is one of the crates that make Fondaco, not the tool that checks them.
    pub(crate) fn is_ours(&self) -> bool {
        self.folder.starts_with("crates/")
    }

    /// Whether the crate stands on floors 0 to 2, which know no clock, chance, socket or environment.
    pub(crate) fn is_pure(&self) -> bool {
        matches!(self.floor, Ok(Floor::Number(0..=2)))
    }
}

impl Floor {
    fn read(stated: &Value) -> Result<Self, String> {
        match (stated.as_u64(), stated.as_str()) {
            (Some(number @ 0..=5), _) => u8::try_from(number)
                .map(Self::Number)
                .map_err(|error| format!("states the floor {number}: {error}")),
            (_, Some("beside")) => Ok(Self::Beside),
            _ if stated.is_null() => Err("states no floor".to_owned()),
            _ => Err(format!("states the floor {stated}")),
        }
    }
}

impl Use {
    fn read(dependency: &Value) -> Self {
        let kind = match text_of(&dependency["kind"]) {
            "build" => Kind::Build,
            "dev" => Kind::Dev,
            _ => Kind::Normal,
        };
        Self { package: text_of(&dependency["name"]).to_owned(), kind }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn floors() {
        let cases = [
            (json!(0), Ok(Floor::Number(0))),
            (json!(5), Ok(Floor::Number(5))),
            (json!("beside"), Ok(Floor::Beside)),
            (json!(6), Err("states the floor 6".to_owned())),
            (json!("3"), Err("states the floor \"3\"".to_owned())),
            (json!(null), Err("states no floor".to_owned())),
        ];
        for (stated, expected) in cases {
            assert_eq!(Floor::read(&stated), expected, "{stated}");
        }
    }

    #[test]
    fn a_manifest_as_cargo_tells_it() {
        let read = Crate::read(&json!({
            "name": "fondaco-units",
            "manifest_path": root().join("crates/units/Cargo.toml"),
            "metadata": { "floor": 0 },
            "description": "Count money.",
            "targets": [{ "kind": ["lib"] }, { "kind": ["test"] }],
            "dependencies": [
                { "name": "fondaco-codec", "kind": null, "rename": "codec" },
                { "name": "fondaco-testkit", "kind": "dev" },
            ],
        }));
        assert_eq!((read.folder.as_str(), read.short_name()), ("crates/units", "units"));
        assert!(read.is_library && read.is_ours() && read.is_pure());
        let kinds: Vec<_> = read.uses.iter().map(|each| (&*each.package, each.kind)).collect();
        assert_eq!(kinds, [("fondaco-codec", Kind::Normal), ("fondaco-testkit", Kind::Dev)]);
    }
}
