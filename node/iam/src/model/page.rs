//! Pages of lists: by id, which is by creation.

use serde::Serialize;

/// Which page is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Items wanted, 1 to 200; 50 when absent.
    pub page_size: Option<u32>,
    /// From the page before; opaque.
    pub page_token: Option<String>,
}

impl PageRequest {
    /// Items when none are asked for.
    pub const SIZE_DEFAULT: u32 = 50;
    /// Items at most.
    pub const SIZE_MAX: u32 = 200;

    /// Items to read, within the bounds.
    pub fn size(&self) -> usize {
        self.page_size.unwrap_or(Self::SIZE_DEFAULT).clamp(1, Self::SIZE_MAX) as usize
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The items, in order of creation.
    pub items: Vec<T>,
    /// For the next page; absent on the last.
    pub next_page_token: Option<String>,
}
