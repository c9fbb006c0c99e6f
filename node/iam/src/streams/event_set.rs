//! The closed set of events of a stream, written once as a table.

use domicile_storage::codec::CodecError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::personal::Personal;

/// One event's content in its current shape.
pub trait Payload: Serialize + DeserializeOwned {
    /// Visits every personal value with its field name. The name is part of what seals it, so a
    /// value that is copied to another event keeps it.
    fn personal_mut(&mut self, _visit: &mut dyn FnMut(&str, &mut Personal)) {}

    /// Reads a shape of an older `schema`. Pure.
    ///
    /// # Errors
    /// [`CodecError::Malformed`] for a schema that never was.
    fn upcast(schema: u16, _body: &[u8]) -> Result<Self, CodecError> {
        Err(CodecError::Malformed(format!("unknown event schema {schema}")))
    }
}

/// A value before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Change<T> {
    /// As it was.
    pub before: T,
    /// As it is now.
    pub after: T,
}

impl<T: PartialEq> Change<T> {
    /// The change from `before` to `after`, or nothing if they are equal.
    pub fn between(before: T, after: T) -> Option<Self> {
        (before != after).then_some(Self { before, after })
    }
}

/// Visits both sides of a sealed change under one field name.
pub(crate) fn visit_change(
    field: &str,
    change: &mut Option<Change<Option<Personal>>>,
    visit: &mut dyn FnMut(&str, &mut Personal),
) {
    if let Some(change) = change {
        for value in [&mut change.before, &mut change.after].into_iter().flatten() {
            visit(field, value);
        }
    }
}

/// Declares a stream's events: `Variant(Payload) => "wire.name", current schema;`.
macro_rules! event_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident($payload:ty) => $wire:literal, $schema:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(clippy::large_enum_variant, reason = "made one at a time, never kept in a collection")]
        pub enum $name {
            $($(#[$vdoc])* $variant($payload),)*
        }

        impl $name {
            /// Every event's wire name and current schema.
            pub const TYPES: &'static [(&'static str, u16)] = &[$(($wire, $schema)),*];
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(payload) => payload.serialize(serializer),)*
                }
            }
        }

        impl $crate::streams::DomainEvent for $name {
            fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $wire,)*
                }
            }

            fn schema(&self) -> u16 {
                match self {
                    $(Self::$variant(_) => $schema,)*
                }
            }

            fn decode(event_type: &str, schema: u16, body: &[u8]) -> Result<Self, domicile_storage::codec::CodecError> {
                match event_type {
                    $($wire => {
                        let payload = if schema == $schema {
                            domicile_storage::codec::decode_open(body)?
                        } else {
                            <$payload as $crate::streams::event_set::Payload>::upcast(schema, body)?
                        };
                        Ok(Self::$variant(payload))
                    })*
                    other => Err(domicile_storage::codec::CodecError::Malformed(format!("unknown event type `{other}`"))),
                }
            }

            fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut $crate::personal::Personal)) {
                match self {
                    $(Self::$variant(payload) => $crate::streams::event_set::Payload::personal_mut(payload, visit),)*
                }
            }
        }
    };
}

pub(crate) use event_set;
