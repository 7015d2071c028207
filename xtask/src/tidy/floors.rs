//! Every edge falls to a lower floor, so that the map of the workspace stays true.
//!
//! The ground, floor 0, is the one floor with edges of its own: the order of [`GROUND`].

use super::Fault;
use crate::workspace::{Crate, Floor, Kind};

/// The ground, each crate using only those before it.
const GROUND: [&str; 3] = ["codec", "units", "crypto"];

/// The folders that stand beside the floors.
const BESIDE: [&str; 4] = ["xtask", "testkit", "bench", "fuzz"];

/// What floors 0 to 2 must not link: a runtime, a clock, chance, a network.
const NOT_PURE: [&str; 6] = ["tokio", "async-std", "rand", "getrandom", "iroh", "chrono"];

/// Every crate states its floor, and only the four tools stand beside.
pub(super) fn stated(crates: &[Crate]) -> Vec<Fault> {
    let fault = |each: &Crate| {
        let is_tool = BESIDE.contains(&each.short_name());
        let (what, hint) = match &each.floor {
            Err(what) => (what.clone(), "write [package.metadata] floor = 0..5, or \"beside\""),
            Ok(Floor::Beside) if !is_tool => {
                ("stands beside the floors".to_owned(), "state a floor: 0..5")
            }
            Ok(Floor::Number(number)) if is_tool => (
                format!("a tool states the floor {number}"),
                "write [package.metadata] floor = \"beside\"",
            ),
            Ok(Floor::Beside | Floor::Number(_)) => return None,
        };
        Some(Fault::new(each.file("Cargo.toml"), what, hint))
    };
    crates.iter().filter_map(fault).collect()
}

/// Every edge within the workspace falls; tools are used in tests alone.
pub(super) fn edges(crates: &[Crate]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for from in crates {
        for edge in &from.uses {
            let Some(to) = crates.iter().find(|each| each.name == edge.package) else { continue };
            let (Ok(high), Ok(low)) = (&from.floor, &to.floor) else { continue };
            if let Some((what, hint)) = misplaced(from, *high, edge.kind, to, *low) {
                faults.push(Fault::new(from.file("Cargo.toml"), what, hint));
            }
        }
    }
    faults
}

/// Floors 0 to 2 link nothing that makes their outcome depend on more than their arguments.
pub(super) fn foreign(crates: &[Crate]) -> Vec<Fault> {
    let pure = crates.iter().filter(|each| each.is_pure());
    let edges = pure.flat_map(|from| from.uses.iter().map(move |edge| (from, edge)));
    edges
        .filter(|(_, edge)| edge.kind == Kind::Normal && NOT_PURE.contains(&&*edge.package))
        .map(|(from, edge)| {
            let what = format!("floors 0 to 2 are pure and may not use {}", edge.package);
            let hint = "take the time, the entropy or the bytes as an argument";
            Fault::new(from.file("Cargo.toml"), what, hint)
        })
        .collect()
}

/// What is wrong with this edge, if anything, and the remedy.
fn misplaced(
    from: &Crate,
    high: Floor,
    kind: Kind,
    to: &Crate,
    low: Floor,
) -> Option<(String, &'static str)> {
    match (high, low) {
        (Floor::Beside, _) => None,
        (Floor::Number(_), Floor::Beside) if kind == Kind::Dev => None,
        (Floor::Number(_), Floor::Beside) => Some((
            format!("uses {}, which stands beside the floors", to.name),
            "move it to [dev-dependencies]",
        )),
        (Floor::Number(high), Floor::Number(low)) if low < high => None,
        (Floor::Number(0), Floor::Number(0)) if drawn(from, to) => None,
        (Floor::Number(high), Floor::Number(low)) => Some((
            format!("floor {high} uses {} on floor {low}{}", to.name, purpose(kind)),
            "pass a value or a trait of a lower floor, or let a higher crate join the two",
        )),
    }
}

/// Whether the ground's order has this edge.
fn drawn(from: &Crate, to: &Crate) -> bool {
    let place = |each: &Crate| GROUND.iter().position(|name| *name == each.short_name());
    matches!((place(from), place(to)), (Some(later), Some(earlier)) if earlier < later)
}

fn purpose(kind: Kind) -> &'static str {
    match kind {
        Kind::Normal => "",
        Kind::Build => " to build",
        Kind::Dev => " in its tests",
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::planted::{said, sound, with_use},
        *,
    };

    /// A workspace with a crate on each kind of place.
    fn workspace() -> Vec<Crate> {
        let places = [("codec", 0), ("units", 0), ("crypto", 0), ("ledger", 1), ("stake", 1)];
        let higher = [("lcp", 2), ("store", 3), ("agent", 4), ("fondaco", 5)];
        let mut crates: Vec<_> = places
            .into_iter()
            .chain(higher)
            .map(|(name, floor)| sound(name, Floor::Number(floor)))
            .collect();
        crates.extend(["testkit", "bench"].map(|name| sound(name, Floor::Beside)));
        crates
    }

    #[test]
    fn canary_edges() {
        use Kind::{Build, Dev, Normal};
        let cases = [
            ("units", Normal, "codec", ""),
            ("crypto", Normal, "units", ""),
            ("crypto", Build, "codec", ""),
            ("ledger", Normal, "crypto", ""),
            ("fondaco", Normal, "codec", ""),
            ("ledger", Dev, "units", ""),
            ("ledger", Dev, "testkit", ""),
            ("testkit", Normal, "agent", ""),
            ("bench", Normal, "testkit", ""),
            ("codec", Normal, "units", "floor 0 uses fondaco-units on floor 0"),
            ("units", Dev, "crypto", "floor 0 uses fondaco-crypto on floor 0 in its tests"),
            ("units", Dev, "units", "floor 0 uses fondaco-units on floor 0 in its tests"),
            ("ledger", Normal, "stake", "floor 1 uses fondaco-stake on floor 1"),
            ("ledger", Normal, "lcp", "floor 1 uses fondaco-lcp on floor 2"),
            ("ledger", Dev, "lcp", "floor 1 uses fondaco-lcp on floor 2 in its tests"),
            ("store", Build, "agent", "floor 3 uses fondaco-agent on floor 4 to build"),
            ("agent", Normal, "testkit", "uses fondaco-testkit, which stands beside the floors"),
            ("agent", Build, "bench", "uses fondaco-bench, which stands beside the floors"),
        ];
        for (user, kind, used, expected) in cases {
            let mut crates = workspace();
            let place = crates.iter().position(|each| each.short_name() == user).unwrap();
            crates[place] = with_use(crates[place].clone(), kind, &format!("fondaco-{used}"));
            let expected: Vec<_> = [expected].into_iter().filter(|what| !what.is_empty()).collect();
            assert_eq!(said(edges(&crates)), expected, "{user} {kind:?} {used}");
        }
    }

    #[test]
    fn canary_stated() {
        let unstated =
            Crate { floor: Err("states no floor".to_owned()), ..sound("ledger", Floor::Number(1)) };
        let cases = [
            (sound("ledger", Floor::Number(1)), ""),
            (sound("testkit", Floor::Beside), ""),
            (unstated, "states no floor"),
            (sound("ledger", Floor::Beside), "stands beside the floors"),
            (sound("testkit", Floor::Number(3)), "a tool states the floor 3"),
        ];
        for (planted, expected) in cases {
            assert_eq!(said(stated(&[planted])).concat(), expected);
        }
    }

    #[test]
    fn canary_foreign() {
        let cases = [
            (2, Kind::Normal, "tokio", 1),
            (0, Kind::Normal, "getrandom", 1),
            (1, Kind::Dev, "rand", 0),
            (1, Kind::Normal, "blake3", 0),
            (3, Kind::Normal, "tokio", 0),
        ];
        for (floor, kind, used, expected) in cases {
            let user = with_use(sound("ledger", Floor::Number(floor)), kind, used);
            assert_eq!(foreign(&[user]).len(), expected, "{floor} {kind:?} {used}");
        }
    }
}
