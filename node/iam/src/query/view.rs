//! One tenant's applied state, for reads that write nothing.

use std::ops::Bound;
use std::sync::Arc;

use domicile_raft::Timestamp;
use domicile_storage::codec;
use domicile_storage::{Engine, KeyRange, Order};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::page::{next_token, parse_token};
use super::{QueryError, fault};
use crate::blind;
use crate::ids::{Id, TenantId};
use crate::model::{Page, PageRequest};
use crate::personal::Personal;
use crate::projections::id_of_row;
use crate::proposal::{ClaimKind, RangeKey, RecordKey, RecordKind};
use crate::seal::{Place, TenantKeyring};
use crate::streams::{Aggregate, StreamRef};
use crate::tables::{self, DecodedStates, RECORD_FORMAT};

/// Applied state of one tenant, with its keys.
pub(crate) struct View {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) decoded: Arc<DecodedStates>,
    pub(crate) tenant: TenantId,
    pub(crate) keys: TenantKeyring,
    /// The clock's, to judge expiry by; not log time, which stands still without writes.
    pub(crate) now: Timestamp,
}

impl View {
    /// A stream's version and state.
    pub(crate) fn stream<A: Aggregate>(&self, id: A::Id) -> Result<Option<(u64, Arc<A>)>, QueryError> {
        self.decoded.stream::<A>(&*self.engine, self.tenant, id).map_err(fault)
    }

    /// A stream's version alone; 0 if it is not there.
    pub(crate) fn version<A: Aggregate>(&self, id: A::Id) -> Result<u64, QueryError> {
        stream_version::<A>(&*self.engine, self.tenant, id)
    }

    /// Who holds a value; nobody holds one without a normal form.
    pub(crate) fn claim(&self, kind: ClaimKind, value: &str) -> Result<Option<StreamRef>, QueryError> {
        let Ok(key) = blind::claim_key(&self.keys.lookup().map_err(fault)?, kind, value) else {
            return Ok(None);
        };
        tables::claim_owner(&*self.engine, self.tenant, key).map_err(fault)
    }

    /// A record that has not expired.
    pub(crate) fn record<T: DeserializeOwned>(
        &self,
        kind: RecordKind,
        key: [u8; 32],
    ) -> Result<Option<(T, Timestamp)>, QueryError> {
        let row =
            tables::record(&*self.engine, self.tenant, RecordKey { kind, key }, self.now).map_err(fault)?;
        let decode = |row: tables::RecordRowStored| -> Result<(T, Timestamp), QueryError> {
            let (_, body) = codec::split_format(&row.body, &[RECORD_FORMAT]).map_err(fault)?;
            Ok((codec::decode_open(body).map_err(fault)?, row.expires_at))
        };
        row.map(decode).transpose()
    }

    /// A range's counter: moves whenever the range changes.
    pub(crate) fn range(&self, key: RangeKey) -> Result<u64, QueryError> {
        tables::range_counter(&*self.engine, self.tenant, key).map_err(fault)
    }

    /// Opens a personal value of a stream; `None` once its key is destroyed.
    pub(crate) fn open(
        &self,
        stream: StreamRef,
        field: &str,
        value: &Personal,
    ) -> Result<Option<Zeroizing<String>>, QueryError> {
        match value {
            Personal::Plain(text) => Ok(Some(text.clone())),
            Personal::Sealed(sealed) => {
                let place = Place::Stream { stream, revision: sealed.revision, field };
                self.keys.open(&place, sealed).map_err(fault)
            }
        }
    }

    /// The ids under `prefix`, at most `limit`.
    pub(crate) fn ids<I: Id>(&self, prefix: &[u8], limit: usize) -> Result<Vec<I>, QueryError> {
        let rows = self.engine.scan(&KeyRange::prefix(prefix), Order::Ascending, limit).map_err(fault)?;
        Ok(rows.iter().filter_map(|(key, _)| id_of_row(key)).collect())
    }

    /// A page of the ids under `prefix`, each shown by `show`; ids that it shows nothing for are
    /// passed over, at most a thousand a call.
    pub(crate) fn page<I: Id, T>(
        &self,
        prefix: &[u8],
        request: &PageRequest,
        show: impl FnMut(I) -> Result<Option<T>, QueryError>,
    ) -> Result<Page<T>, QueryError> {
        self.page_in(Order::Ascending, prefix, request, show)
    }

    /// The same, beginning with the greatest id.
    pub(crate) fn page_from_last<I: Id, T>(
        &self,
        prefix: &[u8],
        request: &PageRequest,
        show: impl FnMut(I) -> Result<Option<T>, QueryError>,
    ) -> Result<Page<T>, QueryError> {
        self.page_in(Order::Descending, prefix, request, show)
    }

    fn page_in<I: Id, T>(
        &self,
        order: Order,
        prefix: &[u8],
        request: &PageRequest,
        mut show: impl FnMut(I) -> Result<Option<T>, QueryError>,
    ) -> Result<Page<T>, QueryError> {
        const LOOKED_AT_MAX: usize = 1_000;
        let mut range = KeyRange::prefix(prefix);
        if let Some(after) = request.page_token.as_deref().map(parse_token).transpose()? {
            let rest = Bound::Excluded([prefix, &after].concat());
            match order {
                Order::Ascending => range.start = rest,
                Order::Descending => range.end = rest,
            }
        }
        let looked_at_max = LOOKED_AT_MAX.max(request.size()) + 1;
        let rows = self.engine.scan(&range, order, looked_at_max).map_err(fault)?;
        let mut page = Page { items: Vec::new(), next_page_token: None };
        let mut last = None;
        for (looked_at, id) in rows.iter().filter_map(|(key, _)| id_of_row::<I>(key)).enumerate() {
            if page.items.len() == request.size() || looked_at >= LOOKED_AT_MAX {
                page.next_page_token = last.map(|id: I| next_token(id.bytes()));
                return Ok(page);
            }
            page.items.extend(show(id)?);
            last = Some(id);
        }
        Ok(page)
    }
}

/// A stream's version alone; 0 if it is not there.
pub(crate) fn stream_version<A: Aggregate>(
    engine: &dyn Engine,
    tenant: TenantId,
    id: A::Id,
) -> Result<u64, QueryError> {
    tables::stream_version(engine, tenant, StreamRef::of::<A>(id)).map_err(fault)
}
