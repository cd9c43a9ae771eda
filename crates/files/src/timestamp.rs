use std::fmt;

/// A point in time to the second, as RFC 3339 writes it in UTC.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Timestamp {
    /// Seconds since 1970 began.
    pub seconds: i64,
}

impl Timestamp {
    /// Parses RFC 3339; fractions of seconds are cut off.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| -> Option<i64> {
            let digits = text.get(range)?;
            let is_number = digits.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| digits.parse().ok()).flatten()
        };
        let at = |index: usize| text.as_bytes().get(index).copied();
        let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
        if separators
            .iter()
            .any(|(index, octet)| at(*index) != Some(*octet))
            || !matches!(at(10), Some(b'T' | b't' | b' '))
        {
            return None;
        }
        let (month, day) = (number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if !(1..=12).contains(&month)
            || !(1..=31).contains(&day)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return None;
        }
        let rest = text.get(19..)?;
        let zone = match rest.strip_prefix('.') {
            Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
            None => rest,
        };
        let ahead = match (zone, zone.as_bytes()) {
            ("Z" | "z", _) => 0,
            (_, [sign @ (b'+' | b'-'), a, b, b':', c, d]) => {
                let digit = |octet: &u8| octet.is_ascii_digit().then(|| i64::from(octet - b'0'));
                let minutes = (digit(a)? * 10 + digit(b)?) * 60 + digit(c)? * 10 + digit(d)?;
                if *sign == b'-' { -minutes } else { minutes }
            }
            _ => return None,
        };
        let days = days_from_civil(number(0..4)?, month, day);
        Some(Self {
            seconds: days * DAY + hour * 3600 + (minute - ahead) * 60 + second,
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.seconds.div_euclid(DAY));
        let second = self.seconds.rem_euclid(DAY);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

const DAY: i64 = 86_400;

/// Days since 1970 began, by the Gregorian calendar.
///
/// Howard Hinnant, <https://howardhinnant.github.io/date_algorithms.html>, `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The reverse; same source, `civil_from_days`.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

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
        let extreme = Timestamp { seconds: i64::MAX }.to_string();
        assert!(extreme.ends_with('Z'), "{extreme}");
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
