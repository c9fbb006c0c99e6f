//! The identity domain: commands are decided, events evolve state, queries read it.

pub mod ids;
pub mod model;
pub mod personal;
