//! Whose law holds in a region, on the directory.

use serde::{Deserialize, Serialize};

use super::ClusterRefusal;
use super::cluster::{Decided, REGIONS, existing, written};
use crate::execute::{Command, DecideError, Fresh, Reads};
use crate::streams::cluster::{Region, decide_jurisdiction, region_stream};

/// Says whose law holds in a region. Its first node said it before; nothing is moved for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetJurisdiction {
    /// Which region.
    pub region: String,
    /// Such as `eu`.
    pub jurisdiction: String,
}

impl Command for SetJurisdiction {
    type Reply = ();
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "region.jurisdiction.set";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let id = region_stream(&self.region);
        let region = existing::<Region>(reads, id, "region")?;
        let event = decide_jurisdiction(&region.state, &self.jurisdiction).map_err(DecideError::Refused)?;
        Ok(written::<Region>(id, region.version, event, Some(REGIONS)))
    }
}
