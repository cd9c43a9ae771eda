use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time to the second, as RFC 3339 writes it in UTC.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Timestamp {
    /// Seconds since 1970 began.
    pub seconds: i64,
}

impl Timestamp {
    /// Parses RFC 3339; fractions of seconds are cut off.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(Self {
            seconds: moment.unix_timestamp(),
        })
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 knows the years 0000 to 9999; what lies outside is shown as the nearest moment inside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds.clamp(FIRST, LAST);
        let moment = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| fmt::Error)?;
        f.write_str(&moment.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

/// 0000-01-01T00:00:00Z.
const FIRST: i64 = -62_167_219_200;

/// 9999-12-31T23:59:59Z.
const LAST: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_seconds_are_the_same() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (784_111_777, "1994-11-06T08:49:37Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp { seconds }.to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(Timestamp { seconds }));
        }
        for (seconds, text) in [
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(Timestamp { seconds }.to_string(), text);
        }
    }

    #[test]
    fn zones_and_fractions_are_taken_into_account() {
        for text in [
            "1994-11-06T09:49:37+01:00",
            "1994-11-06T03:19:37.123456789-05:30",
            "1994-11-06t08:49:37z",
        ] {
            let expected = Some(Timestamp {
                seconds: 784_111_777,
            });
            assert_eq!(Timestamp::parse(text), expected, "{text}");
        }
        for text in [
            "",
            "1994-11-06",
            "1994-11-06T08:49:37",
            "1994-13-06T08:49:37Z",
            "1994-11-06T24:49:37Z",
            "1994-11-06T08:49:37+1:00",
            "1994-11-06T08:49:37.Zx",
            "+994-11-06T08:49:37Z",
            "1994-11-06T08:49:3\u{e9}Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
