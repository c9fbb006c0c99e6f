//! Times as the API shows them: RFC 3339 in UTC with milliseconds.

use domicile_raft::Timestamp;
use serde::Serializer;
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

const FORMAT: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
/// For times past what the format holds; lifetimes saturate there.
const FAR: &str = "9999-12-31T23:59:59.999Z";

/// `at` as text.
pub fn rfc3339(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000)
        .ok()
        .and_then(|time| time.format(FORMAT).ok())
        .unwrap_or_else(|| FAR.to_owned())
}

/// For `#[serde(serialize_with)]`.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_s5_6_utc_with_milliseconds() {
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Timestamp(1_311_280_970_007)), "2011-07-21T20:42:50.007Z");
        assert_eq!(rfc3339(Timestamp(u64::MAX)), FAR);
    }
}
