//! Fixtures for unit tests.
