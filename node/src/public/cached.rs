//! Values derived from what `iam` caches, kept as long as that is the same.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use domicile_iam::ids::TenantId;

/// Tenants held at most. When full, all are dropped: deriving anew costs microseconds.
const TENANTS_MAX: usize = 10_000;

/// One derived value a tenant.
///
/// INVARIANT: a value is given out only for the very source it was derived from. The source is kept
/// alive here, so its address cannot come to mean another one.
pub struct TenantCache<S, V> {
    entries: RwLock<HashMap<TenantId, Entry<S, V>>>,
}

struct Entry<S, V> {
    source: Arc<S>,
    value: Arc<V>,
}

impl<S, V> Default for TenantCache<S, V> {
    fn default() -> Self {
        Self { entries: RwLock::default() }
    }
}

impl<S, V> TenantCache<S, V> {
    /// The value derived from `source`, if it is known.
    pub fn get(&self, tenant: TenantId, source: &Arc<S>) -> Option<Arc<V>> {
        // A poisoned lock means that an insertion panicked; the map is whole all the same.
        let entries = self.entries.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let entry = entries.get(&tenant)?;
        Arc::ptr_eq(&entry.source, source).then(|| entry.value.clone())
    }

    /// Keeps a value derived from `source`.
    pub fn put(&self, tenant: TenantId, source: &Arc<S>, value: V) -> Arc<V> {
        let value = Arc::new(value);
        let entry = Entry { source: source.clone(), value: value.clone() };
        let mut entries = self.entries.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if entries.len() >= TENANTS_MAX {
            entries.clear();
        }
        entries.insert(tenant, entry);
        value
    }
}

#[cfg(test)]
mod tests {
    use domicile_iam::ids::Id as _;

    use super::*;

    #[test]
    fn a_value_is_of_one_tenant_and_of_one_source() {
        let cache = TenantCache::<u8, u8>::default();
        let (tenant, other) = (TenantId::from_bytes([1; 16]), TenantId::from_bytes([2; 16]));
        let (old, new) = (Arc::new(7), Arc::new(7));
        assert_eq!(cache.get(tenant, &old), None);
        cache.put(tenant, &old, 1);
        assert_eq!(cache.get(tenant, &old).as_deref(), Some(&1));
        assert_eq!(cache.get(tenant, &new), None);
        assert_eq!(cache.get(other, &old), None);
        cache.put(tenant, &new, 2);
        assert_eq!(cache.get(tenant, &old), None);
        assert_eq!(cache.get(tenant, &new).as_deref(), Some(&2));
    }
}
