//! What falls together: against an oracle that adds up every world, shock by shock and host by host.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Losses, price, operator and subnet.
type Host = (f64, u64, Option<u8>, Option<u8>);

fn candidate((loss, price, operator, subnet): Host) -> Candidate {
    let group = |name: u8| Group::new(name.into());
    Candidate::new(loss, price)
        .unwrap()
        .operated_by(operator.map(group))
        .in_subnet(subnet.map(group))
}

/// The probability that fewer than `k` live, added up over every world: which groups are struck, which hosts fail.
fn loss_by_worlds(hosts: &[Host], shocks: Shocks, k: u8) -> f64 {
    let mut operators: Vec<u8> = hosts.iter().filter_map(|host| host.2).collect();
    let mut subnets: Vec<u8> = hosts.iter().filter_map(|host| host.3).collect();
    for groups in [&mut operators, &mut subnets] {
        groups.sort_unstable();
        groups.dedup();
    }
    let chances: Vec<f64> = (operators.iter().map(|_| shocks.operator()))
        .chain(subnets.iter().map(|_| shocks.subnet()))
        .chain(hosts.iter().map(|host| host.0))
        .collect();
    let mut sum = 0.0;
    for world in 0_u32..1 << chances.len() {
        let happens = |event: usize| world >> event & 1 == 1;
        let struck = |groups: &[u8], first: usize, group: Option<u8>| {
            group.is_some_and(|group| {
                groups
                    .iter()
                    .position(|&other| other == group)
                    .is_some_and(|at| happens(first + at))
            })
        };
        let alive = hosts.iter().enumerate().filter(|&(i, host)| {
            !happens(operators.len() + subnets.len() + i)
                && !struck(&operators, 0, host.2)
                && !struck(&subnets, operators.len(), host.3)
        });
        if alive.count() < k.into() {
            let chance = |(event, chance): (usize, &f64)| {
                if happens(event) { *chance } else { 1.0 - chance }
            };
            sum += chances.iter().enumerate().map(chance).product::<f64>();
        }
    }
    sum
}

/// The least price per object byte of all sets and codes that meet the goal and the limit per operator.
fn least_cost(hosts: &[Host], goal: Goal) -> Option<f64> {
    let mut least: Option<f64> = None;
    for set in 1_u32..1 << hosts.len() {
        let members: Vec<Host> =
            (0..hosts.len()).filter(|i| set >> i & 1 == 1).map(|i| hosts[i]).collect();
        if members.len() > goal.shards_max().into() {
            continue;
        }
        let kin = |a: &Host, b: &Host| a.2.is_some() && a.2 == b.2;
        let most =
            members.iter().map(|a| 1.max(members.iter().filter(|b| kin(a, b)).count())).max();
        let price = members.iter().map(|host| host.1).sum::<u64>() as f64;
        let n = u8::try_from(members.len()).unwrap();
        for k in 1..=n {
            let limit = (n - k).min(k - 1).max(1);
            if n - k >= goal.lost_min()
                && most.unwrap() <= usize::from(limit)
                && 1.0 - loss_by_worlds(&members, goal.shocks(), k) >= goal.survive()
            {
                let cost = price / f64::from(k);
                least = Some(least.map_or(cost, |least| least.min(cost)));
            }
        }
    }
    least
}

/// Hosts in a tree: each subnet is one operator's, or nobody's that is known.
fn hosts(size: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<Host>> {
    let place = prop_oneof![
        Just((None, None)),
        (0..2_u8).prop_map(|operator| (Some(operator), None)),
        (0..2_u8, 0..2_u8)
            .prop_map(|(operator, subnet)| (Some(operator), Some(10 * operator + subnet))),
        Just((None, Some(50))),
    ];
    let host =
        (0.001..0.4, 1..100_u64, place).prop_map(|(loss, price, (o, s))| (loss, price, o, s));
    vec(host, size)
}

fn shocks() -> impl Strategy<Value = Shocks> {
    prop_oneof![
        1 => Just(Shocks::NONE),
        3 => (0.0..0.2, 0.0..0.2).prop_map(|(operator, subnet)| Shocks::new(operator, subnet).unwrap()),
    ]
}

#[test]
fn correlation_decides() {
    let alone = vec![candidate((0.02, 1, None, None)); 30];
    let three: Vec<Candidate> = (0..30).map(|i| candidate((0.02, 1, Some(i % 3), None))).collect();
    let one = vec![candidate((0.02, 1, Some(0), None)); 30];
    let shocks = Shocks::new(0.01, 0.0).unwrap();
    for (hosts, loss) in [(&alone, 2.522_633_627e-29), (&three, 5.53e-5), (&one, 0.01)] {
        let found = loss_under_shocks(hosts, shocks, 10);
        assert!((found - loss).abs() < 0.002 * loss, "{found:e} is not {loss:e}");
    }
    assert!(loss_under_shocks(&three, Shocks::NONE, 10) < 1e-28);
}

#[test]
fn an_operator_holds_neither_k_shards_nor_more_than_may_be_lost() {
    for (k, n, most) in [
        (1, 2, 1),
        (1, 9, 1),
        (2, 5, 1),
        (3, 9, 2),
        (10, 30, 9),
        (20, 30, 10),
        (29, 30, 1),
        (4, 4, 1),
    ] {
        assert_eq!(group_shards_max(k, n), most, "{k} of {n}");
    }
    // Four operators of ten hosts, of which one gives its space away: it gets no more than its due.
    let market: Vec<Candidate> = (0..40)
        .map(|i| candidate((0.02, if i % 4 == 0 { 0 } else { 100 }, Some(i % 4), None)))
        .collect();
    let goal = Goal::new(0.999, 30, 1).unwrap().under(Shocks::new(0.001, 0.0).unwrap());
    let placement = place(&market, goal).unwrap();
    let free = placement.providers.iter().filter(|&i| i % 4 == 0).count();
    assert!(free <= usize::from(group_shards_max(placement.k, placement.n())), "{placement:?}");
    assert_eq!(placement.assumptions.operators, 4);
    // One operator alone holds one copy, which is no code.
    let refusal = place(&market[..1].repeat(8), goal).unwrap_err();
    let (candidates, operators, needed) = (8, 1, 2);
    assert_eq!(refusal, PlacementError::TooFewOperators { candidates, operators, needed });
}

#[test]
fn operators_that_share_a_subnet_are_one() {
    let shocks = Shocks::new(0.1, 0.0).unwrap();
    let apart = [(0.01, 1, Some(1), None), (0.01, 1, Some(2), None)].map(candidate);
    let together = [(0.01, 1, Some(1), Some(7)), (0.01, 1, Some(2), Some(7))].map(candidate);
    let one = [(0.01, 1, Some(1), Some(7)), (0.01, 1, Some(1), Some(7))].map(candidate);
    let loss = |hosts: &[Candidate]| loss_under_shocks(hosts, shocks, 1);
    assert_eq!(loss(&together), loss(&one));
    assert!(loss(&together) > 5.0 * loss(&apart));
}

#[test]
fn shocks_that_are_no_chances_are_refused() {
    for shock in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(Shocks::new(shock, 0.0), Err(ShockError::Outside { .. })));
        assert!(matches!(Shocks::new(0.0, shock), Err(ShockError::Outside { .. })));
    }
    assert_eq!(Shocks::new(0.0, 0.0), Ok(Shocks::NONE));
}

#[test]
fn what_is_assumed_is_said() {
    let market: Vec<Candidate> = (0..6)
        .map(|i| candidate((0.05, 1, Some(i % 3), (i % 3 == 0).then_some(i % 3))))
        .chain([candidate((0.0312, 1, None, None))])
        .collect();
    let goal = Goal::new(0.99, 7, 1).unwrap().under(Shocks::new(0.01, 0.005).unwrap());
    let placement = place(&market, goal).unwrap();
    assert_eq!(
        placement.assumptions.to_string(),
        "Each host loses its shard in an epoch with 3.12 % to 5 %, and what is lost is repaired before the next. \
         The shards are with 4 operators, at most 2 with one; a known operator is lost with all it has with 1 %. \
         They are in 1 subnet, at most 1 in one; a subnet is lost as a whole with 0.5 %. \
         Of 1 host neither operator nor network is known; it is taken as independent. \
         Beyond that, hosts fail independently of each other."
    );
    assert!(placement.assumptions.loss_independent < placement.loss);
}

#[test]
fn a_large_market_of_few_operators_is_placed() {
    let market: Vec<Candidate> = (0..10_000_u64)
        .map(|i| {
            let loss = 0.002 * (1 + i * 7919 % 100) as f64;
            let operator = Group::new(i * 31 % 500);
            Candidate::new(loss, 500 + i * 104_729 % 1000).unwrap().operated_by(Some(operator))
        })
        .collect();
    let goal = Goal::new(0.999_999_999, 40, 2).unwrap().under(Shocks::new(0.01, 0.0).unwrap());
    let placement = place(&market, goal).unwrap();
    assert!(placement.survive >= 0.999_999_999);
    let chosen: Vec<Candidate> = placement.providers.iter().map(|&i| market[i]).collect();
    let loss = loss_under_shocks(&chosen, goal.shocks(), placement.k);
    assert!((loss - placement.loss).abs() <= 1e-12 * loss);
    let most = placement.assumptions.operator_shards;
    assert!(most <= group_shards_max(placement.k, placement.n()).into());
    assert!(placement.cost < Cost::new(900, 1), "{}", placement.cost);
}

proptest! {
    /// Convolving the groups agrees with adding up all worlds.
    #[test]
    fn loss_under_shocks_is_the_sum_over_all_worlds(hosts in hosts(0..=6), shocks in shocks(), k in 0..8_u8) {
        let candidates: Vec<Candidate> = hosts.iter().copied().map(candidate).collect();
        let (loss, outcome) = (loss_under_shocks(&candidates, shocks, k), loss_by_worlds(&hosts, shocks, k));
        prop_assert!((loss - outcome).abs() <= 1e-12 * outcome.max(1e-3), "{} is not {}", loss, outcome);
    }

    /// Among few candidates nothing cheaper exists within the limit per operator, and what is called unreachable is.
    #[test]
    fn few_hosts_of_few_operators_are_placed_at_the_least_cost(
        hosts in hosts(0..=6), shocks in shocks(), nines in 0.2..3.0, lost_min in 0..=2_u8,
    ) {
        let goal = Goal::new(1.0 - 0.1_f64.powf(nines), 6, lost_min).unwrap().under(shocks);
        let market: Vec<Candidate> = hosts.iter().copied().map(candidate).collect();
        let least = least_cost(&hosts, goal);
        match place(&market, goal) {
            Ok(placement) => {
                let cost = placement.cost.price_sum as f64 / f64::from(placement.k);
                prop_assert_eq!(Some(cost), least, "{:?}", placement);
            }
            Err(refusal) => prop_assert_eq!(least, None, "{}", refusal),
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However many: a placement is what it says, and keeps to the limit.
    #[test]
    fn many_hosts_of_few_operators_are_placed_soundly(
        hosts in hosts(17..=50), shocks in shocks(), nines in 0.2..6.0, shards_max in 3..40_u8,
    ) {
        let goal = Goal::new(1.0 - 0.1_f64.powf(nines), shards_max, 1).unwrap().under(shocks);
        let market: Vec<Candidate> = hosts.iter().copied().map(candidate).collect();
        if let Ok(placement) = place(&market, goal) {
            prop_assert!(placement.survive >= goal.survive() && placement.n() <= shards_max);
            let chosen: Vec<Candidate> = placement.providers.iter().map(|&i| market[i]).collect();
            let loss = loss_under_shocks(&chosen, shocks, placement.k);
            prop_assert!((loss - placement.loss).abs() <= 1e-12 * loss);
            for operator in 0..2 {
                let group = Some(Group::new(operator));
                let held = chosen.iter().filter(|candidate| candidate.operator() == group).count();
                prop_assert!(held <= group_shards_max(placement.k, placement.n()).into());
            }
        }
    }
}

#[test]
fn shards_of_an_operator_are_counted_across_the_subnets_that_it_shares() {
    let hosts: Vec<Candidate> = [
        (0.05, 1, Some(1), Some(1)),
        (0.05, 1, Some(1), Some(2)),
        (0.05, 1, Some(2), Some(2)), // shares a subnet with the first, so they are one
        (0.05, 1, Some(3), Some(3)),
        (0.05, 1, None, Some(3)),
        (0.05, 1, None, None),
        (0.05, 1, None, Some(4)), // a subnet alone makes no operator
        (0.05, 1, None, Some(4)),
    ]
    .map(candidate)
    .to_vec();
    let counts: Vec<usize> = (0..9).map(|index| operator_shards(&hosts, index)).collect();
    assert_eq!(counts, [3, 3, 3, 2, 2, 1, 1, 1, 0]);
}
