//! Placements as they are compared and kept.

use std::collections::BTreeSet;

use domicile_raft::placement::{Placement, Regions};

use super::check_name;
use crate::commands::ClusterRefusal;

/// Regions that a placement can name.
const REGIONS_NAMED_MAX: usize = 64;

/// The placement in its one form: equal wishes are equal bytes, so that they share a partition. A region is
/// preferred once, and only where replicas may be.
///
/// # Errors
/// [`ClusterRefusal::Invalid`] for over 64 regions, none, `any` beside others, or a malformed name.
pub fn normal_placement(wanted: &Placement) -> Result<Placement, ClusterRefusal> {
    let invalid = |field: &str, rule: &str| {
        Err(ClusterRefusal::Invalid { field: field.to_owned(), rule: rule.to_owned() })
    };
    if let Regions::Only(named) = &wanted.regions {
        if named.is_empty() || named.len() > REGIONS_NAMED_MAX {
            return invalid("placement.regions", "is not 1 to 64 regions");
        }
        named.iter().try_for_each(|region| check_name("placement.regions", region))?;
        if named.len() > 1 && named.contains("any") {
            return invalid(
                "placement.regions",
                "names `any` beside regions: it is all of them, and stands alone",
            );
        }
    }
    let preferred = &wanted.preferred_leader_regions;
    if preferred.len() > REGIONS_NAMED_MAX {
        return invalid("placement.preferred_leader_regions", "names over 64 regions");
    }
    preferred.iter().try_for_each(|region| check_name("placement.preferred_leader_regions", region))?;
    let mut seen = BTreeSet::new();
    let once = preferred.iter().filter(|region| wanted.allows(region) && seen.insert(region.as_str()));
    Ok(Placement { preferred_leader_regions: once.cloned().collect(), ..wanted.clone() })
}

/// Whether all that `inner` allows `outer` allows too.
#[must_use]
pub fn is_within(inner: &Placement, outer: &Placement) -> bool {
    match (&inner.regions, &outer.regions) {
        (_, Regions::Any) => true,
        (Regions::Any, Regions::Only(_)) => false,
        (Regions::Only(inner), Regions::Only(outer)) => inner.is_subset(outer),
    }
}

/// What of `promised` a partition with the placement `given` does not keep; `None` if it keeps all. Where the
/// leader is wished to be is no promise.
#[must_use]
pub fn broken_promise(given: &Placement, promised: &Placement) -> Option<&'static str> {
    if !is_within(given, promised) {
        Some("may not be everywhere in that placement")
    } else if given.survive < promised.survive {
        Some("was promised to survive the loss of a region")
    } else if promised.read_replicas && !given.read_replicas {
        Some("was promised read replicas")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use domicile_raft::placement::SurvivalGoal;

    use super::*;

    fn only(regions: &[&str], preferred: &[&str]) -> Placement {
        Placement {
            regions: Regions::Only(regions.iter().map(|region| (*region).to_owned()).collect()),
            survive: SurvivalGoal::Zone,
            preferred_leader_regions: preferred.iter().map(|region| (*region).to_owned()).collect(),
            read_replicas: false,
        }
    }

    #[test]
    fn a_placement_has_one_form_and_bounds() {
        let normal = normal_placement(&only(&["eu", "us"], &["us", "ap", "us", "eu"])).unwrap();
        assert_eq!(normal, only(&["eu", "us"], &["us", "eu"]));
        assert!(normal_placement(&only(&[], &[])).is_err());
        assert!(normal_placement(&only(&["EU"], &[])).is_err());
        let both = normal_placement(&only(&["any", "eu"], &[])).unwrap_err().to_string();
        assert!(both.contains("stands alone"), "{both}");
        assert!(normal_placement(&only(&["eu"], &["e u"])).is_err());
        let many: Vec<String> = (0..65).map(|n| format!("r{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(normal_placement(&only(&many, &[])).is_err());
        assert!(normal_placement(&only(&["eu"], &many)).is_err());
    }

    #[test]
    fn a_placement_is_within_one_that_allows_all_its_regions() {
        let any = Placement { regions: Regions::Any, ..only(&["eu"], &[]) };
        let (eu, both) = (only(&["eu"], &[]), only(&["eu", "us"], &[]));
        assert!(is_within(&eu, &both) && is_within(&both, &any) && is_within(&any, &any));
        assert!(!is_within(&both, &eu) && !is_within(&any, &both) && !is_within(&eu, &only(&["us"], &[])));
    }

    #[test]
    fn more_than_was_promised_is_given_and_never_less_and_a_wish_is_no_promise() {
        let zone = only(&["eu", "us"], &["us"]);
        let region = Placement { survive: SurvivalGoal::Region, ..only(&["eu", "us"], &["eu"]) };
        let readable = Placement { read_replicas: true, ..zone.clone() };
        for (given, promised) in [(&region, &zone), (&readable, &zone), (&zone, &zone)] {
            assert_eq!(broken_promise(given, promised), None, "{given:?} for {promised:?}");
        }
        for (given, promised) in [(&zone, &region), (&zone, &readable), (&zone, &only(&["eu"], &[]))] {
            assert!(broken_promise(given, promised).is_some(), "{given:?} for {promised:?}");
        }
    }
}
