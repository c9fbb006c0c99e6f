//! Lists and their pages. A page's token is good for the list that gave it and for no other.

use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
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
    /// 400 for a page without items, and for a token of another list.
    pub(super) fn checked(
        list: List,
        page_size: Option<u32>,
        page_token: Option<String>,
    ) -> Result<PageRequest, Problem> {
        if page_size == Some(0) {
            return Err(Problem::bad_request("`page_size` is 0"));
        }
        let sent = page_token.filter(|token| !token.is_empty());
        let page_token = sent.map(|token| list.place(&token).ok_or_else(not_ours)).transpose()?;
        Ok(PageRequest { page_size, page_token })
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

fn not_ours() -> Problem {
    Problem::bad_request("`page_token` is not one of ours, or of another list")
}

/// Which list a page is of. In another one the same place would be somewhere else, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List([u8; Self::BYTES]);

impl List {
    /// Of a digest: enough to tell lists apart. It keeps nobody out, for what a list may show is asked of the
    /// caller at each page.
    const BYTES: usize = 8;

    /// The list at the path asked for.
    pub(super) fn at(parts: &Parts) -> Self {
        Self::named(parts.uri.path())
    }

    fn named(path: &str) -> Self {
        let mut bytes = [0; Self::BYTES];
        for (byte, digested) in bytes.iter_mut().zip(digest(&SHA256, path.as_bytes()).as_ref()) {
            *byte = *digested;
        }
        Self(bytes)
    }

    /// What callers are given for `place`.
    fn token(self, place: &str) -> String {
        URL_SAFE_NO_PAD.encode([self.0.as_slice(), place.as_bytes()].concat())
    }

    /// The place that a token of this list is for.
    fn place(self, token: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        String::from_utf8(bytes.strip_prefix(self.0.as_slice())?.to_vec()).ok()
    }
}

/// The page asked for, and the list that it is of. An extractor.
pub(super) struct Wanted(pub(super) PageRequest, pub(super) List);

impl<S: Sync> FromRequestParts<S> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let PageQuery { page_size, page_token } = query(parts)?;
        let list = List::at(parts);
        PageQuery::checked(list, page_size, page_token).map(|page| Self(page, list))
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
    /// A page of `list` with each item as the API shows it.
    pub(super) fn of<M>(list: List, page: Page<M>, show: impl FnMut(M) -> T) -> Self {
        let next_page_token = page.next_page_token.map(|place| list.token(&place));
        Self { items: page.items.into_iter().map(show).collect(), next_page_token }
    }

    /// A page of what is here as a whole, in the order of `key`, which is another for each item.
    ///
    /// # Errors
    /// 400 for a token that is not ours.
    pub(super) fn among<K>(
        mut all: Vec<T>,
        Wanted(wanted, list): &Wanted,
        key: impl Fn(&T) -> K,
    ) -> Result<Self, Problem>
    where
        K: Ord + FromStr + ToString,
    {
        if let Some(place) = &wanted.page_token {
            let after: K = place.parse().map_err(|_| not_ours())?;
            all.retain(|item| key(item) > after);
        }
        all.sort_by_key(&key);
        let is_last = all.len() <= wanted.size();
        all.truncate(wanted.size());
        let token = |item: &T| list.token(&key(item).to_string());
        let next_page_token = all.last().filter(|_| !is_last).map(token);
        Ok(Self { items: all, next_page_token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(size: Option<u32>, token: Option<&str>) -> Result<Items<u64>, Problem> {
        let list = List::named("/numbers");
        let wanted = PageQuery::checked(list, size, token.map(str::to_owned))?;
        Items::among(vec![30, 4, 100, 7, 1], &Wanted(wanted, list), |number| *number)
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
        let here = List::named("/numbers");
        for token in ["!", "AAAA", &URL_SAFE_NO_PAD.encode("7"), &here.token("seven")] {
            assert!(page(None, Some(token)).is_err(), "{token}");
        }
        assert_eq!(page(None, Some(&here.token("7"))).unwrap().items, [30, 100]);
    }

    #[test]
    fn a_token_of_another_list_is_refused() {
        let users = List::named("/tenants/demo/users");
        let given =
            Items::of(users, Page { items: vec![1], next_page_token: Some("place".to_owned()) }, |n| n);
        let token = given.next_page_token.unwrap();
        assert_eq!(users.place(&token).as_deref(), Some("place"));
        for other in ["/tenants/demo/clients", "/tenants/t2/users", "/numbers"] {
            let refused = PageQuery::checked(List::named(other), None, Some(token.clone())).unwrap_err();
            assert_eq!(refused.status().as_u16(), 400, "{other}");
        }
    }
}
