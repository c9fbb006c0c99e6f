//! Stored formats as they are for ever; see docs/adr/0005.
