//! Delays between regions as over wide areas: half of what round trips between such places take.

use std::collections::BTreeMap;

/// Between two regions of one part of the world.
const NEAR_MS: u64 = 8;
/// Between parts of the world that are not in the list.
const FAR_MS: u64 = 60;
/// One way, in ms, by the first part of the regions' names.
const BETWEEN: &[(&str, &str, u64)] = &[
    ("eu", "us", 45),
    ("ap", "eu", 65),
    ("ap", "us", 95),
    ("eu", "sa", 100),
    ("sa", "us", 60),
    ("af", "eu", 75),
    ("eu", "me", 50),
];

/// How long messages from `region` to each other one of `all` are held back, in ms.
pub(super) fn delays(region: &str, all: &[String]) -> BTreeMap<String, u64> {
    let others = all.iter().filter(|other| *other != region);
    others.map(|other| (other.clone(), between(region, other))).collect()
}

fn between(one: &str, other: &str) -> u64 {
    let part = |region: &str| region.split('-').next().unwrap_or_default().to_owned();
    let (one, other) = (part(one), part(other));
    if one == other {
        return NEAR_MS;
    }
    let pair = if one < other { (one, other) } else { (other, one) };
    let known = BETWEEN.iter().find(|(first, second, _)| (*first, *second) == (&pair.0, &pair.1));
    known.map_or(FAR_MS, |(_, _, ms)| *ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_the_same_both_ways_and_none_at_home() {
        let all: Vec<String> =
            ["eu-central", "eu-west", "us-east", "ap-south", "moon"].map(str::to_owned).into();
        for one in &all {
            let found = delays(one, &all);
            assert!(!found.contains_key(one) && found.len() == 4, "{found:?}");
            for (other, ms) in found {
                assert_eq!(delays(&other, &all).get(one), Some(&ms), "{one} {other}");
            }
        }
        assert_eq!(between("eu-central", "us-east"), 45);
        assert_eq!(between("eu-central", "eu-west"), NEAR_MS);
    }
}
