//! Finds the calendar month of a time, as a clock of the operator's time zone shows it.

use time::{Date, OffsetDateTime, UtcOffset};

/// A calendar month, and the milliseconds until the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Month {
    /// As `2026-12`.
    pub name: String,
    /// Milliseconds to the first of the next month, at midnight.
    pub left_ms: u64,
}

/// The month of `now_ms`, milliseconds since 1970. Absent beyond the year 9999.
#[must_use]
pub fn at(now_ms: u64, zone: UtcOffset) -> Option<Month> {
    let seconds = i64::try_from(now_ms / 1000).ok()?;
    let local = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    let local = local.checked_to_offset(zone)?;
    let year = local.year() + i32::from(u8::from(local.month()) == 12);
    let next = Date::from_calendar_date(year, local.month().next(), 1).ok()?;
    let next = next.midnight().assume_offset(zone).unix_timestamp();
    let next_ms = u64::try_from(next).ok()?.checked_mul(1000)?;
    Some(Month {
        name: format!("{:04}-{:02}", local.year(), u8::from(local.month())),
        left_ms: next_ms.saturating_sub(now_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-12-31T23:30:00Z.
    const NEW_YEARS_EVE: u64 = 1_798_759_800_000;

    fn found(now_ms: u64, hours: i8) -> (String, u64) {
        let month = at(now_ms, UtcOffset::from_hms(hours, 0, 0).unwrap()).unwrap();
        (month.name, month.left_ms / 60_000)
    }

    #[test]
    fn the_month_ends_at_midnight_of_the_time_zone() {
        assert_eq!(found(NEW_YEARS_EVE, 0), ("2026-12".to_owned(), 30));
        assert_eq!(
            found(NEW_YEARS_EVE, 1),
            ("2027-01".to_owned(), 31 * 1440 - 30)
        );
        assert_eq!(
            found(NEW_YEARS_EVE, -5),
            ("2026-12".to_owned(), 5 * 60 + 30)
        );
    }

    #[test]
    fn leap_years_and_the_first_month_of_all_are_known() {
        // 2028-02-29T12:00:00Z.
        assert_eq!(found(1_835_438_400_000, 0), ("2028-02".to_owned(), 720));
        assert_eq!(found(0, 0), ("1970-01".to_owned(), 31 * 1440));
        assert_eq!(at(u64::MAX, UtcOffset::UTC), None);
    }
}
