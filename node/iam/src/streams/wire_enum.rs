//! Enums that are stored as one byte.

/// Declares an enum whose stored form is the number written beside each variant.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$vdoc])* $variant = $number,)*
        }

        impl $name {
            /// Every variant, in order of number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stored number.
            #[must_use]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The variant stored as `number`.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl bincode::Encode for $name {
            fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
                self.number().encode(encoder)
            }
        }

        impl<C> bincode::Decode<C> for $name {
            fn decode<D: bincode::de::Decoder<Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                let number = u8::decode(decoder)?;
                Self::from_number(number).ok_or(bincode::error::DecodeError::OtherString(format!(
                    "{} {number} is unknown",
                    stringify!($name)
                )))
            }
        }

        bincode::impl_borrow_decode!($name);
    };
}

pub(crate) use wire_enum;
