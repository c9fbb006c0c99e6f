//! Lists and their pages.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::model::{Page, PageRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Items wanted. More than 200 gives 200.
    #[param(minimum = 1, default = 50)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    page_token: Option<String>,
}

impl PageQuery {
    /// As the domain takes it.
    ///
    /// # Errors
    /// 400 for a page without items.
    pub(super) fn checked(
        page_size: Option<u32>,
        page_token: Option<String>,
    ) -> Result<PageRequest, Problem> {
        if page_size == Some(0) {
            return Err(Problem::bad_request("`page_size` is 0"));
        }
        Ok(PageRequest { page_size, page_token: page_token.filter(|token| !token.is_empty()) })
    }
}

/// A query string of exactly the members of `T`.
///
/// # Errors
/// 400.
pub(super) fn query<T: serde::de::DeserializeOwned>(parts: &Parts) -> Result<T, Problem> {
    Query::try_from_uri(&parts.uri)
        .map(|Query(query)| query)
        .map_err(|rejected| Problem::bad_request(rejected.body_text()))
}

/// The page asked for. An extractor.
pub(super) struct Wanted(pub(super) PageRequest);

impl<S: Sync> FromRequestParts<S> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let PageQuery { page_size, page_token } = query(parts)?;
        PageQuery::checked(page_size, page_token).map(Self)
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Items<T> {
    /// In order of creation; regions by name.
    items: Vec<T>,
    /// For the next page; null on the last.
    next_page_token: Option<String>,
}

impl<T> Items<T> {
    /// A page with each item as the API shows it.
    pub(super) fn of<M>(page: Page<M>, show: impl FnMut(M) -> T) -> Self {
        Self { items: page.items.into_iter().map(show).collect(), next_page_token: page.next_page_token }
    }

    /// A page of what is here as a whole, in the order of `key`, which is another for each item.
    ///
    /// # Errors
    /// 400 for a token that is not ours.
    pub(super) fn among<K>(
        mut all: Vec<T>,
        wanted: &PageRequest,
        key: impl Fn(&T) -> K,
    ) -> Result<Self, Problem>
    where
        K: Ord + FromStr + ToString,
    {
        if let Some(token) = &wanted.page_token {
            let last = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let last: Option<K> = last.and_then(|text| text.parse().ok());
            let last = last.ok_or_else(|| Problem::bad_request("`page_token` is not one of ours"))?;
            all.retain(|item| key(item) > last);
        }
        all.sort_by_key(&key);
        let is_last = all.len() <= wanted.size();
        all.truncate(wanted.size());
        let token = |item: &T| URL_SAFE_NO_PAD.encode(key(item).to_string());
        let next_page_token = all.last().filter(|_| !is_last).map(token);
        Ok(Self { items: all, next_page_token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(size: Option<u32>, token: Option<&str>) -> Result<Items<u64>, Problem> {
        let wanted = PageRequest { page_size: size, page_token: token.map(str::to_owned) };
        Items::among(vec![30, 4, 100, 7, 1], &wanted, |number| *number)
    }

    #[test]
    fn a_list_that_is_here_as_a_whole_is_given_page_by_page() {
        let mut seen = Vec::new();
        let mut token: Option<String> = None;
        for expected in [&[1, 4][..], &[7, 30], &[100]] {
            let next = page(Some(2), token.as_deref()).unwrap();
            assert_eq!(next.items, expected);
            seen.extend(next.items);
            token = next.next_page_token;
        }
        assert_eq!((seen, token), (vec![1, 4, 7, 30, 100], None));
        let whole = page(None, None).unwrap();
        assert_eq!((whole.items.len(), whole.next_page_token), (5, None));
        assert_eq!(page(Some(5), None).unwrap().next_page_token, None, "the last page is known as it");
    }

    #[test]
    fn a_token_that_is_not_ours_is_refused() {
        for token in ["!", "AAAA", &URL_SAFE_NO_PAD.encode("seven")] {
            assert!(page(None, Some(token)).is_err(), "{token}");
        }
    }
}
