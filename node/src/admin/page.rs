//! Lists and their pages.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
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
    /// In order of creation.
    items: Vec<T>,
    /// For the next page; null on the last.
    next_page_token: Option<String>,
}

impl<T> Items<T> {
    /// A page with each item as the API shows it.
    pub(super) fn of<M>(page: Page<M>, show: impl FnMut(M) -> T) -> Self {
        Self { items: page.items.into_iter().map(show).collect(), next_page_token: page.next_page_token }
    }
}
