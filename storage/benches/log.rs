//! Placeholder until the log engine is in.
fn main() {}
