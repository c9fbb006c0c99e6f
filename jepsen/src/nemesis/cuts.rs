//! Which directed links a partition cuts.

use crate::schedule::{Shape, Who};

/// Whom the shape is about, if that must be looked up.
pub(super) fn target(shape: &Shape) -> Option<&Who> {
    match shape {
        Shape::Isolate(who) | Shape::CutOut(who) | Shape::CutIn(who) => Some(who),
        Shape::Halves(_)
        | Shape::Bridge { .. }
        | Shape::Ring(_)
        | Shape::Region(_)
        | Shape::RegionOneWay(_)
        | Shape::Swizzle(_) => None,
    }
}

/// Whether links are cut and healed one by one.
pub(super) fn is_gradual(shape: &Shape) -> bool {
    matches!(shape, Shape::Swizzle(_))
}

/// Whether clients lose nodes too.
pub(super) fn takes_clients(shape: &Shape) -> bool {
    matches!(shape, Shape::Region(_) | Shape::RegionOneWay(_))
}

/// Nodes that are left with too few others, both ways, to be a majority of all. Who led among them leads no
/// more, and may not know it.
pub(super) fn astray(cut: &[(usize, usize)], nodes: usize) -> Vec<usize> {
    let is_whole = |one: usize, other: usize| !cut.contains(&(one, other)) && !cut.contains(&(other, one));
    let company = |node: usize| (0..nodes).filter(|other| *other == node || is_whole(node, *other)).count();
    (0..nodes).filter(|node| company(*node) <= nodes / 2).collect()
}

/// The links to cut, `(from, to)`, in order. `whom` is what [`target`] became, `nodes` how many there are;
/// further ends up to `ends` are clients, which share their region's fate and no other.
pub(super) fn of(
    shape: &Shape,
    whom: &[usize],
    ends_of: impl Fn(&str) -> Vec<usize>,
    nodes: usize,
    ends: usize,
) -> Vec<(usize, usize)> {
    let away = |side: &[usize], total: usize| -> Vec<(usize, usize)> {
        let others: Vec<usize> = (0..total).filter(|node| !side.contains(node)).collect();
        side.iter().flat_map(|from| others.iter().map(move |to| (*from, *to))).collect()
    };
    let out_of = |side: &[usize]| away(side, nodes);
    let both = |links: Vec<(usize, usize)>| -> Vec<(usize, usize)> {
        links.into_iter().flat_map(|(from, to)| [(from, to), (to, from)]).collect()
    };
    match shape {
        Shape::Isolate(_) => both(out_of(whom)),
        Shape::CutOut(_) => out_of(whom),
        Shape::CutIn(_) => out_of(whom).into_iter().map(|(from, to)| (to, from)).collect(),
        Shape::Halves(side) => both(out_of(side)),
        Shape::Bridge { over, side } => {
            both(out_of(side).into_iter().filter(|(from, to)| from != over && to != over).collect())
        }
        Shape::Ring(circle) => ring(circle),
        Shape::Region(region) => both(away(&ends_of(region), ends)),
        Shape::RegionOneWay(region) => away(&ends_of(region), ends),
        Shape::Swizzle(order) => {
            let half = order.len().div_ceil(2);
            order.iter().take(half).flat_map(|node| both(out_of(&[*node]))).collect()
        }
    }
}

/// Everybody keeps the links to the nearest in the circle that make a majority with itself.
fn ring(circle: &[usize]) -> Vec<(usize, usize)> {
    let total = circle.len();
    let reach = total / 2;
    let near = |one: usize, other: usize| {
        let steps = (other + total - one) % total;
        steps.min(total - steps) <= reach.div_ceil(2)
    };
    let pairs = (0..total).flat_map(|one| (0..total).map(move |other| (one, other)));
    pairs
        .filter(|(one, other)| one != other && !near(*one, *other))
        .filter_map(|(one, other)| Some((*circle.get(one)?, *circle.get(other)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn cut(shape: &Shape, whom: &[usize], total: usize) -> BTreeSet<(usize, usize)> {
        of(shape, whom, |_| vec![0, 1], total, total).into_iter().collect()
    }

    #[test]
    fn one_way_cuts_leave_the_other_way() {
        let who = Who::Leader;
        assert_eq!(cut(&Shape::CutOut(who.clone()), &[1], 3), [(1, 0), (1, 2)].into());
        assert_eq!(cut(&Shape::CutIn(who.clone()), &[1], 3), [(0, 1), (2, 1)].into());
        assert_eq!(cut(&Shape::Isolate(who), &[1], 3).len(), 4);
        assert_eq!(cut(&Shape::RegionOneWay("eu".to_owned()), &[], 3), [(0, 2), (1, 2)].into());
    }

    #[test]
    fn the_clients_of_a_region_are_cut_off_with_it() {
        let links = of(&Shape::Region("eu".to_owned()), &[], |_| vec![0, 1, 3], 3, 5);
        let links: BTreeSet<_> = links.into_iter().collect();
        assert!(links.contains(&(3, 2)) && links.contains(&(2, 3)) && links.contains(&(0, 4)));
        assert_eq!(links.len(), 12, "two nodes and a client against a node and a client, both ways");
    }

    #[test]
    fn who_lost_the_majority_is_astray_and_nobody_else() {
        let astray = |shape: &Shape, whom: &[usize], total: usize| {
            astray(&of(shape, whom, |_| Vec::new(), total, total), total)
        };
        for alone in [Shape::Isolate(Who::Leader), Shape::CutOut(Who::Leader), Shape::CutIn(Who::Leader)] {
            assert_eq!(astray(&alone, &[1], 3), [1], "{alone:?}");
        }
        assert_eq!(astray(&Shape::Halves(vec![0, 1]), &[], 5), [0, 1]);
        assert_eq!(astray(&Shape::Halves(vec![0, 1]), &[], 4), [0, 1, 2, 3], "two of four are no majority");
        assert!(astray(&Shape::Ring((0..5).collect()), &[], 5).is_empty());
        assert!(astray(&Shape::Bridge { over: 4, side: vec![0, 1] }, &[], 5).is_empty());
        assert!(takes_clients(&Shape::Region("eu".to_owned())) && !takes_clients(&Shape::Halves(vec![0])));
    }

    #[test]
    fn a_bridge_joins_both_sides() {
        let links = cut(&Shape::Bridge { over: 4, side: vec![0, 1] }, &[], 5);
        assert_eq!(links.len(), 8, "two against two, both ways");
        assert!(links.iter().all(|(from, to)| *from != 4 && *to != 4));
    }

    #[test]
    fn in_a_ring_everybody_reaches_a_majority_and_nobody_all() {
        let links = cut(&Shape::Ring((0..5).collect()), &[], 5);
        for node in 0..5 {
            let lost = links.iter().filter(|(from, _)| *from == node).count();
            assert_eq!(lost, 2, "of four others two are left: with itself a majority");
        }
    }
}
